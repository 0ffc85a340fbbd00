"""Pictures of a posterior, one function each. matplotlib is imported when one is drawn.

Every function takes a trace, or what was made of one, and axes to draw on or none for a new figure, and returns the
axes. :func:`save` writes any of them to a file.
"""

from gibbs_gmm.plots.chain_plots import chains
from gibbs_gmm.plots.check_plots import check, merged
from gibbs_gmm.plots.cluster_profiles import profiles
from gibbs_gmm.plots.comparison_plot import comparison
from gibbs_gmm.plots.conditional_plot import conditional
from gibbs_gmm.plots.evidence_plot import evidence
from gibbs_gmm.plots.how_many import n_posterior
from gibbs_gmm.plots.memberships import membership
from gibbs_gmm.plots.pair_plot import pairs
from gibbs_gmm.plots.predictive import density
from gibbs_gmm.plots.similarity_matrix import similarity
from gibbs_gmm.plots.style import save

__all__ = [
    "pairs",
    "profiles",
    "membership",
    "n_posterior",
    "evidence",
    "comparison",
    "density",
    "conditional",
    "similarity",
    "chains",
    "check",
    "merged",
    "save",
]
