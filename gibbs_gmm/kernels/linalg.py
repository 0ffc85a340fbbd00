"""Small dense linear algebra on lower triangles, as plain loops.

They compile faster than calls to LAPACK, and up to D of about 40 run faster too.
"""

import math

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels.types import FloatArray


@kernel
def cholesky(A: FloatArray, L: FloatArray) -> int:
    """Lower Cholesky factor of the lower triangle of A (D, D) into the lower triangle of L (D, D); L may be A.

    Returns 0, or j + 1 when pivot j is not positive (or is NaN).
    """
    D = L.shape[0]
    for j in range(D):
        for i in range(j, D):
            total = A[i, j]
            for m in range(j):
                total -= L[i, m] * L[j, m]
            if i == j:
                if not total > 0.0:
                    return j + 1
                L[j, j] = math.sqrt(total)
            else:
                L[i, j] = total / L[j, j]
    return 0


@kernel
def divide_lower(B: FloatArray, L: FloatArray) -> None:
    """B <- B L^-1, for lower triangular B and L (D, D); B stays lower triangular."""
    D = L.shape[0]
    for i in range(D):
        for j in range(i, -1, -1):
            total = B[i, j]
            for m in range(j + 1, i + 1):
                total -= B[i, m] * L[m, j]
            B[i, j] = total / L[j, j]


@kernel
def solve_lower(L: FloatArray, x: FloatArray) -> None:
    """x <- L^-1 x, for lower triangular L (D, D) and x (D,)."""
    for i in range(L.shape[0]):
        total = x[i]
        for m in range(i):
            total -= L[i, m] * x[m]
        x[i] = total / L[i, i]


@kernel
def invert_lower(L: FloatArray, V: FloatArray) -> None:
    """V <- L^-1 for lower triangular L (D, D); the upper triangle of V is not touched."""
    D = L.shape[0]
    for j in range(D):
        V[j, j] = 1.0 / L[j, j]
        for i in range(j + 1, D):
            total = 0.0
            for m in range(j, i):
                total -= L[i, m] * V[m, j]
            V[i, j] = total / L[i, i]


@kernel
def outer_lower(V: FloatArray, A: FloatArray) -> None:
    """A <- V V', in full, for lower triangular V (D, D)."""
    D = V.shape[0]
    for i in range(D):
        for j in range(i + 1):
            total = 0.0
            for m in range(j + 1):
                total += V[i, m] * V[j, m]
            A[i, j] = total
            A[j, i] = total


@kernel
def log_diagonal(L: FloatArray) -> float:
    """sum_j log L[j, j]: half the log determinant of L L'. Few logarithms are taken: of products within range."""
    total, product = 0.0, 1.0
    for j in range(L.shape[0]):
        product *= L[j, j]
        if not 1e-100 < product < 1e100:
            total += math.log(product)
            product = 1.0
    return total + math.log(product)


@kernel
def gather_log(x: float, product: float, total: float) -> tuple[float, float]:
    """(product, total) with x > 0 in it, where log(product) + total is a sum of logarithms: few of them are taken."""
    if not 1e-100 < x < 1e100:
        return product, total + math.log(x)
    product *= x
    if 1e-100 < product < 1e100:
        return product, total
    return 1.0, total + math.log(product)
