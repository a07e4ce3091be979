"""The oracle of the other tests, `loops`, against PyTorch and SciPy; fast backends are held to `loops` elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_effnet.backends import Backend, Window

torch = pytest.importorskip("torch")
special = pytest.importorskip("scipy.special")
F = torch.nn.functional

Calls = Callable[[str, Any], st.SearchStrategy[Any]]


# -- oracles: what somebody else's library makes, in float64, of the arguments of a kernel ---------------------------
def wide(x: Any) -> Any:
    """A float64 tensor of an array or number; integers and booleans stay what they are."""
    x = np.array(x)
    return torch.tensor(x.astype(np.float64) if x.dtype.kind == "f" else x)


def all_axes(x: Any, axis: Any) -> tuple[int, ...]:
    return tuple(range(x.ndim)) if axis is None else (axis,) if isinstance(axis, int) else axis


def reduced(function: Callable[..., Any]) -> Callable[..., Any]:
    """A PyTorch reduction over several axes; an empty tuple, which PyTorch takes for "all", leaves x as it is."""
    return lambda x, axis, keepdims: function(wide(x), all_axes(x, axis), keepdims)


def logsumexp(x: Any, axis: Any, keepdims: bool) -> Any:
    if all_axes(x, axis) == ():
        return np.log(np.exp(x))
    return torch.logsumexp(wide(x), all_axes(x, axis), keepdims)


def total(x: Any, axis: Any, keepdims: bool) -> Any:
    return x if all_axes(x, axis) == () else wide(x).sum(all_axes(x, axis), keepdims)


def argmax(x: Any, axis: int | None, keepdims: bool) -> Any:
    place = torch.argmax(wide(x), axis, keepdims)
    return place.reshape((1,) * x.ndim) if keepdims and axis is None else place


def padded(x: Any, window: Window, value: float = 0.0) -> Any:
    (top, bottom), (left, right) = window.padding
    return F.pad(x, (left, right, top, bottom), value=value)


def convolution(x: Any, w: Any, window: Window, groups: int) -> Any:
    x = padded(x, window)
    if 0 in x.shape:
        return torch.zeros((len(x), len(w), *window.output_size(0, 0)), dtype=x.dtype)
    return F.conv2d(x, w, stride=window.stride, dilation=window.dilation, groups=groups)


def pulled_back(function: Callable[[Any], Any], shape: Sequence[int], dy: Any) -> Any:
    """The gradient of <function(x), dy>, which for a linear function does not depend on x."""
    x = torch.zeros(tuple(shape), dtype=torch.float64, requires_grad=True)
    if 0 in shape or 0 in dy.shape:
        return torch.zeros(tuple(shape), dtype=torch.float64)
    return torch.autograd.grad(function(x), x, wide(dy))[0]


def conv2d(x: Any, w: Any, window: Window, groups: int) -> Any:
    if len(x) == 0:
        return np.zeros((0, len(w), *window.output_size(*x.shape[2:])))
    return convolution(wide(x), wide(w), window, groups)


def conv2d_input_grad(dy: Any, w: Any, window: Window, groups: int, size: Any) -> Any:
    shape = (len(dy), w.shape[1] * groups, *size)
    return pulled_back(lambda x: convolution(x, wide(w), window, groups), shape, dy)


def conv2d_weight_grad(x: Any, dy: Any, window: Window, groups: int) -> Any:
    shape = (dy.shape[1], x.shape[1] // groups, *window.kernel)
    return pulled_back(lambda w: convolution(wide(x), w, window, groups), shape, dy)


def max_pool2d(x: Any, window: Window) -> Any:
    (top, _), (left, _) = window.padding
    height, width = x.shape[2:]
    if len(x) == 0:
        empty = np.zeros((*x.shape[:2], *window.output_size(height, width)))
        return empty, empty.astype(np.int64)
    pad = padded(wide(x), window, -math.inf)
    y, place = F.max_pool2d(pad, window.kernel, window.stride, dilation=window.dilation, return_indices=True)
    row, col = place // pad.shape[3] - top, place % pad.shape[3] - left
    inside = (row >= 0) & (row < height) & (col >= 0) & (col < width)
    return y, torch.where(inside, row * width + col, -1)


def average(x: Any, window: Window, count_include_pad: bool) -> Any:
    """Convolution with ones, divided by the same of a plane of ones."""
    channels = x.shape[1]
    ones = torch.ones((channels, 1, *window.kernel), dtype=torch.float64)
    plane = torch.ones((1, *x.shape[1:]), dtype=torch.float64)
    count = math.prod(window.kernel) if count_include_pad else convolution(plane, ones, window, channels)
    return convolution(x, ones, window, channels) / count


def avg_pool2d(x: Any, window: Window, count_include_pad: bool) -> Any:
    if len(x) == 0:
        return np.zeros((0, x.shape[1], *window.output_size(*x.shape[2:])))
    return average(wide(x), window, count_include_pad)


def avg_pool2d_grad(dy: Any, window: Window, count_include_pad: bool, size: Any) -> Any:
    gradient = pulled_back(lambda x: average(x, window, count_include_pad), (*dy.shape[:2], *size), dy)
    # a window of nothing but padding averages 0 / 0, whose derivative PyTorch spreads; no pixel is in it
    return torch.nan_to_num(gradient, nan=0.0)


def gather_planes(x: Any, index: Any) -> Any:
    return torch.gather(wide(x).flatten(2), 2, wide(index).flatten(2)).reshape(index.shape)


def scatter_planes(dy: Any, index: Any, size: Any) -> Any:
    plane = torch.zeros((*dy.shape[:2], math.prod(size)), dtype=torch.float64)
    return plane.scatter_add(2, wide(index).flatten(2), wide(dy).flatten(2)).reshape(*dy.shape[:2], *size)


def batch_norm(x: Any, gamma: Any, beta: Any, eps: float) -> Any:
    x, axes = wide(x), (0, *range(2, x.ndim))
    y = torch.batch_norm(x, wide(gamma), wide(beta), None, None, True, 0.0, eps, False)
    return y, x.mean(axes), x.var(axes, correction=0)


def batch_norm_grad(x: Any, gamma: Any, dy: Any, mean: Any, var: Any, eps: float) -> Any:
    x, gamma = wide(x).requires_grad_(), wide(gamma).requires_grad_()
    beta = torch.zeros_like(gamma).requires_grad_()
    y = torch.batch_norm(x, gamma, beta, None, None, True, 0.0, eps, False)
    return torch.autograd.grad(y, (x, gamma, beta), wide(dy))


def scale_shift(x: Any, scale: Any, shift: Any) -> Any:
    return torch.einsum("nc...,c->nc...", wide(x), wide(scale)) + wide(shift).reshape(-1, *[1] * (x.ndim - 2))


def scatter_add(dy: Any, index: Any, shape: Any) -> Any:
    places = np.arange(math.prod(shape)).reshape(shape)[index]
    return np.bincount(places.ravel(), dy.ravel(), minlength=math.prod(shape)).reshape(shape)


def uniform(generator: Any, shape: Any, dtype: Any) -> Any:
    """PCG64's raw bits: 53 of each for a float64; for float32 24 of the lower half, then 24 of the upper."""
    count = math.prod(shape)
    bits = type(generator.bit_generator)()
    bits.state = generator.bit_generator.state
    raw = bits.random_raw(count)
    if dtype == np.float64:
        return ((raw >> np.uint64(11)) * 2.0**-53).reshape(shape)
    halves = np.stack([raw & np.uint64(0xFFFFFFFF), raw >> np.uint64(32)], axis=1).ravel()[:count]
    return ((halves >> np.uint64(8)) * 2.0**-24).reshape(shape)


def silu_grad(x: Any, dy: Any) -> Any:
    x = wide(x).requires_grad_()
    return torch.autograd.grad(F.silu(x), x, wide(dy))[0]


def of_torch(name: str) -> Callable[..., Any]:
    return lambda *operands: getattr(torch, name)(*(wide(operand) for operand in operands))


def softmax_cross_entropy(x: np.ndarray, goal: np.ndarray) -> tuple[Any, Any]:
    scores = wide(x).requires_grad_()
    loss = -(wide(goal) * torch.log_softmax(scores, 1)).sum(1)
    return loss.detach(), torch.autograd.grad(loss.sum(), scores)[0]


def label_cross_entropy(x: np.ndarray, labels: np.ndarray, smoothing: float, scale: float | None) -> tuple[Any, Any]:
    scores = wide(x).requires_grad_()
    options = {"ignore_index": -1, "label_smoothing": smoothing, "reduction": "none"}
    loss = F.cross_entropy(scores, torch.tensor(labels), **options)
    loss = loss if scale is None else loss.sum() * scale
    return loss.detach(), torch.autograd.grad(loss.sum(), scores)[0]


ORACLES: dict[str, Callable[..., Any]] = {
    **{name: of_torch(name) for name in ("add", "subtract", "multiply", "divide", "maximum", "minimum", "where")},
    **{name: of_torch(name) for name in ("negative", "absolute", "sign", "exp", "log", "log1p", "sqrt", "sin", "cos")},
    **{"power": of_torch("pow"), "tanh": of_torch("tanh"), "erf": special.erf, "sigmoid": special.expit},
    "clip": lambda x, low, high: torch.clamp(wide(x), low, high),
    "silu": lambda x: F.silu(wide(x)),
    "silu_grad": silu_grad,
    "sum": total,
    "max": reduced(lambda x, axes, keepdims: x.amax(axes, keepdims) if axes else x),
    "argmax": argmax,
    "logsumexp": logsumexp,
    "softmax": lambda x, axis: torch.softmax(wide(x), axis),
    "log_softmax": lambda x, axis: torch.log_softmax(wide(x), axis),
    "softmax_cross_entropy": softmax_cross_entropy,
    "label_cross_entropy": label_cross_entropy,
    "matmul": of_torch("matmul"),
    "conv2d": conv2d,
    "conv2d_input_grad": conv2d_input_grad,
    "conv2d_weight_grad": conv2d_weight_grad,
    "depthwise_conv2d": lambda x, w, window: conv2d(x, w, window, len(w)),
    "depthwise_conv2d_input_grad": lambda dy, w, window, size: conv2d_input_grad(dy, w, window, len(w), size),
    "depthwise_conv2d_weight_grad": lambda x, dy, window: conv2d_weight_grad(x, dy, window, x.shape[1]),
    "max_pool2d": max_pool2d,
    "gather_planes": gather_planes,
    "scatter_planes": scatter_planes,
    "avg_pool2d": avg_pool2d,
    "avg_pool2d_grad": avg_pool2d_grad,
    "batch_norm": batch_norm,
    "batch_norm_grad": batch_norm_grad,
    "scale_shift": scale_shift,
    "scatter_add": scatter_add,
    "uniform": uniform,
}


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_equals_other_libraries(kernel: str, dtype: Any, loops: Backend, calls: Calls, data: st.DataObject) -> None:
    assert kernel in ORACLES, f"the contract has a kernel {kernel!r} without an oracle: add one here"
    call = data.draw(calls(kernel, dtype))
    with np.errstate(all="ignore"):
        expected = ORACLES[kernel](*call.args)
    expected = expected if isinstance(expected, tuple) else (expected,)
    results = call.of(loops, kernel)
    call.check(results, tuple(np.asarray(e) for e in expected), dtype)
    for got, want in zip(results, expected, strict=True):
        assert isinstance(got, np.ndarray)
        assert got.shape == tuple(want.shape)
        assert got.dtype in (np.dtype(dtype), np.dtype(np.int64))
