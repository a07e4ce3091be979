"""The stand-in for Stanford Cars holds what it says: read by the package, and by SciPy alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io

from tinygrad_effnet.data import open_data, write_stanford_cars
from tinygrad_effnet.data.synthetic import render as drawing
from tinygrad_effnet.data.synthetic.fleet import car_models
from tinygrad_effnet.data.synthetic.photograph import Light

MODELS, COUNTS, SIZE, SEED = 12, (2, 1), 64, 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made") / "cars"
    write_stanford_cars(root, MODELS, COUNTS, SIZE, SEED)
    return root


def drawn(split: int, index: int) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    rng = np.random.default_rng(np.random.SeedSequence(SEED, spawn_key=(split, index)))
    return drawing.render(car_models(MODELS)[index % MODELS], SIZE, rng, (0.55, 0.95))


def test_pictures_names_and_boxes_are_read_as_they_were_drawn(folder: Path):
    whole, cut = open_data(folder), open_data(folder, crop_boxes=True)
    assert "Stanford Cars (cars_train, cars_test and devkit)" in whole.description
    for split, part, boxed in ((0, whole.train, cut.train), (1, whole.val, cut.val)):
        assert len(part) == MODELS * COUNTS[split]
        for index in range(len(part)):
            picture, (left, top, right, bottom) = drawn(split, index)
            found, label = part[index]
            assert whole.class_names[label] == car_models(MODELS)[index % MODELS].name
            error = np.abs(found.astype(int) - picture)
            assert error.mean() < 12  # what JPEG loses of the noise
            np.testing.assert_array_equal(boxed[index][0], found[top:bottom, left:right])


def test_annotations_are_as_matlab_kept_them(folder: Path):
    names = scipy.io.loadmat(folder / "devkit" / "cars_meta.mat", squeeze_me=True)["class_names"]
    assert names.tolist() == [model.name for model in car_models(MODELS)]
    for split, name in enumerate(("devkit/cars_train_annos", "cars_test_annos_withlabels")):
        records = scipy.io.loadmat(folder / f"{name}.mat", squeeze_me=True)["annotations"]
        assert records.dtype.names == ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")
        for index, (x1, y1, x2, y2, label, file) in enumerate(records.tolist()):
            left, top, right, bottom = drawn(split, index)[1]
            # counted from 1, the last pixel inside
            assert (int(x1), int(y1), int(x2), int(y2)) == (left + 1, top + 1, right, bottom)
            assert 1 <= x1 < x2 <= SIZE
            assert int(label) == index % MODELS + 1
            assert file == f"{index + 1:05d}.jpg"
    unlabelled = scipy.io.loadmat(folder / "devkit" / "cars_test_annos.mat", squeeze_me=True)["annotations"]
    assert unlabelled.dtype.names == ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "fname")


@pytest.mark.parametrize("number", [0, 4, 8, 9, 19, 26, 98])
def test_boxes_lie_close_around_the_car(number: int, monkeypatch: pytest.MonkeyPatch):
    """What changes in a picture when the car is left away lies in the box, and reaches its edges."""
    model, size = car_models(number + 1)[number], 96
    for name in ("draw_shadow", "draw_obstacle"):
        monkeypatch.setattr(drawing, name, lambda *rest: None)
    calm = Light((1.0, 1.0, 1.0), 1.0, 0.0, 0.0, 1.0, 0.0, night=False, lamps_on=False)
    monkeypatch.setattr(drawing, "choose_light", lambda rng: calm)
    for seed in range(4):
        with_car, (left, top, right, bottom) = drawing.render(model, size, np.random.default_rng(seed), (0.5, 0.8))
        with monkeypatch.context() as patch:
            patch.setattr(drawing, "draw_car", lambda car: None)
            without, _ = drawing.render(model, size, np.random.default_rng(seed), (0.5, 0.8))
        changed = np.abs(with_car.astype(int) - without).max(axis=2) > 12
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        seen = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        # Mirrors, lamps and rails stand out a little; paint may look like what is behind it.
        np.testing.assert_allclose(seen, (left, top, right, bottom), atol=4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"models": 0}, "models: got 0"),
        ({"images_per_class": (3, 0)}, r"images_per_class: got \(3, 0\)"),
        ({"size": 8}, "size: got 8"),
        ({"seed": -1}, "seed: got -1"),
    ],
)
def test_bad_arguments_are_named_and_nothing_is_written(arguments, message, tmp_path: Path):
    with pytest.raises(ValueError, match=message):
        write_stanford_cars(tmp_path / "cars", **arguments)
    assert not (tmp_path / "cars").exists()


def test_a_folder_in_use_is_left_alone(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="is not empty"):
        write_stanford_cars(tmp_path, 1, (1, 1), 16)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
