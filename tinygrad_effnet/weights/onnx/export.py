"""A network as an ONNX file."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ... import nn
from ...files import atomic_write
from ..errors import WeightsError
from .folding import fold
from .forms import OPSET, write
from .graph import Graph, Node
from .trace import Trace, Value, trace_twice

INPUT = "input"
IR_VERSION = 8  # of the file format, the one that came with the opset
LARGEST = (1 << 31) - (1 << 20)  # bytes: a protocol buffer ends at 2 GiB, and the nodes want some of it


def export_onnx(
    model: nn.Module,
    path: str | os.PathLike[str],
    input_shape: Sequence[int],
    dynamic_batch: bool = True,
    *,
    class_names: Sequence[str] | None = None,
    preprocessing: Mapping[str, Any] | None = None,
) -> None:
    """Write a network as an ONNX file, atomically, with its weights in it.

    The file holds what the network computes in eval mode, found by running it; batch norm is folded into the
    convolutions before it. Nodes, weights and biases have the names of the network's modules. The operators are those
    of opset 17 (IR version 8).

    Parameters
    ----------
    model : Module
        Of float32, anywhere. It is as it was afterwards, its mode too.
    path : path
        Ends in ``.onnx``.
    input_shape : tuple of int
        Shape of the input, batch included, e.g. ``(1, 3, 224, 224)``. Height and width are fixed in the file.
    dynamic_batch : bool
        The file takes any number of images; otherwise just the number in ``input_shape``.
    class_names : sequence of str, optional
        Noted in the file as a JSON list, under "classes".
    preprocessing : mapping, optional
        What turns a photograph into the input, noted as JSON under "preprocessing".

    Raises
    ------
    ImportError
        The package `onnx` is not installed.
    WeightsError
        The network uses an operation that has no form in ONNX here, or does what depends on the numbers in its input;
        its weights are longer than the 2 GiB that a file may have; or an argument makes no sense. Nothing is written.
    """
    path, shape = Path(path), tuple(input_shape)
    _check(model, path, shape)
    if importlib.util.find_spec("onnx") is None:
        raise ImportError(
            "export_onnx: writing ONNX needs the package onnx, which is not installed: "
            'pip install "tinygrad_effnet[onnx]"'
        )
    first, second = trace_twice(model, shape, dynamic_batch)
    if class_names is not None and first.outputs[0].sizes[-1] != len(class_names):
        raise WeightsError(
            f"export_onnx(class_names): {len(class_names)} names for {first.outputs[0].sizes[-1]} outputs; give one "
            "name for each"
        )
    graph = _graph(model, first)
    different = graph.differs_from(_graph(model, second))
    if different is not None:
        raise WeightsError(
            f"export_onnx(model): {different} was not the same in two runs with other images and another number of "
            "them. It was computed outside this package's operations, drawn at random, or depends on the number of "
            "images; dynamic_batch=False fixes that."
        )
    size = sum(array.nbytes for array in graph.constants.values())
    if size > LARGEST:
        raise WeightsError(
            f"export_onnx(model): its weights take {size / 2**30:.2f} GiB, and an ONNX file holds 2 GiB at most; use a "
            "smaller network"
        )
    notes = {"architecture": f"{type(model).__name__}({model.extra_repr()})"}
    if class_names is not None:
        notes["classes"] = json.dumps(list(class_names), ensure_ascii=False)
    if preprocessing is not None:
        notes["preprocessing"] = json.dumps(dict(preprocessing))
    data = _serialized(graph, first, notes)
    atomic_write(path, lambda file: file.write(data))


def _check(model: nn.Module, path: Path, shape: tuple[int, ...]) -> None:
    if path.suffix != ".onnx":
        raise WeightsError(f"export_onnx(path): {path.name!r}; expected a name that ends in .onnx")
    if not shape or any(not isinstance(n, int) or n < 1 for n in shape):
        raise WeightsError(
            f"export_onnx(input_shape): {shape}; expected sizes from 1 on, batch included, such as (1, 3, 224, 224)"
        )
    other = next((n for n, t in model.state_dict().items() if t.dtype.kind == "f" and t.dtype != np.float32), None)
    if other is not None:
        raise WeightsError(
            f"export_onnx(model): {other} is of {model.state_dict()[other].dtype}; files are written in float32, so "
            "convert the network with model.float()"
        )


def _output_names(model: nn.Module, count: int) -> list[str]:
    if isinstance(model, nn.StagedNet) and not model.features_only:
        return ["embedding" if model.classifier is None else "logits"]
    kind = "features" if isinstance(model, nn.StagedNet) else "output"
    return [kind] if count == 1 else [f"{kind}_{i}" for i in range(count)]


def _graph(model: nn.Module, trace: Trace) -> Graph:
    """Nodes for the steps of a run."""
    fold(trace)
    graph = Graph()
    names = _output_names(model, len(trace.outputs))
    for name in (INPUT, *names):
        graph.unique(name)  # nothing else may be called so
    graph.call(trace.input, INPUT)
    for step in trace.steps:
        write(graph, step)
    graph.module = ""
    renamed: dict[str, str] = {}
    for value, name in zip(trace.outputs, names, strict=True):
        own = graph.name_of(value)
        if own == INPUT or own in renamed:  # given back as it is, or twice
            graph.nodes.append(_identity(own, name))
        else:
            renamed[own] = name
    graph.rename(renamed)
    graph.outputs = names
    return graph


def _identity(name: str, output: str) -> Node:
    return Node("Identity", output, [name], output, {})


def _serialized(graph: Graph, trace: Trace, notes: Mapping[str, str]) -> bytes:
    """The file's contents, checked by the package `onnx` itself."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from ... import __version__

    def described(name: str, value: Value) -> onnx.ValueInfoProto:
        sizes = ["batch" if n is None and i == 0 else n for i, n in enumerate(value.sizes)]
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes)

    proto = helper.make_model(
        helper.make_graph(
            [
                helper.make_node(node.kind, node.inputs, [node.output], node.name, **node.attributes)
                for node in graph.nodes
            ],
            notes["architecture"],
            [described(INPUT, trace.input)],
            [described(name, value) for name, value in zip(graph.outputs, trace.outputs, strict=True)],
            [numpy_helper.from_array(np.ascontiguousarray(a), name) for name, a in graph.constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="tinygrad_effnet",
        producer_version=__version__,
    )
    helper.set_model_props(proto, dict(notes))
    onnx.checker.check_model(proto, full_check=True)
    data: bytes = proto.SerializeToString()
    return data
