from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tinygrad_effnet import ops, tape
from tinygrad_effnet.data import SyntheticCars
from tinygrad_effnet.tensor import from_numpy
from tinygrad_effnet.training import CheckpointError, Classifier, TrainConfig, predict_all, save_weights
from tinygrad_effnet.training.build import make_model

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
    assert (classifier.size, classifier.mean, len(classifier.class_names)) == (32, (0.5, 0.5, 0.5), 10)
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
        ({"class_names": None}, "class_names"),
        ({"mean": "[1"}, "lacks what a run notes"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path: Path, weights, changes, words: str):
    notes = {key: value for key, value in (NOTES | changes).items() if value is not None}
    save_weights(tmp_path / "best.safetensors", weights, notes)
    with pytest.raises(CheckpointError, match=words):
        Classifier.load(tmp_path)


def test_no_file(tmp_path: Path):
    with pytest.raises(CheckpointError, match="does not exist"):
        Classifier.load(tmp_path)
