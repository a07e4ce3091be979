"""Keeping gradients within bounds, between ``backward()`` and ``step()``."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from .. import versions
from ..backends import Array, backend_of
from ..backends.device import is_on_device
from ..tensor import Tensor, wrap
from .arrays import blocks
from .optimizer import is_real


def clip_grad_norm_(
    params: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Any:
    """Scale all gradients by one factor so that their norm, taken as of one long vector, is at most ``max_norm``.

    As ``torch.nn.utils.clip_grad_norm_`` (Pascanu et al. 2013, "On the difficulty of training recurrent neural
    networks", Algorithm 1). Sums are taken in float64, so large float32 gradients do not overflow.

    Parameters
    ----------
    params : Tensor or iterable of Tensor
        Those without a gradient are skipped.
    max_norm : float
        At least 0; infinity measures without clipping.
    norm_type : float
        p of the p-norm, above 0; infinity for the largest absolute entry.
    error_if_nonfinite : bool
        Raise rather than scale where the norm is infinite or NaN.

    Returns
    -------
    float, or Tensor of one entry where the gradients lie on a device
        The norm before clipping; 0 without gradients. ``float()`` of it waits for the device.

    Raises
    ------
    TypeError, ValueError
        An argument is not what it should be.
    RuntimeError
        The norm is not finite, and ``error_if_nonfinite``. The gradients are as they were.
    """
    if not is_real(max_norm) or not max_norm >= 0:
        raise ValueError(f"clip_grad_norm_(max_norm): expected a number of at least 0, got {max_norm!r}")
    if not is_real(norm_type) or not norm_type > 0:
        raise ValueError(f"clip_grad_norm_(norm_type): expected a number above 0, or infinity, got {norm_type!r}")
    gradients = _gradients(params, "clip_grad_norm_")
    if any(is_on_device(g) for g in gradients):
        return _clip_on_device(gradients, max_norm, norm_type, error_if_nonfinite)
    together = _together(gradients)
    if together is None:
        norms = [_norm([_block_norm(piece, norm_type) for (piece,) in blocks(g)], norm_type) for g in gradients]
    else:
        norms = together.norms(gradients, norm_type)
    total = _norm(norms, norm_type)
    if error_if_nonfinite and not math.isfinite(total):
        _refuse(total)
    factor = max_norm / (total + 1e-6)  # as PyTorch has it
    if not factor >= 1:  # also when it is NaN: what is broken shall be seen
        versions.wrote("clip_grad_norm_()", *gradients)
        if together is None:
            for g in gradients:
                g *= factor
        else:
            together.scale(gradients, factor)
    return total


def _together(gradients: list[Array]) -> Any:
    """What does all of these in one pass, or None where there are some that it does not know."""
    found = [backend_of([g]).updates_of(g) for g in {g.dtype: g for g in gradients}.values()]
    return found[0] if found and None not in found else None


def _clip_on_device(gradients: list[Array], max_norm: float, p: float, error_if_nonfinite: bool) -> Tensor:
    """The same without reading a number, so that the device never waits."""
    xp = backend_of(gradients).xp
    # of float32 and less a sum of squares in float64 neither over- nor underflows, and all are summed in two launches
    together = _together(gradients) if p == 2 and all(_is_simple(g) for g in gradients) else None
    if together is not None:
        total = together.norm(gradients)
    else:
        sizes = xp.concatenate([xp.abs(g).astype("float64").ravel() for g in gradients if g.size] or [xp.zeros(1)])
        largest = sizes.max()
        scale = xp.where((largest > 0) & xp.isfinite(largest), largest, 1.0)  # so that no power over- or underflows
        total = largest if p == math.inf else scale * ((sizes / scale) ** p).sum() ** (1 / p)
    if error_if_nonfinite and not math.isfinite(float(total)):
        _refuse(float(total))
    if max_norm == math.inf:
        return wrap(total)
    factor = xp.minimum(max_norm / (total + 1e-6), 1.0)
    versions.wrote("clip_grad_norm_()", *gradients)
    if together is not None:
        together.scale(gradients, factor)
    else:
        for g in gradients:
            g *= factor.astype(g.dtype)
    return wrap(total)


def _is_simple(gradient: Array) -> bool:
    """Whether a device's kernels take it as it is: in at most 32 bits a number, and without gaps."""
    return gradient.dtype.kind in "fV" and gradient.dtype.itemsize <= 4 and gradient.flags.c_contiguous


def _refuse(total: float) -> None:
    raise RuntimeError(
        f"clip_grad_norm_: the norm of the gradients is {total}; look for the first infinite or NaN value in the "
        "forward pass, or lower the learning rate"
    )


def clip_grad_value_(params: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Move every entry of every gradient into [-clip_value, clip_value], as ``torch.nn.utils.clip_grad_value_``.

    Parameters
    ----------
    params : Tensor or iterable of Tensor
        Those without a gradient are skipped.
    clip_value : float
        At least 0.

    Raises
    ------
    TypeError, ValueError
        An argument is not what it should be.
    """
    if not is_real(clip_value) or not clip_value >= 0:
        raise ValueError(f"clip_grad_value_(clip_value): expected a number of at least 0, got {clip_value!r}")
    gradients = _gradients(params, "clip_grad_value_")
    versions.wrote("clip_grad_value_()", *gradients)
    for g in gradients:
        backend_of([g]).xp.clip(g, -clip_value, clip_value, out=g)


def _gradients(params: Tensor | Iterable[Tensor], caller: str) -> list[Array]:
    tensors = [params] if isinstance(params, Tensor) else list(params)
    for i, p in enumerate(tensors):
        if not isinstance(p, Tensor):
            raise TypeError(
                f"{caller}(params): params[{i}] is a {type(p).__name__}; expected a Tensor, as parameters() gives them"
            )
    return [p.grad.array for p in tensors if p.grad is not None]


def _block_norm(piece: Array, p: float) -> float:
    xp = backend_of([piece]).xp
    size = xp.abs(piece).astype("float64")
    if p == math.inf:
        return float(size.max()) if size.size else 0.0
    return float((size * size).sum() ** 0.5 if p == 2 else (size**p).sum() ** (1 / p))


def _norm(norms: list[float], p: float) -> float:
    """The norm of a vector from the norms of its parts."""
    if any(math.isnan(norm) for norm in norms):
        return math.nan
    largest = max(norms, default=0.0)
    if largest in (0.0, math.inf) or p == math.inf:
        return largest
    return float(largest * sum((norm / largest) ** p for norm in norms) ** (1 / p))
