from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinygrad_effnet import nn, ops
from tinygrad_effnet.data import Preprocessing
from tinygrad_effnet.training import Answer, Classifier, explain, look_at, photographs_in

SEEN = Preprocessing(32, 40, (0.4, 0.5, 0.6), (0.2, 0.2, 0.2), "bicubic")


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    ops.manual_seed(0)
    model = nn.EfficientNet("b0", 3, width=0.25, depth=0.3).eval()
    return Classifier("efficientnet_b0", model, ["a", "b", "c"], SEEN)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = []
    for i in range(5):
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(rng.integers(0, 256, (45 + i, 60, 3), dtype=np.uint8)).save(paths[-1])
    paths[2].write_bytes(paths[2].read_bytes()[:-200])
    return paths


@pytest.mark.parametrize("batch_size", [1, 2, 5, 9])
def test_the_size_of_batches_changes_no_answer(classifier: Classifier, files: list[Path], batch_size: int):
    answers = list(look_at(classifier, files, batch_size))
    assert [answer.path for answer in answers] == files
    assert [bool(answer.error) for answer in answers] == [False, False, True, False, False]
    assert "2.png" in answers[2].error
    assert answers[2].best(3) == []
    for answer in answers[:2] + answers[3:]:
        picture = np.asarray(Image.open(answer.path))
        image = SEEN.transform()(picture, np.random.default_rng(0))
        np.testing.assert_array_equal(answer.image, image)  # too small a picture to be reduced on the way
        np.testing.assert_allclose(answer.probabilities, classifier.probabilities(image[None])[0], rtol=1e-4)
        assert answer.best(9) == np.argsort(-answer.probabilities).tolist()


def test_batches_of_nothing(classifier: Classifier, files: list[Path]):
    assert list(look_at(classifier, [])) == []
    with pytest.raises(ValueError, match="batch_size: got 0"):
        list(look_at(classifier, files, 0))


def test_folders_are_searched_and_explanations_passed_over(tmp_path: Path, files: list[Path]):
    for folder in ("b", "a", ".hidden"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.png").write_bytes(files[0].read_bytes())
    (tmp_path / "a" / "x.png.explained.png").write_bytes(files[0].read_bytes())
    (tmp_path / "notes.txt").write_text("no picture")
    missing = tmp_path / "missing.jpg"
    found = photographs_in([tmp_path, missing])
    assert found == [*files, tmp_path / "a" / "x.png", tmp_path / "b" / "x.png", missing]


def test_an_explanation_is_of_what_the_network_saw(classifier: Classifier, files: list[Path], tmp_path: Path):
    good, bad = list(look_at(classifier, [files[0], files[2]]))
    path = explain(classifier, good, tmp_path / "drawn.png")
    assert Image.open(path).size[0] > 3 * Image.open(path).size[1]
    with pytest.raises(ValueError, match="could not be read"):
        explain(classifier, bad, tmp_path / "bad.png")
    with pytest.raises(ValueError, match="there is no 'tail'"):
        explain(classifier, good, tmp_path / "bad.png", layer="tail")
    assert not (tmp_path / "bad.png").exists()
    assert isinstance(good, Answer)
