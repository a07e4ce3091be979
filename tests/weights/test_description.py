"""What belongs to a file of weights is found in its notes, in its name, or by whose names it has."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import warnings

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_effnet import nn, weights
from tinygrad_effnet.data import Preprocessing
from tinygrad_effnet.weights.public_files import PUBLIC_FILES, public_file


def test_every_public_file_can_be_used():
    assert len({file.url for file in PUBLIC_FILES}) == len({file.name for file in PUBLIC_FILES}) == len(PUBLIC_FILES)
    for file in weights.urls():
        assert file.url.startswith("https://")
        assert len(file.sha256) == 8 and file.sha256 in file.name
        assert file.model in nn.list_models() and file.dialect in weights.DIALECTS
        assert file.preprocessing.interpolation in ("bilinear", "bicubic")
        assert str(file).endswith(file.url)
        nn.create_model("mobilenet_v2", 2, width=0.25, depth=0.1, **file.settings)  # the settings exist


def test_public_files_are_found_by_network_and_project():
    assert len(weights.urls("efficientnet_b?", "torchvision")) == 9  # B1 twice
    assert {file.dialect for file in weights.urls("efficientnet_b0")} == {"torchvision", "timm", "lukemelas"}
    assert weights.urls("resnet50") == []
    # sides before the cut, as torchvision's and timm's own code computes them
    sides = {(f.model, f.preprocessing.size): f.preprocessing.resize for f in weights.urls(dialect="timm")}
    assert sides["efficientnet_b3", 300] == 331
    assert sides["efficientnet_b7", 600] == 632
    former = public_file("efficientnet_b0_rwightman-3dd342df.pth")  # torchvision's name until 0.16
    assert former is not None and former.sha256 == "7f5810bc"


def test_naming_them_opens_no_connection():
    code = """
import socket
def refused(*given, **more): raise AssertionError("a connection")
socket.socket = socket.create_connection = socket.getaddrinfo = refused
import tinygrad_effnet as tg
print(len(tg.weights.urls()), tg.weights.preprocessing("efficientnet_b0", "timm").resize)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == [str(len(PUBLIC_FILES)), "256"], done.stderr


@pytest.mark.parametrize("model", nn.list_models())
@pytest.mark.parametrize("dialect", weights.DIALECTS)
def test_every_network_has_its_preprocessing(model: str, dialect: str):
    seen = weights.preprocessing(model, dialect)
    assert 0.5 < seen.crop_share <= 1
    assert 192 <= seen.size <= 800


@pytest.mark.parametrize(("model", "dialect"), [("b0", "timm"), ("efficientnet_b0", "keras")])
def test_no_such_network_or_dialect(model: str, dialect: str):
    with pytest.raises(ValueError, match=r"preprocessing\((model|dialect)\): .* choose one of"):
        weights.preprocessing(model, dialect)


norms = st.tuples(*[st.floats(0.125, 1, width=32)] * 3)


@given(
    size=st.integers(1, 900),
    more=st.integers(0, 100),
    mean=norms,
    std=norms,
    how=st.sampled_from(["bilinear", "bicubic"]),
    squash=st.booleans(),
    names=st.lists(st.text(min_size=1), min_size=2, max_size=2),
    settings=st.sampled_from([{}, {"padding": "same", "norm_eps": 1e-3}]),
)
def test_what_is_noted_is_found_again(tmp_path_factory, size, more, mean, std, how, squash, names, settings):
    seen = Preprocessing(size, size + more, mean, std, how, squash)
    arrays = {"stem.conv.weight": np.zeros(1, np.float32), "classifier.weight": np.zeros((2, 3), np.float32)}
    path = tmp_path_factory.mktemp("notes") / "w.safetensors"
    path.write_bytes(safetensors.numpy.save(arrays, weights.notes_of("mobilenet_v2", names, seen, settings)))
    found = weights.describe(path)
    assert found == weights.Description("mobilenet_v2", "native", 2, names, seen, settings)


def test_save_keeps_notes(tmp_path):
    net = nn.create_model("mobilenet_v2", 2, width=0.25, depth=0.1)
    seen = Preprocessing(96, 110)
    notes = weights.notes_of("mobilenet_v2", ["a", "b"], seen)
    weights.save(net, tmp_path / "w.safetensors", notes=notes)
    assert weights.describe(tmp_path / "w.safetensors").preprocessing == seen
    weights.save(net, tmp_path / "theirs.safetensors", "torchvision", notes)
    found = weights.describe(tmp_path / "theirs.safetensors", "mobilenet_v2")
    assert (found.dialect, found.num_classes, found.preprocessing.resize) == ("torchvision", 2, 232)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("class_names", "[" * 100_000),
        ("size", "9" * 9),
        ("resize", "10000"),
        ("mean", "[NaN, 0, 0]"),
        ("settings", '{"norm_eps": NaN}'),
        ("settings", '{"norm_eps": -0.5}'),
        ("settings", '{"width": 2.0}'),
    ],
)
def test_notes_that_make_no_sense_are_refused(tmp_path, key, value):
    notes = weights.notes_of("mobilenet_v2", ["a", "b"], Preprocessing(96, 110)) | {key: value}
    arrays = {"stem.conv.weight": np.zeros(1, np.float32), "classifier.weight": np.zeros((2, 3), np.float32)}
    (tmp_path / "w.safetensors").write_bytes(safetensors.numpy.save(arrays, notes))
    with pytest.raises(weights.WeightsError, match="what it notes beside its weights makes no sense"):
        weights.describe(tmp_path / "w.safetensors")


def test_a_classifier_that_is_one_number_has_no_classes(tmp_path):
    arrays = {"stem.conv.weight": np.zeros(1, np.float32), "classifier.weight": np.zeros((), np.float32)}
    (tmp_path / "w.safetensors").write_bytes(safetensors.numpy.save(arrays))
    assert weights.describe(tmp_path / "w.safetensors").num_classes == 0


def test_a_file_without_known_names_is_refused(tmp_path):
    weights.save(nn.Sequential(nn.Linear(2, 2)), tmp_path / "w.safetensors")
    with pytest.raises(weights.WeightsError, match=r"none of the names of an EfficientNet.* first are 0\.bias"):
        weights.describe(tmp_path / "w.safetensors")


def test_a_checksum_in_the_name_is_compared(tmp_path):
    content = b"weights"
    digest = hashlib.sha256(content).hexdigest()
    path = tmp_path / f"net-{digest[:8]}.pth"
    path.write_bytes(content)
    assert weights.verify(path) == weights.verify(path, digest.upper()) == digest
    path.write_bytes(content[:-1])
    with pytest.raises(weights.WeightsError, match=f"not all of it: its SHA-256 is .*begin with {digest[:8]}"):
        weights.verify(path)
    with pytest.raises(weights.WeightsError, match="no digits of a SHA-256"):
        weights.verify(tmp_path / "net.pth")
    with pytest.raises(weights.WeightsError, match="cannot be read"):
        weights.verify(tmp_path / "net-00000000.pth")


def test_a_public_name_on_another_file_is_refused_and_the_network_left_alone(tmp_path):
    net = nn.create_model("mobilenet_v2", 1000, width=0.25, depth=0.1)
    for name in ("mobilenet_v2-7ebf99e0.pth", "efficientnet_b0_rwightman-3dd342df.pth"):
        weights.save(net, tmp_path / name, "torchvision")
        with pytest.raises(weights.WeightsError, match="not the file that was published"):
            weights.load(net, tmp_path / name)
    weights.save(net, tmp_path / "own.pth", "torchvision")
    assert not weights.load(net, tmp_path / "own.pth").settings


def test_load_says_how_the_published_network_is_built(tmp_path):
    net = nn.EfficientNet("b0", 3, width=0.25, depth=0.3)
    weights.save(net, tmp_path / "w.pth", "lukemelas")
    words = (
        r"has padding='symmetric', norm_eps=1e-05, and will answer otherwise\. Build it with padding='same', norm_eps="
    )
    with pytest.warns(weights.WeightsWarning, match=words):
        loaded = weights.load(net, tmp_path / "w.pth")
    assert loaded.settings == {"padding": "same", "norm_eps": 1e-3}
    assert "has padding='same', norm_eps=0.001: build this one so" in str(loaded)
    same = nn.EfficientNet("b0", 3, width=0.25, depth=0.3, **loaded.settings)
    assert not weights.load(same, tmp_path / "w.pth").settings


def wanted(tmp_path, net, name, dialect, **settings) -> dict:
    """What `load` says of a file of this name, by settings that it misses."""
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    weights.save(net(**settings), path, dialect)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = weights.load(net(), path).settings
    assert [w.category for w in caught] == [weights.WeightsWarning] * bool(found)
    assert all(w.filename == __file__ for w in caught)  # the line of the user
    return found


def b0(**settings):
    return nn.EfficientNet("b0", 3, width=0.25, depth=0.3, **settings)


def v2(**settings):
    return nn.EfficientNetV2("b0", 3, width=0.25, depth=0.3, **settings)


def b0_as_in_tensorflow(**settings):
    return b0(padding="same", norm_eps=1e-3, **settings)


@pytest.mark.parametrize(
    ("net", "name", "dialect", "missed"),
    [
        (b0, "w.pth", "timm", {}),  # nothing tells
        (b0, "tf_efficientnet_b0.pth", "timm", {"padding": "same", "norm_eps": 1e-3}),
        (b0, "models--timm--tf_efficientnet_b0.aa/w.pth", "timm", {"padding": "same", "norm_eps": 1e-3}),
        (b0, "ctf_efficientnet_b0.pth", "timm", {}),
        (v2, "w.pth", "timm", {"padding": "same"}),
        (v2, "w.pth", "torchvision", {}),
        (b0_as_in_tensorflow, "w.pth", "torchvision", {"padding": "symmetric", "norm_eps": 1e-5}),
        (b0_as_in_tensorflow, "w.pth", "lukemelas", {}),
        (b0_as_in_tensorflow, "w.pth", "native", {}),
        (b0, "w.safetensors", "lukemelas", {}),  # noted in the file
    ],
)
def test_load_warns_of_another_padding_or_epsilon(tmp_path, net, name, dialect, missed):
    assert wanted(tmp_path, net, name, dialect) == missed


@pytest.mark.parametrize("dialect", weights.DIALECTS)
def test_save_notes_how_the_network_was_built(tmp_path, dialect):
    found = wanted(tmp_path, b0, "w.safetensors", dialect, norm_eps=0.25, padding="same")
    assert found == {"norm_eps": 0.25, "padding": "same"} == weights.describe(tmp_path / "w.safetensors").settings
    notes = {"settings": "[" * 100_000 if dialect == "timm" else '{"padding": "full"}'}
    weights.save(b0(), tmp_path / "odd.safetensors", dialect, notes)
    with warnings.catch_warnings():
        warnings.simplefilter("error" if dialect != "lukemelas" else "ignore")
        weights.load(b0(), tmp_path / "odd.safetensors")
