"""The ``loops`` backend: every kernel as plain Python loops over single numbers, written like its formula.

It is the place to read what a kernel *means*, and the oracle that the fast backends are tested against. Nothing here is
clever or quick: a convolution is its nested loops, a sum is a sum. Read in this order:

* `scalars` : numbers that behave as IEEE 754 says, and the way from arrays to numbers and back;
* `elementwise` : one formula a kernel, applied to every element;
* `reductions` : many numbers to one, products of matrices, batch normalisation;
* `windows` : convolution and pooling, which differ only in what they do with the pixels that a window sees.
"""

from __future__ import annotations

import numpy as np

from .elementwise import Elementwise
from .reductions import Reductions
from .windows import Windows

__all__ = ["Loops"]


class Loops(Elementwise, Reductions, Windows):
    """Plain Python, for tiny inputs: arithmetic in float64, rounded once, when the result is stored."""

    name = "loops"
    xp = np
