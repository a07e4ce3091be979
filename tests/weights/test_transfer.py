"""Weights go out in each dialect and come back bit for bit; what does not fit is refused whole, and says why."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest

import tinygrad_effnet as tg
from tinygrad_effnet import nn, weights
from tinygrad_effnet.weights.torch_writer import write_torch_file

SMALL = {
    "b0": lambda classes=3: nn.EfficientNet("b0", classes, width=0.25, depth=0.3),
    "v2": lambda classes=3: nn.EfficientNetV2("b0", classes, width=0.25, depth=0.3),
    "mobilenet": lambda classes=3: nn.MobileNetV2(classes, width=0.25, depth=0.3),
}


def randomized(model: nn.Module) -> nn.Module:
    rng = np.random.default_rng(6)
    for name, tensor in model.state_dict().items():
        new = rng.standard_normal(tensor.shape) if tensor.dtype.kind == "f" else rng.integers(0, 99, tensor.shape)
        model.load_state_dict({name: new.astype(tensor.dtype)}, strict=False)
    return model


def same_state(a: nn.Module, b: nn.Module) -> bool:
    pairs = zip(a.state_dict().items(), b.state_dict().items(), strict=True)
    return all(m == n and np.array_equal(x.numpy(), y.numpy()) for (m, x), (n, y) in pairs)


@pytest.mark.filterwarnings("ignore::tinygrad_effnet.weights.WeightsWarning")  # nothing in a .pth tells its padding
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("dialect", weights.DIALECTS)
def test_round_trip(tmp_path, kind, dialect, suffix):
    if dialect == "lukemelas" and kind != "b0":
        with pytest.raises(weights.WeightsError, match="lukemelas"):
            weights.save(SMALL[kind](), tmp_path / f"w{suffix}", dialect)
        assert not list(tmp_path.iterdir())
        return
    model = randomized(SMALL[kind]())
    weights.save(model, tmp_path / f"w{suffix}", dialect)
    other = SMALL[kind]()
    loaded = weights.load(other, tmp_path / f"w{suffix}")
    assert (loaded.dialect, loaded.fresh, loaded.unused) == (dialect, [], [])
    assert same_state(model, other)


@pytest.mark.parametrize("dialect", weights.DIALECTS)
def test_another_number_of_classes_keeps_the_body(tmp_path, dialect):
    model = randomized(SMALL["b0"](5))
    weights.save(model, tmp_path / "w.safetensors", dialect)
    other = SMALL["b0"](3)
    before = other.classifier.weight.numpy().copy()
    loaded = weights.load(other, tmp_path / "w.safetensors")
    assert loaded.fresh == ["classifier.weight", "classifier.bias"]
    assert "left as they were: classifier.weight, classifier.bias" in str(loaded)
    np.testing.assert_array_equal(other.classifier.weight.numpy(), before)
    np.testing.assert_array_equal(other.head.conv.weight.numpy(), model.head.conv.weight.numpy())
    body = nn.EfficientNet("b0", 0, width=0.25, depth=0.3)
    with pytest.raises(weights.WeightsError, match="not a part of this network"):
        weights.load(body, tmp_path / "w.safetensors")
    assert len(weights.load(body, tmp_path / "w.safetensors", strict=False).unused) == 2


def test_any_module_has_its_own_names(tmp_path):
    model = randomized(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm2d(4)))
    weights.save(model, tmp_path / "w.pt")
    other = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm2d(4))
    weights.load(other, tmp_path / "w.pt")
    assert same_state(model, other)


def test_what_wrappers_and_training_scripts_put_around_is_taken_off(tmp_path):
    model = randomized(SMALL["b0"]())
    names = weights.key_map(model, "timm")
    arrays = {f"module.{names[n]}": t.numpy() for n, t in model.state_dict().items()}
    write_torch_file(tmp_path / "w.pth", arrays)
    other = SMALL["b0"]()
    assert weights.load(other, tmp_path / "w.pth").dialect == "timm"
    assert same_state(model, other)


def test_several_sets_of_weights(tmp_path):
    torch = pytest.importorskip("torch", reason="writes the nested file, and is not installed")
    model, ema = randomized(SMALL["b0"]()), SMALL["b0"]()
    sets = [{n: torch.from_numpy(t.numpy().copy()) for n, t in m.state_dict().items()} for m in (model, ema)]
    torch.save({"epoch": 3, "state_dict": sets[0], "state_dict_ema": sets[1]}, tmp_path / "w.pth")
    other = SMALL["b0"]()
    weights.load(other, tmp_path / "w.pth")
    assert same_state(model, other)
    weights.load(other, tmp_path / "w.pth", entry="state_dict_ema")
    assert same_state(ema, other)
    with pytest.raises(weights.WeightsError, match=r"no weights under 'ema'; those it has: 'state_dict', 'state_dict_"):
        weights.load(other, tmp_path / "w.pth", entry="ema")


def test_half_precision_is_widened(tmp_path):
    model = randomized(SMALL["b0"]())
    write_torch_file(
        tmp_path / "w.pth",
        {n: t.numpy().astype(np.float16) if t.dtype.kind == "f" else t.numpy() for n, t in model.state_dict().items()},
    )
    other = SMALL["b0"]()
    weights.load(other, tmp_path / "w.pth")
    assert other.head.conv.weight.dtype == np.float32
    np.testing.assert_allclose(other.head.conv.weight.numpy(), model.head.conv.weight.numpy(), rtol=1e-3, atol=1e-6)


# -- what is refused -----------------------------------------------------------------------------------------------


def refused(model, path, **settings) -> str:
    before = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    with pytest.raises(weights.WeightsError) as caught:
        weights.load(model, path, **settings)
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), before[name], err_msg=name)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_another_variant_is_refused_with_what_differs(tmp_path):
    weights.save(SMALL["b0"](), tmp_path / "w.safetensors", "torchvision")
    deeper = nn.EfficientNet("b0", 3, width=0.25, depth=0.6)
    message = refused(deeper, tmp_path / "w.safetensors")
    assert "(torchvision names) does not fit EfficientNet(variant='b0') in" in message
    assert ": missing" in message
    wider = nn.EfficientNet("b0", 3, width=0.5, depth=0.3)
    message = refused(wider, tmp_path / "w.safetensors", strict=False)
    assert "features.1.0.block.2.0.weight: shape (8, 8, 1, 1) in the file, (8, 16, 1, 1) expected" in message


def test_another_network_is_refused(tmp_path):
    weights.save(nn.Sequential(nn.Linear(3, 4)), tmp_path / "w.pth")
    message = refused(SMALL["b0"](), tmp_path / "w.pth")
    assert "none of the names of a EfficientNet in any dialect" in message
    assert "0.weight, 0.bias" in message


def test_files_that_are_none(tmp_path):
    model = SMALL["b0"]()
    (tmp_path / "w.pth").write_bytes(b"hello")
    assert "no file that torch.save made" in refused(model, tmp_path / "w.pth")
    assert "cannot be read" in refused(model, tmp_path / "none.pth")
    write_torch_file(tmp_path / "e.pth", {})
    assert "holds no weights; its entries are none" in refused(model, tmp_path / "e.pth")


def header(content: dict, data: bytes = b"", length: int | None = None) -> bytes:
    text = json.dumps(content).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


@pytest.mark.parametrize(
    "data",
    [
        header({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, bytes(12)),
        header({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 8]}}, bytes(8)),
        header({n: {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} for n in "ab"}, bytes(16)),
        header({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, bytes(16), 1 << 40),
        header({"a": {"dtype": "F32", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 16]}}, bytes(16)),
        header({"a": {"dtype": "F9", "shape": [4], "data_offsets": [0, 16]}}, bytes(16)),
        header({"a": {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]}}, bytes(16)),
        header({"a": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}, bytes(4)),
        header({"a": {"dtype": "F32", "shape": [1] * 65, "data_offsets": [0, 4]}}, bytes(4)),
        b"\x02\x00\x00\x00\x00\x00\x00\x00{",
    ],
)
def test_malformed_safetensors(tmp_path, data):
    (tmp_path / "w.safetensors").write_bytes(data)
    refused(SMALL["mobilenet"](), tmp_path / "w.safetensors")


def test_bfloat16_in_safetensors(tmp_path):
    model = nn.Sequential(nn.Linear(2, 1, bias=False))
    data = header({"0.weight": {"dtype": "BF16", "shape": [1, 2], "data_offsets": [0, 4]}}, b"\xc0\x3f\x00\xc0")
    (tmp_path / "w.safetensors").write_bytes(data)
    weights.load(model, tmp_path / "w.safetensors")
    np.testing.assert_array_equal(model.state_dict()["0.weight"].numpy(), [[1.5, -2.0]])


def test_bad_arguments_of_save(tmp_path):
    with pytest.raises(weights.WeightsError, match=r"'w\.bin'; expected a name that ends in \.safetensors"):
        weights.save(SMALL["b0"](), tmp_path / "w.bin")
    with pytest.raises(weights.WeightsError, match="'keras'; choose one of native"):
        weights.save(SMALL["b0"](), tmp_path / "w.pth", "keras")
    with pytest.raises(weights.WeightsError, match="no names in other dialects"):
        weights.save(nn.Linear(2, 2), tmp_path / "w.pth", "timm")
    assert not list(tmp_path.iterdir())


def test_a_network_of_pytorch_gives_the_same_numbers(tmp_path):
    """A file in torchvision's dialect, through torch's own load_state_dict, and the other way."""
    torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
    model = nn.MobileNetV2(4, width=0.25, depth=0.3)
    weights.save(model, tmp_path / "w.pth", "torchvision")
    state = torch.load(tmp_path / "w.pth", weights_only=True)
    x = tg.Tensor(np.random.default_rng(0).standard_normal((2, 3, 32, 32)), dtype="float32")
    stem = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, 2, 1, bias=False), torch.nn.BatchNorm2d(8), torch.nn.ReLU6())
    stem.load_state_dict({n[len("features.0.") :]: t for n, t in state.items() if n.startswith("features.0.")})
    with torch.no_grad(), tg.no_grad():
        expected = stem.eval()(torch.from_numpy(x.numpy()))
        np.testing.assert_allclose(model.eval().stem(x).numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)
