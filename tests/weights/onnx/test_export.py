"""Networks in ONNX Runtime give our numbers; the file says what is in it; what cannot be written is refused."""

from __future__ import annotations

import json
import sys
from collections import Counter

import numpy as np
import onnx
import pytest
from running import agrees, images, run_file, run_ours, runtime, settled

import tinygrad_effnet as tg
from tinygrad_effnet import nn, weights
from tinygrad_effnet.weights.onnx import export

NETWORKS = {
    "b0": (lambda: nn.EfficientNet("b0", 10, stochastic_depth=0.0), 64),
    "v2_s": (lambda: nn.EfficientNetV2("s", 10, stochastic_depth=0.0), 64),
    "mobilenet_v2": (lambda: nn.MobileNetV2(10), 64),
    "same padding, odd size": (lambda: nn.EfficientNet("b0", 10, depth=0.3, padding="same"), 77),
    "embedding": (lambda: nn.MobileNetV2(0, width=0.25), 48),
    "features": (lambda: nn.EfficientNetV2("b0", features_only=True, width=0.5, depth=0.3), 64),
    "fused operations": (lambda: nn.EfficientNet("b0", 10, width=0.5, depth=0.3, fused=True), 64),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_runtime_gives_our_numbers_for_one_image_and_for_five(tmp_path, name):
    make, size = NETWORKS[name]
    tg.manual_seed(7)
    agrees(settled(make(), size), tmp_path, 3, size, size)


@pytest.fixture(scope="module")
def small() -> nn.EfficientNet:
    return settled(nn.EfficientNet("b0", 4, width=0.25, depth=0.3))


def test_the_file_is_what_it_says(tmp_path, small):
    path = tmp_path / "model.onnx"
    notes = {"class_names": ["Käfer", "Ente", "Mini", "2CV"], "preprocessing": {"size": 32, "mean": [0.5, 0.5, 0.5]}}
    weights.export_onnx(small, path, (1, 3, 32, 32), **notes)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert (model.producer_name, model.producer_version, model.ir_version) == ("tinygrad_effnet", tg.__version__, 8)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    found = {entry.key: entry.value for entry in model.metadata_props}
    assert found["architecture"] == "EfficientNet(variant='b0')"
    assert json.loads(found["classes"]) == notes["class_names"]
    assert json.loads(found["preprocessing"]) == notes["preprocessing"]
    (x,), (y,) = model.graph.input, model.graph.output
    sizes = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in (x, y)]
    assert (x.name, y.name, sizes) == ("input", "logits", [["batch", 3, 32, 32], ["batch", 4]])
    assert list(tmp_path.iterdir()) == [path]


def test_names_are_those_of_the_modules_and_batch_norm_is_gone(tmp_path, small):
    weights.export_onnx(small, tmp_path / "model.onnx", (1, 3, 32, 32))
    graph = onnx.load(tmp_path / "model.onnx").graph
    names = [node.name for node in graph.node]
    assert len(set(names)) == len(names)
    convolutions = {name for name, module in small.named_modules() if isinstance(module, nn.Conv2d)}
    assert {f"{name}.Conv" for name in convolutions} == {node.name for node in graph.node if node.op_type == "Conv"}
    assert "stages.0.0.depthwise.act.Sigmoid" in names
    expected = {f"{name}.{part}" for name in (*convolutions, "classifier") for part in ("weight", "bias")}
    assert {tensor.name for tensor in graph.initializer} - {"pool.1.shape"} == expected
    kinds = Counter(node.op_type for node in graph.node)
    assert set(kinds) == {"Conv", "Sigmoid", "Mul", "Add", "GlobalAveragePool", "Reshape", "Gemm"}
    assert kinds["Add"] == sum(block.has_skip for stage in small.stages for block in stage)


def test_with_a_fixed_batch_no_other_is_taken(tmp_path, small):
    weights.export_onnx(small, tmp_path / "model.onnx", (2, 3, 32, 32), dynamic_batch=False)
    x = images(2, 3, 32, 32)
    np.testing.assert_allclose(run_file(tmp_path / "model.onnx", x)[0], run_ours(small, x)[0], atol=1e-4)
    assert runtime(tmp_path / "model.onnx").get_inputs()[0].shape == [2, 3, 32, 32]
    with pytest.raises(Exception, match="Expected: 2"):
        run_file(tmp_path / "model.onnx", images(1, 3, 32, 32))


def test_the_network_stays_as_it_was(tmp_path, small):
    small.train()
    small.stages.eval()
    before = {name: tensor.numpy().copy() for name, tensor in small.state_dict().items()}
    weights.export_onnx(small, tmp_path / "model.onnx", (1, 3, 32, 32))
    assert small.training
    assert not any(module.training for module in small.stages.modules())
    for name, tensor in small.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), before[name])


class Given(nn.Module):
    """A network that is a function, with what the function needs beside x."""

    def __init__(self, function, **parts):
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)


def test_what_others_use_is_not_folded_away(tmp_path):
    conv, norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)

    def both(net, x):
        y = net.conv(x)
        return net.norm(y) + y, y

    agrees(settled(Given(both, conv=conv, norm=norm), 8), tmp_path, 3, 8, 8)
    twice = Given(lambda net, x: net.norm(net.conv(x)) + net.conv(x * 0.5), conv=conv, norm=norm)
    agrees(settled(twice, 8), tmp_path, 3, 8, 8)


@pytest.mark.parametrize(
    "function",
    [
        lambda net, x: (x, x),
        lambda net, x: [x * 2.0, x],
        lambda net, x: x.reshape(-1, 6),
        lambda net, x: x.reshape(x.shape[0] * 3, 2, 2),
        lambda net, x: x.flatten(1).T,
        lambda net, x: x.mean(0),
        lambda net, x: tg.cat([x, x * 2.0, x], 0),
        lambda net, x: x - x.mean((1, 2, 3), keepdim=True),
        lambda net, x: tg.broadcast_to(x.mean(1, keepdim=True), x.shape),
        lambda net, x: 2.0 - x / tg.Tensor(np.array([1.0, 2.0, 4.0], "f").reshape(3, 1, 1)),
    ],
)  # fmt: skip
def test_any_number_of_images_whatever_becomes_of_their_axis(tmp_path, function):
    agrees(Given(function), tmp_path, 3, 2, 2)


# -- what is refused -----------------------------------------------------------------------------------------------


def refused(model, tmp_path, words, shape=(1, 3, 2, 2), error=weights.WeightsError, **settings):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"what was there")
    with pytest.raises(error, match=words) as caught:
        weights.export_onnx(model, path, shape, **settings)
    assert path.read_bytes() == b"what was there"
    assert list(tmp_path.iterdir()) == [path]
    return str(caught.value)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda net, x: x[0], "the network itself uses getitem, which has no form in ONNX here. Compute the same with"),
        (lambda net, x: x * tg.Tensor(x.numpy()), "constant was not the same in two runs"),
        (lambda net, x: x * float(tg.default_generator().random()), "drawn at random"),
        (lambda net, x: x / x.shape[0], "depends on the number of images; dynamic_batch=False"),
        (lambda net, x: tg.Tensor(x.numpy() * 2), "not computed from the input by operations of this package"),
        (lambda net, x: {"y": x}, "returns a dict; expected a Tensor"),
        (lambda net, x: [], "returns a list; expected"),
        (lambda net, x: x * 2.0 if x.shape[0] == 2 else tg.exp(x), "two runs took different steps from mul"),
        (lambda net, x: x.exp() if x.shape[0] == 2 else x.exp().exp(), "two runs took different steps, so"),
        (lambda net, x: x.reshape(x.shape[0], x.shape[0], -1), "several axes"),
        (lambda net, x: tg.broadcast_to(x.mean(0, keepdim=True), x.shape), "repeated for each image"),
        (lambda net, x: tg.pad(x, [0, x.shape[0]]), "was not the same in two runs"),
    ],
)  # fmt: skip
def test_what_a_file_cannot_say(tmp_path, function, words):
    refused(Given(function), tmp_path, words, (1, 6, 2, 2))


def test_bad_arguments(tmp_path, small):
    refused(nn.Linear(2, 2).double(), tmp_path, r"weight is of float64.*model\.float\(\)", (1, 2))
    refused(small, tmp_path, r"\(3, 32, -1\); expected sizes", (3, 32, -1))
    refused(small, tmp_path, "3 names for 4 outputs", (1, 3, 32, 32), class_names=["a", "b", "c"])
    refused(small, tmp_path, "conv2d: x must have 4 axes", (3, 32, 32), error=ValueError)
    with pytest.raises(weights.WeightsError, match=r"'model\.pb'; expected a name that ends in \.onnx"):
        weights.export_onnx(small, tmp_path / "model.pb", (1, 3, 32, 32))


def test_more_weights_than_a_file_holds(tmp_path, small, monkeypatch):
    monkeypatch.setattr(export, "LARGEST", 1000)
    refused(small, tmp_path, "its weights take 0.00 GiB, and an ONNX file holds 2 GiB at most", (1, 3, 32, 32))


def test_without_the_package_the_extra_is_named(tmp_path, small, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    refused(small, tmp_path, r'pip install "tinygrad_effnet\[onnx\]"', (1, 3, 32, 32), error=ImportError)
