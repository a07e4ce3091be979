from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tinygrad_effnet import nn, ops, tape
from tinygrad_effnet.data import SyntheticCars
from tinygrad_effnet.tensor import from_numpy
from tinygrad_effnet.training import Classifier, TrainConfig, predict_all, save_weights
from tinygrad_effnet.training.build import make_model
from tinygrad_effnet.weights import WeightsError, save

NOTES = {
    "model": "efficientnet_b0",
    "class_names": json.dumps([str(i) for i in range(10)]),
    "size": "32",
    "mean": "[0.5, 0.5, 0.5]",
    "std": "[0.25, 0.25, 0.25]",
}


@pytest.fixture(scope="module")
def weights():
    return {name: t.numpy().copy() for name, t in make_model(TrainConfig(), 10).state_dict().items()}


def test_a_folder_or_its_file_gives_the_same_answers_for_a_whole_set(tmp_path: Path, weights):
    save_weights(tmp_path / "best.safetensors", weights, NOTES)
    classifier = Classifier.load(tmp_path)
    assert (classifier.size, classifier.preprocessing.mean, len(classifier.class_names)) == (32, (0.5, 0.5, 0.5), 10)
    cars = SyntheticCars("val", 1, 32)
    found = predict_all(Classifier.load(tmp_path / "best.safetensors"), cars, 4)
    assert found.labels.tolist() == list(range(10))
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)
    pictures = np.stack([cars[i][0] for i in range(10)]).transpose(0, 3, 1, 2)
    with tape.no_grad():
        logits = classifier.model(from_numpy(((pictures / 255 - 0.5) / 0.25).astype(np.float32)))
        np.testing.assert_allclose(found.probabilities, ops.softmax(logits, 1).numpy(), rtol=1e-3)
    assert len(predict_all(classifier, cars, 4, limit=2).labels) == 8


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "efficientnet_b9"}, "b9"),
        ({"model": "efficientnet_b1"}, "does not fit"),
        ({"size": "big"}, "big"),
        ({"class_names": '["a"]'}, "1 class names for 10 outputs"),
        ({"size": "0"}, "expected 1 <= size"),
        ({"interpolation": "magic"}, "magic"),
        ({"settings": '{"padding": "big"}'}, "settings"),
        ({"mean": "[1"}, "beside its weights makes no sense"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path: Path, weights, changes, words: str):
    notes = {key: value for key, value in (NOTES | changes).items() if value is not None}
    save_weights(tmp_path / "best.safetensors", weights, notes)
    with pytest.raises(WeightsError, match=words):
        Classifier.load(tmp_path)


def test_a_mirror_image_counts_as_much_as_the_image(tmp_path: Path, weights):
    telling = weights | {"classifier.weight": 1e4 * weights["classifier.weight"]}  # an untrained one says nothing
    save_weights(tmp_path / "best.safetensors", telling, NOTES | {"mirror": "true"})
    both, one = Classifier.load(tmp_path), Classifier.load(tmp_path).mirrored(False)
    assert (both.preprocessing.mirror, one.preprocessing.mirror) == (True, False)
    assert both.mirrored(None) is both
    assert both.notes()["mirror"] == "true"
    x = np.random.default_rng(0).standard_normal((3, 3, 32, 32)).astype(np.float32)
    shares = [one.probabilities(view) for view in (x, x[..., ::-1].copy())]
    assert not np.allclose(*shares, rtol=1e-2)
    expected = np.sqrt(shares[0] * shares[1])  # the mean of logits is that of logarithms
    np.testing.assert_allclose(both.probabilities(x), expected / expected.sum(axis=1, keepdims=True), rtol=1e-4)


def test_no_file(tmp_path: Path):
    with pytest.raises(WeightsError, match="No such file"):
        Classifier.load(tmp_path)


def test_weights_of_others_are_used_as_they_want_it(tmp_path: Path):
    network = nn.create_model("efficientnet_b0", 3, padding="same", norm_eps=1e-3).eval()
    save(network, tmp_path / "theirs.pth", "lukemelas")
    with pytest.raises(WeightsError, match="name it with --model"):
        Classifier.load(tmp_path / "theirs.pth")
    with pytest.raises(WeightsError, match="2 class names for 3 outputs"):
        Classifier.load(tmp_path / "theirs.pth", "efficientnet_b0", ["a", "b"])
    with pytest.raises(WeightsError, match="does not fit EfficientNet"):
        Classifier.load(tmp_path / "theirs.pth", "efficientnet_b1")
    classifier = Classifier.load(tmp_path / "theirs.pth", "efficientnet_b0")
    assert classifier.class_names == ["class 0", "class 1", "class 2"]
    assert (classifier.preprocessing.interpolation, classifier.size) == ("bicubic", 224)
    x = np.random.default_rng(0).standard_normal((2, 3, 33, 33)).astype(np.float32)  # odd: paddings differ
    with tape.no_grad():
        expected = ops.softmax(network(from_numpy(x)), 1).numpy()
    np.testing.assert_allclose(classifier.probabilities(x), expected, rtol=1e-4)
