"""A second opinion on a rule: the same derivative by a central difference, in double precision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..backends import Array
from ..backends.vectorized import NumPy
from .recipes import Recipe
from .steps import Difference

STEP = float(np.cbrt(np.finfo(np.float64).eps))  # where truncation and rounding together err least
MOST = 200_000_000  # flops beyond which a step is not computed twice more for each input
# A cast rounds to a grid, whose steps are all that a short difference sees; the gradient of batch norm is given the
# mean and the variance of its x, which would have to move with it.
WITHOUT = {"cast", "batch_norm_grad"}


def differences(
    recipe: Recipe,
    inputs: Sequence[Array],
    gradients: Sequence[Array],
    pulled: Sequence[tuple[int, str, Array]],
) -> list[Difference]:
    """For each input with a gradient, compare it at its largest entry with a difference of Σ ȳ · y.

    Parameters
    ----------
    recipe : Recipe
        Of the operation.
    inputs, gradients : arrays
        What it was computed from, and the gradients of its results.
    pulled : sequence of (input, name, array)
        Which input, what the formula calls it, and the gradient by the rule.
    """
    kernels = NumPy()
    # with another dtype a generator would draw other numbers; such operations are linear, and a long step will do
    draws = "generator" in recipe.settings
    doubles = [x if draws or x.dtype.kind != "f" else x.astype(np.float64) for x in inputs]
    upstream = [dy.astype(np.float64) for dy in gradients]
    found = []
    for i, name, dx in pulled:
        if not dx.size or dx.dtype.kind != "f" or not np.isfinite(dx).all():
            continue
        index = tuple([int(k) for k in np.unravel_index(int(np.abs(dx).argmax()), dx.shape)])
        centre = float(doubles[i][index])
        h = 0.25 if draws else STEP * max(1.0, abs(centre))
        total = 0.0
        results = []
        for moved in (centre + h, centre - h):
            changed = list(doubles)
            changed[i] = doubles[i].copy()
            changed[i][index] = moved
            results.append(recipe.forward(kernels, changed)[1])
        for dy, above, below in zip(upstream, *results, strict=True):
            total += float(np.vdot(dy, above - below))
        found.append(Difference(name, index, float(dx[index]), total / (2 * h), h))
    return found
