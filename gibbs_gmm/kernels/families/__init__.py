"""What the kernels know of each family of components; importing this registers the verbs of all of them."""

from gibbs_gmm.kernels.families import full_radii as full_radii
from gibbs_gmm.kernels.families import rounding as rounding
from gibbs_gmm.kernels.families import tied, tied_pass, tied_rows
from gibbs_gmm.kernels.families import tied_rounding as tied_rounding
from gibbs_gmm.kernels.families.diagonal_rows import FAMILY as DIAGONAL
from gibbs_gmm.kernels.families.full import new_parameters, new_scratch
from gibbs_gmm.kernels.families.full_pass import block_of, block_size, new_components
from gibbs_gmm.kernels.families.full_rows import new_side
from gibbs_gmm.kernels.families.generic import Family
from gibbs_gmm.kernels.families.spherical import FAMILY as SPHERICAL

FULL = Family(block_size, new_components, new_parameters, new_scratch, new_side, block_of)
TIED = Family(block_size, tied_pass.new_components, tied.new_parameters, tied.new_scratch, tied_rows.new_side, block_of)

__all__ = ["DIAGONAL", "FULL", "SPHERICAL", "TIED", "Family"]
