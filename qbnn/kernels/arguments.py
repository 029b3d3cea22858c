"""Arguments as the kernels want them, or an error that names them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anneal.errors import InputError


def per_row(name: str, values: ArrayLike, num_rows: int, dtype: type[np.generic]) -> NDArray[Any]:
    """Return a new array (num_rows,) of ``dtype``; one value stands for all rows.

    Raises :class:`~anneal.errors.InputError` for another shape, and for what is no integer where
    ``dtype`` is.

    >>> per_row("kappa", 2, 3, np.int64)
    array([2, 2, 2])
    """
    array = np.asarray(values)
    if issubclass(dtype, np.integer) and array.dtype.kind not in "iu":
        raise InputError(f"argument '{name}' must hold integers, but holds {array.dtype}")
    if array.shape not in {(), (1,), (num_rows,)}:
        raise InputError(
            f"argument '{name}' must have shape ({num_rows},), but has shape {array.shape}"
        )
    return np.array(np.broadcast_to(array, (num_rows,)), dtype)
