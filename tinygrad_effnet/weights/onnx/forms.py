"""What each operation is called in ONNX: a table, from the name of the operation to a function that writes its nodes.

It stands here and not beside the operations, since they know nothing of files. Operations that only training and
gradients need have no form, and a network that uses one is refused by that name. The operators' reference, with the
versions in which each changed: https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import WeightsError
from .graph import Graph
from .trace import Step

OPSET = 17  # the version of the operators: of 2022, so that runtimes of the last years take it
Form = Callable[[Graph, Step, list[str]], str]  # writes a step whose inputs have these names; returns its output's


def write(graph: Graph, step: Step) -> None:
    """Add a step's nodes to the graph.

    Raises
    ------
    WeightsError
        The operation has no form in ONNX here.
    """
    form = FORMS.get(step.op.name)
    graph.module = step.module
    if form is None:
        raise WeightsError(
            f"export_onnx(model): {step.module or 'the network itself'} uses {step.op.name}, which has no form in ONNX "
            f"here. Compute the same with some of these: {', '.join(FORMS)}."
        )
    graph.call(step.outputs[0], form(graph, step, [graph.name_of(value) for value in step.inputs]))


def _node(kind: str, **attributes: Any) -> Form:
    """An operation that is one operator, without settings of its own."""
    return lambda graph, step, names: graph.node(kind, *names, **attributes)


def _setting(kind: str, **sources: str) -> Form:
    """An operation that is one operator, whose attributes are those of the operation."""

    def form(graph: Graph, step: Step, names: list[str]) -> str:
        return graph.node(kind, *names, **{name: getattr(step.op, own) for name, own in sources.items()})

    return form


def _window(op: Any) -> dict[str, list[int]]:
    (top, bottom), (left, right) = op.window.padding
    return {
        "kernel_shape": list(op.window.kernel),
        "strides": list(op.window.stride),
        "pads": [top, left, bottom, right],
        "dilations": list(op.window.dilation),
    }


def _convolution(graph: Graph, step: Step, names: list[str]) -> str:
    op: Any = step.op
    groups = step.inputs[0].sizes[1] if op.name == "depthwise_conv2d" else op.groups
    return graph.node("Conv", *names, **_window(op), group=groups)


def _max_pool(graph: Graph, step: Step, names: list[str]) -> str:
    return graph.node("MaxPool", *names, **_window(step.op))


def _avg_pool(graph: Graph, step: Step, names: list[str]) -> str:
    op: Any = step.op
    window = _window(op)
    del window["dilations"]  # pooling has them from version 19 on
    return graph.node("AveragePool", *names, **window, count_include_pad=int(op.count_include_pad))


def _silu(graph: Graph, step: Step, names: list[str]) -> str:
    return graph.node("Mul", names[0], graph.node("Sigmoid", names[0]))


def _gelu(graph: Graph, step: Step, names: list[str]) -> str:
    half, one = _number(graph, 0.5), _number(graph, 1.0)
    error = graph.node("Erf", graph.node("Mul", names[0], _number(graph, math.sqrt(0.5))))
    return graph.node("Mul", names[0], graph.node("Mul", graph.node("Add", error, one), half))


def _clip(graph: Graph, step: Step, names: list[str]) -> str:
    op: Any = step.op
    low, high = (0.0, 6.0) if op.name == "relu6" else (op.low, op.high)
    limits = [_number(graph, limit) if math.isfinite(limit) else "" for limit in (low, high)]
    return graph.node("Clip", *names, *limits)


def _reduction(kind: str) -> Form:
    def form(graph: Graph, step: Step, names: list[str]) -> str:
        op: Any = step.op
        rank = len(step.inputs[0].sizes)
        axes = list(range(rank)) if op.axis is None else list(op.axis)
        if not axes:
            return graph.node("Identity", *names)  # no axes would mean all of them
        if kind == "ReduceMean" and axes == [2, 3] and rank == 4 and op.keepdims:
            return graph.node("GlobalAveragePool", *names)
        if kind == "ReduceSum":  # the first whose axes became an input
            return graph.node(kind, *names, graph.constant(np.array(axes, np.int64), "axes"), keepdims=int(op.keepdims))
        return graph.node(kind, *names, axes=axes, keepdims=int(op.keepdims))

    return form


def _reshape(graph: Graph, step: Step, names: list[str]) -> str:
    sizes = step.outputs[0].sizes
    if sizes.count(None) > 1:
        raise WeightsError(
            f"export_onnx(model): in {step.module or 'the network itself'} the number of images goes into several axes "
            "of one shape, which a file cannot say; use dynamic_batch=False."
        )
    shape = np.array([-1 if n is None else n for n in sizes], np.int64)
    return graph.node("Reshape", *names, graph.constant(shape, "shape"), allowzero=int(0 in sizes))


def _broadcast(graph: Graph, step: Step, names: list[str]) -> str:
    source, sizes = step.inputs[0].sizes, step.outputs[0].sizes
    before = (1,) * (len(sizes) - len(source)) + source
    if any(n is None and m is not None for n, m in zip(sizes, before, strict=True)):
        raise WeightsError(
            f"export_onnx(model): in {step.module or 'the network itself'} something is repeated for each image, which "
            "a file cannot say; use dynamic_batch=False, or let an operation broadcast it."
        )
    shape = np.array([1 if n is None else n for n in sizes], np.int64)  # 1 leaves the size as it is
    return graph.node("Expand", *names, graph.constant(shape, "shape"))


def _pad(graph: Graph, step: Step, names: list[str]) -> str:
    op: Any = step.op
    widths = np.array([[b for b, _ in op.widths], [a for _, a in op.widths]], np.int64).reshape(-1)
    return graph.node("Pad", *names, graph.constant(widths, "widths"), _number(graph, op.value))


def _scale_shift(graph: Graph, step: Step, names: list[str]) -> str:
    """Channels are the second axis; those after it must be there, of size 1, for the numbers to broadcast."""
    after = len(step.inputs[0].sizes) - 2
    shape = graph.constant(np.array([-1] + [1] * after, np.int64), "shape")
    scale, shift = (graph.node("Reshape", name, shape) for name in names[1:])
    return graph.node("Add", graph.node("Mul", names[0], scale), shift)


def _number(graph: Graph, value: float) -> str:
    return graph.constant(np.float32(value))


FORMS: dict[str, Form] = {
    "add": _node("Add"),
    "sub": _node("Sub"),
    "mul": _node("Mul"),
    "div": _node("Div"),
    "pow": _node("Pow"),
    "neg": _node("Neg"),
    "abs": _node("Abs"),
    "maximum": _node("Max"),
    "minimum": _node("Min"),
    "exp": _node("Exp"),
    "log": _node("Log"),
    "sqrt": _node("Sqrt"),
    "sin": _node("Sin"),
    "cos": _node("Cos"),
    "erf": _node("Erf"),
    "clip": _clip,
    "relu": _node("Relu"),
    "relu6": _clip,
    "leaky_relu": _setting("LeakyRelu", alpha="slope"),
    "sigmoid": _node("Sigmoid"),
    "silu": _silu,
    "hardsigmoid": _node("HardSigmoid", alpha=1 / 6, beta=0.5),
    "hardswish": _node("HardSwish"),
    "tanh": _node("Tanh"),
    "gelu": _gelu,
    "softplus": _node("Softplus"),
    "softmax": _setting("Softmax", axis="axis"),
    "log_softmax": _setting("LogSoftmax", axis="axis"),
    "sum": _reduction("ReduceSum"),
    "mean": _reduction("ReduceMean"),
    "amax": _reduction("ReduceMax"),
    "amin": _reduction("ReduceMin"),
    "logsumexp": _reduction("ReduceLogSumExp"),
    "reshape": _reshape,
    "permute": _setting("Transpose", perm="dims"),
    "broadcast_to": _broadcast,
    "cat": _setting("Concat", axis="dim"),
    "pad": _pad,
    "matmul": _node("MatMul"),
    "linear": _node("Gemm", transB=1),
    "conv2d": _convolution,
    "depthwise_conv2d": _convolution,
    "max_pool2d": _max_pool,
    "avg_pool2d": _avg_pool,
    "scale_shift": _scale_shift,
}
