"""What missing values are before the first sweep."""

import numpy as np

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels.random import uniform
from gibbs_gmm.kernels.types import FloatArray, IntArray


@kernel
def fill_gaps(key: np.uint64, seen: FloatArray, sizes: IntArray, rows: IntArray, values: FloatArray) -> None:
    """Each NaN of values (M, D) becomes one of the sizes[d] values seen (S, D) of its column, by a uniform of key, row
    and column: it does not depend on which rows are filled with it. rows (M,) are their numbers among all.
    """
    D = values.shape[1]
    for s in range(values.shape[0]):
        for d in range(D):
            if values[s, d] != values[s, d]:
                values[s, d] = seen[int(uniform(key, rows[s] * D + d) * sizes[d]), d]
