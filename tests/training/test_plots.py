from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinygrad_effnet.training import plots
from tinygrad_effnet.training.history import EpochRecord, History
from tinygrad_effnet.training.metrics import ConfusionMatrix
from tinygrad_effnet.training.plots import plot_confusion_matrix, plot_curves

BLUE, VERMILION = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)
PICTURES = ["train_loss.png", "val_loss.png", "train_f1.png", "val_f1.png", "curves.png"]


def run(folder: Path, epochs: int, **changes: float) -> History:
    history = History(folder / "history.csv")
    for epoch in range(1, epochs + 1):
        values = {
            "train_loss": 2.0 / epoch,
            "val_loss": 2.2 / epoch,
            "train_f1": 1 - 0.8 / epoch,
            "val_f1": 1 - 0.9 / epoch,
            "train_accuracy": 0.5,
            "val_accuracy": 0.5,
            "learning_rate": 1e-3,
            "seconds": 1.0,
            "images_per_second": 30.0,
        }
        history.append(EpochRecord(epoch=epoch, **(values | changes)))
    return history


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        image.load()
        return np.asarray(image.convert("RGB")).astype(int)


def share_of(colour: tuple[int, int, int], picture: np.ndarray) -> float:
    return float((np.abs(picture - colour).sum(axis=-1) < 30).mean())


def confusion(classes: int, samples: int = 400, seed: int = 0) -> ConfusionMatrix:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, classes, samples)
    predictions = np.where(rng.random(samples) < 0.7, targets, rng.integers(0, classes, samples))
    counts = ConfusionMatrix(classes)
    counts.update(targets, predictions)
    return counts


def test_five_pictures_each_with_its_own_curves(tmp_path: Path) -> None:
    written = plot_curves(run(tmp_path, 6), tmp_path, title="a model on 5 $ cars $")
    assert written == [tmp_path / name for name in PICTURES]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([*PICTURES, "history.csv"])
    for name in PICTURES:
        picture = pixels(tmp_path / name)
        assert picture.shape[:2] == ((675, 1650) if name == "curves.png" else (600, 900))
        assert (share_of(BLUE, picture) > 1e-3) == (not name.startswith("val"))
        assert (share_of(VERMILION, picture) > 1e-3) == (not name.startswith("train"))


def test_higher_losses_are_drawn_higher(tmp_path: Path) -> None:
    plot_curves(run(tmp_path, 8), tmp_path)
    columns = np.abs(pixels(tmp_path / "train_loss.png") - BLUE).sum(axis=-1) < 30
    rows_by_column = [np.flatnonzero(column).mean() for column in columns.T if column.any()]
    assert rows_by_column[5] < rows_by_column[len(rows_by_column) // 2] < rows_by_column[-5]


@pytest.mark.parametrize("epochs", [1, 2])
def test_one_epoch_shows_as_a_point(tmp_path: Path, epochs: int) -> None:
    plot_curves(run(tmp_path, epochs), tmp_path)
    for name in PICTURES:
        picture = pixels(tmp_path / name)
        assert share_of(BLUE, picture) + share_of(VERMILION, picture) > 1e-5


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0])
def test_values_that_cannot_be_drawn_do_no_harm(tmp_path: Path, value: float) -> None:
    f1 = value if value == 0 else math.nan
    plot_curves(run(tmp_path, 3, train_loss=value, val_loss=value, val_f1=f1), tmp_path)
    assert (share_of(VERMILION, pixels(tmp_path / "val_loss.png")) > 1e-3) == (value == 0)


def test_the_same_run_gives_the_same_files(tmp_path: Path) -> None:
    history = run(tmp_path, 3)
    first = [path.read_bytes() for path in plot_curves(history, tmp_path)]
    assert [path.read_bytes() for path in plot_curves(history, tmp_path)] == first


def test_no_epoch_no_curve(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"history: .*no epoch"):
        plot_curves(History(tmp_path / "history.csv"), tmp_path)


def test_a_missing_folder_is_an_error_and_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        plot_curves(run(tmp_path, 1), tmp_path / "missing")
    assert not (tmp_path / "missing").exists()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("classes", [1, 2, 6, 21, 260])
def test_confusion_matrix_of_few_and_many_classes(tmp_path: Path, classes: int) -> None:
    names = [f"Make & Model $ {index} Coupé" for index in range(classes)]
    path = plot_confusion_matrix(confusion(classes), tmp_path / "confusion.png", names)
    picture = pixels(path)
    assert min(picture.shape[:2]) > 400
    dark = (picture.sum(axis=-1) < 380) & (picture[..., 2] > picture[..., 0] + 60)
    assert dark.any(), "the diagonal is dark blue"
    assert [entry.name for entry in tmp_path.iterdir()] == ["confusion.png"]


def test_rows_are_true_classes_and_absent_ones_are_grey(tmp_path: Path) -> None:
    counts = ConfusionMatrix(3)
    counts.update([0, 0, 2], [2, 2, 2])
    picture = pixels(plot_confusion_matrix(counts, tmp_path / "confusion.png"))
    grey = (np.abs(picture - 0xE6) <= 1).all(axis=-1)
    rows = np.flatnonzero(grey.mean(axis=1) > 0.4)
    columns = np.flatnonzero(grey[rows].mean(axis=0) > 0.4)
    assert rows.size and columns.size
    height, left, width = np.ptp(rows) + 1, columns[0], np.ptp(columns) + 1
    row_above = picture[rows[0] - height // 4, left : left + width]
    thirds = [float(np.median(part.sum(axis=-1))) for part in np.array_split(row_above, 3)]
    assert thirds[2] < 400 < thirds[0], "class 0 was predicted as class 2: dark on the right of the first row"


def test_names_and_counts_must_fit(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"class_names: expected 3 names, one a class, got 2"):
        plot_confusion_matrix(confusion(3), tmp_path / "c.png", ["a", "b"])
    with pytest.raises(ValueError, match="no samples"):
        plot_confusion_matrix(ConfusionMatrix(3), tmp_path / "c.png")
    assert not list(tmp_path.iterdir())


def test_pyplot_and_its_global_state_stay_out() -> None:
    root = Path(plots.__file__).parents[2]
    code = "import sys, tinygrad_effnet.training.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


@pytest.mark.parametrize(
    ("losses", "top"),
    [([13.7, 1.8, 1.5, 1.2], 1.8 * 1.25), ([4.0, 1.8, 1.5, 1.2], 4.0 * 1.06), ([9.0, 0.5], 9.0 * 1.06)],
)
def test_a_single_spike_does_not_flatten_the_curve(losses: list[float], top: float) -> None:
    axes = plots._figure(6, 4).add_subplot()
    plots._draw_panel(axes, list(range(1, len(losses) + 1)), {"": (losses, "#000000")}, "Loss", "loss (nats)", None)
    assert axes.get_ylim() == pytest.approx((0, top))
    noted = any("off the scale: 13.7" in text.get_text() for text in axes.texts)
    assert noted == (losses[0] == 13.7)
