"""Names for the array types that signatures use."""

from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
LabelArray = npt.NDArray[np.uint16]
AnyArray = npt.NDArray[Any]
