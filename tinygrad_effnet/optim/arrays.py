"""What the optimisers need of arrays: walking over several at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..backends import Array

BLOCK = 32_768  # entries; a handful of such pieces, and the temporaries of a formula over them, fit in a core's cache


def blocks(*arrays: Array) -> Iterator[tuple[Array, ...]]:
    """Walk over arrays of one shape piece by piece: views, so that writing to a piece writes to the array.

    An update is a dozen passes over its arrays. Over a large weight each pass would fetch from main memory, and each
    temporary would be as large as the weight; over pieces both stay in the cache, and a formula can be written as it is
    read, without ``out=``. Arrays on a device, and arrays whose entries do not lie in order, come whole.

    Parameters
    ----------
    *arrays : array of any shape, the same for all

    Yields
    ------
    tuple of array
        One piece of each, of at most `BLOCK` entries, one axis.
    """
    if not all([type(array) is np.ndarray and array.flags.c_contiguous for array in arrays]):
        yield arrays
        return
    rows = [array.reshape(-1) for array in arrays]
    for start in range(0, rows[0].size, BLOCK):
        yield tuple([row[start : start + BLOCK] for row in rows])
