"""How to compute a step anew: an operation as it was before it ran, so that it can run once more."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import tape
from ..backends import Array, Backend
from ..op import Op
from ..tensor import Tensor, wrap


class Recipe:
    """An operation as it was before its forward, with the state of the generator that it may draw from."""

    def __init__(self, op: Op) -> None:
        self.kind = type(op)
        self.settings = dict(vars(op))
        generator = self.settings.get("generator")
        if isinstance(generator, np.random.Generator):  # the next use must not move what the user draws from
            self.settings["generator"] = copy.deepcopy(generator)

    def fresh(self) -> Op:
        op = self.kind.__new__(self.kind)
        vars(op).update(self.settings)
        if isinstance(self.settings.get("generator"), np.random.Generator):
            vars(op)["generator"] = copy.deepcopy(self.settings["generator"])
        return op

    def forward(self, kernels: Backend, arrays: Sequence[Array]) -> tuple[Op, list[Array]]:
        """Run it: the operation that was used, and its results."""
        op = self.fresh()
        results = op.forward(kernels, *arrays)
        return op, [np.asarray(y) for y in (results if isinstance(results, tuple) else (results,))]

    def rule(
        self, kernels: Backend, arrays: Sequence[Array], gradients: Sequence[Array], needed: tuple[bool, ...]
    ) -> list[Array]:
        """Run it and its rule; a gradient for each input that needs one, of the input's shape and dtype."""
        op, _ = self.forward(kernels, arrays)
        op.needed = needed
        with tape.no_grad():
            found = op.backward(*[wrap(dy) for dy in gradients])
        given: Sequence[Tensor | None] = found if isinstance(found, tuple) else (found,)
        pulled = []
        for x, dx, wanted in zip(arrays, given, needed, strict=True):
            if wanted and dx is not None:
                dx = dx if dx.shape == x.shape else dx.sum_to(x.shape)
                pulled.append(dx.array if dx.dtype == x.dtype else dx.to(x.dtype).array)
        return pulled

    def described(self) -> dict[str, Any]:
        """What it was made with, as plain data: numbers, texts, lists; larger things in words."""
        return {name: _plain(value) for name, value in self.settings.items() if not name.startswith("_")}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if hasattr(value, "_asdict"):
        return {name: _plain(part) for name, part in value._asdict().items()}
    if isinstance(value, (tuple, list)):
        return [_plain(part) for part in value]
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return np.asarray(value).tolist() if value.size <= 16 else f"{value.dtype} array of shape {tuple(value.shape)}"
    return type(value).__name__ if not isinstance(value, slice) else str(value)
