"""Training in fewer bits on a GPU: TF32 products, or 16 bits beside float32 weights (Micikevicius et al. 2018).

In 16 bits a twin of the network goes forward and back. Its weights are those of the network, rounded for each batch,
and its gradients are added to those of the network in float32. So the optimiser, averages, checkpoints and evaluation
see the float32 network, and know nothing of the twin. Batch norm's statistics are computed in float32 and are the
network's own; the loss is computed in float32 from the twin's logits.

Gradients that are small for float16 would become 0, so there the loss is multiplied by a scale first and gradients are
divided by it. The scale halves where they overflow, which leaves that step out, and doubles after `PATIENCE` good ones.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np

from ..backends import Array
from ..backends.device import HOST
from ..backends.dtypes import dtype_of
from ..nn import Module
from ..nn.module import place_of
from ..optim import clip_grad_norm_
from ..tensor import Tensor, wrap
from ..versions import wrote
from .config import ConfigError

FIRST_SCALE = 2.0**16
PATIENCE = 2000  # steps without overflow


class HalfTwin:
    """The twin of ``model`` in "bfloat16" or "float16".

    Attributes
    ----------
    scale : float
        What the loss is multiplied by.
    skipped : int
        Steps that were left out because gradients overflowed.
    """

    def __init__(self, model: Module, dtype: str) -> None:
        self.model, self.dtype = model, dtype_of(dtype)
        self.twin = copy.deepcopy(model)
        self.scales = dtype == "float16"
        self.scale = FIRST_SCALE if self.scales else 1.0
        self.good = self.skipped = 0

    def logits(self, images: Tensor) -> Tensor:
        """Of float32 images, by the twin, in float32."""
        self._refresh()
        logits: Tensor = self.twin(images.to(self.dtype)).to("float32")
        return logits

    def _refresh(self) -> None:
        """The twin becomes what the model is now."""
        for mine, theirs in zip(self.twin.modules(), self.model.modules(), strict=True):
            mine.training = theirs.training
        for buffer, source in zip(self.twin.buffers(), self.model.buffers(), strict=True):
            buffer.array = source.array  # the same memory: what batch norm moves, it moves for both
        weights = [weight.array for weight in self.model.parameters()]
        for parameter, array in zip(self.twin.parameters(), rounded(weights, self.dtype), strict=True):
            parameter.array, parameter.grad = array, None

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss to those of the model."""
        (loss * self.scale if self.scales else loss).backward()
        new: list[tuple[Array, Array]] = []  # of a weight, where it has a gradient: what is to be, and the twin's
        more: list[tuple[Array, Array]] = []
        for parameter, weight in zip(self.twin.parameters(), self.model.parameters(), strict=True):
            if parameter.grad is None:
                continue
            gradient, parameter.grad = parameter.grad.array, None
            if weight.grad is None:
                weight.grad = wrap(empty_like(weight.array))
                new.append((weight.grad.array, gradient))
            else:
                wrote("HalfTwin.backward()", weight.grad.array)
                more.append((weight.grad.array, gradient))
        put_widened(new, self.scale, adds=False)
        put_widened(more, self.scale, adds=True)

    def may_step(self) -> bool:
        """Whether the gradients are numbers; adapts the scale. In float16 this waits for the device."""
        if not self.scales:
            return True
        if not math.isfinite(float(clip_grad_norm_(self.model.parameters(), math.inf))):
            self.scale, self.good, self.skipped = max(1.0, self.scale / 2), 0, self.skipped + 1
            return False
        self.good += 1
        if self.good == PATIENCE:
            self.scale, self.good = 2 * self.scale, 0
        return True

    def state(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {"scale": self.scale, "good": self.good, "skipped": self.skipped}

    def load_state(self, values: dict[str, Any]) -> None:
        """Take up what `state` gave."""
        self.scale, self.good, self.skipped = float(values["scale"]), int(values["good"]), int(values["skipped"])


def rounded(weights: list[Array], dtype: Any) -> list[Array]:
    """Arrays on a device in 16 bits, in memory of their own: those of float32 in one launch."""
    if any(weight.dtype != np.float32 for weight in weights):
        return [weight.astype(dtype) for weight in weights]
    from ..backends.cupy import optimiser

    with weights[0].device:
        results = [empty_like(weight, dtype) for weight in weights]
        optimiser.narrow(results, weights)
    return results


def put_widened(pairs: list[tuple[Array, Array]], divisor: float, adds: bool) -> None:
    """Put, or add, the second array of each pair, divided, to the first: all of float32 in one launch."""
    if all(result.dtype == np.float32 for result, _ in pairs):
        if pairs:
            from ..backends.cupy import optimiser

            results, gradients = zip(*pairs, strict=True)
            with results[0].device:
                optimiser.widen(results, gradients, divisor, adds)
        return
    for result, gradient in pairs:
        share = gradient.astype(result.dtype)
        share /= divisor
        if adds:
            result += share
        else:
            result[...] = share


def empty_like(array: Array, dtype: Any = None) -> Array:
    """Memory on the device, in C order."""
    import cupy

    return cupy.empty(array.shape, array.dtype if dtype is None else dtype)


def prepare(precision: str, model: Module) -> HalfTwin | None:
    """Set up what training in this precision takes: a twin for 16 bits; cuBLAS's TF32, or not.

    Raises
    ------
    ConfigError
        The model lies on the host, where all is float32, or bfloat16 lacks its package.
    """
    if place_of(model) == HOST:
        if precision != "float32":
            raise ConfigError(
                f"precision: got {precision!r}, but the network lies on the host, which trains in float32; give "
                "--backend cupy, or --precision float32"
            )
        return None
    from ..backends.cupy.convolution import use_tf32

    use_tf32(precision == "tf32")
    if precision not in ("bfloat16", "float16"):
        return None
    try:
        return HalfTwin(model, precision)
    except ImportError as error:
        raise ConfigError(f"precision: {error}") from None
