"""Whole runs, small: every file that is promised, stopping and going on, errors as a user sees them."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinygrad_effnet import training
from tinygrad_effnet.data import SyntheticCars
from tinygrad_effnet.training import ConfigError, TrainConfig, load_checkpoint, load_weights

SCRIPT = Path(__file__).parents[2] / "examples" / "train_cars.py"
TINY = {"size": 32, "batch_size": 8, "epochs": 2, "limit_batches": 2, "workers": 0}
FLAGS = ["--size", "32", "--batch-size", "8", "--workers", "0"]
FILES = {
    "config.json",
    "history.csv",
    "train_loss.png",
    "val_loss.png",
    "train_f1.png",
    "val_f1.png",
    "curves.png",
    "accuracy.png",
    "confusion_matrix.png",
    "history.jsonl",
    "per_class.csv",
    "predictions.csv",
    "report.html",
    "best.safetensors",
    "last.safetensors",
    "checkpoint.safetensors",
}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A folder of class folders: six JPEGs of each of three models."""
    root = tmp_path_factory.mktemp("photographs")
    cars = SyntheticCars("train", images_per_class=6, size=40)
    for i in range(len(cars)):
        picture, label = cars[i]
        if label < 3:
            folder = root / cars.class_names[label]
            folder.mkdir(exist_ok=True)
            Image.fromarray(picture).save(folder / f"{i}.jpg", quality=95)
    return root


def command(*flags, **options):
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, flags)], capture_output=True, text=True, timeout=300, **options
    )


def test_a_run_leaves_everything_it_promises(photographs, tmp_path):
    config = TrainConfig(data=str(photographs), **{**TINY, "ema": 0.5})
    result = training.train(config, tmp_path, "first")
    assert result.finished
    assert result.folder == tmp_path / "first"
    assert FILES <= {p.name for p in result.folder.iterdir()}
    assert not [p for p in result.folder.iterdir() if p.name.endswith(".tmp")]
    with open(result.folder / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert set(rows[0]) == {
        *("epoch", "train_loss", "val_loss", "train_f1", "val_f1", "train_accuracy", "val_accuracy"),
        *("learning_rate", "seconds", "images_per_second"),
    }
    for name in FILES:
        if name.endswith(".png"):
            with Image.open(result.folder / name) as picture:
                picture.load()
                assert min(picture.size) > 200
    arrays, metadata = load_weights(result.folder / "best.safetensors")
    assert arrays["stem.conv.weight"].shape == (32, 3, 3, 3)
    assert json.loads(metadata["class_names"]) == sorted(p.name for p in photographs.iterdir())
    assert metadata["model"] == "efficientnet_b0"
    assert float(metadata["val_f1"]) == result.history.best().val_f1
    assert TrainConfig.load(result.folder / "config.json") == config


def test_a_run_is_repeated_exactly_by_its_seed(photographs, tmp_path):
    config = TrainConfig(data=str(photographs), **{**TINY, "epochs": 1})
    weights = []
    for name, settings in (("a", {}), ("b", {"workers": 2}), ("c", {"seed": 1})):
        training.train(config.changed(**settings), tmp_path, name)
        weights.append(load_weights(tmp_path / name / "last.safetensors")[0])
    for key, value in weights[0].items():
        np.testing.assert_array_equal(value, weights[1][key], err_msg=key)
    assert (weights[0]["stem.conv.weight"] != weights[2]["stem.conv.weight"]).any()


def test_runs_are_never_written_over(photographs, tmp_path):
    config = TrainConfig(data=str(photographs), **{**TINY, "epochs": 1, "limit_batches": 1})
    assert training.train(config, tmp_path).folder.name == "efficientnet_b0-1"
    assert training.train(config, tmp_path).folder.name == "efficientnet_b0-2"
    with pytest.raises(FileExistsError, match="--resume"):
        training.train(config, tmp_path, "efficientnet_b0-1")


def test_stopped_by_time_and_resumed_equals_a_straight_run(photographs, tmp_path):
    config = TrainConfig(data=str(photographs), **{**TINY, "limit_batches": None, "batch_size": 4})
    training.train(config, tmp_path, "straight")
    stopped = training.train(config.changed(minutes=1e-9), tmp_path, "stopped")
    assert not stopped.finished
    _, state = load_checkpoint(tmp_path / "stopped" / "checkpoint.safetensors")
    assert (state["trainer"]["epoch"], state["trainer"]["batch"]) == (0, 1)
    again = training.resume(tmp_path / "stopped", minutes=1e-9)  # stops after one batch more
    assert not again.finished
    finished = training.resume(tmp_path / "stopped")
    assert finished.finished
    straight, resumed = (load_weights(tmp_path / name / "last.safetensors")[0] for name in ("straight", "stopped"))
    for key, value in straight.items():
        np.testing.assert_array_equal(value, resumed[key], err_msg=key)
    a, b = (training.History.load(tmp_path / name / "history.csv") for name in ("straight", "stopped"))
    for column in ("train_f1", "val_loss", "val_f1", "learning_rate"):
        assert a.column(column) == b.column(column)
    np.testing.assert_allclose(a.column("train_loss"), b.column("train_loss"), rtol=1e-12)


def test_resuming_may_not_change_the_run(photographs, tmp_path):
    training.train(TrainConfig(data=str(photographs), **{**TINY, "epochs": 1}), tmp_path, "run")
    with pytest.raises(ConfigError, match="lr cannot change within a run"):
        training.resume(tmp_path / "run", lr=1.0)
    longer = training.resume(tmp_path / "run", epochs=2)
    assert len(longer.history) == 2
    with pytest.raises(ConfigError, match="give the folder of a run"):
        training.resume(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="sends a signal as a terminal's Ctrl-C does")
def test_ctrl_c_saves_and_says_how_to_go_on(photographs, tmp_path):
    flags = ["--data", photographs, "--out", tmp_path, "--name", "run", "--epochs", "2000", *FLAGS]
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), *map(str, flags)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    history = tmp_path / "run" / "history.csv"
    deadline = time.monotonic() + 240
    while not history.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "everything is saved. To go on: python -m tinygrad_effnet train --resume" in out
    epochs = len(training.History.load(history))
    done = command("--resume", tmp_path / "run", "--epochs", epochs + 1)
    assert done.returncode == 0, done.stderr
    assert len(training.History.load(history)) == epochs + 1


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--data", "no/such/folder"], "no/such/folder"),
        (["--model", "resnet18"], "model: got 'resnet18', expected one of efficientnet_b0"),
        (["--backend", "tpu"], "backend: got 'tpu', expected one of loops, numpy, numba, cupy"),
        (["--resume", "no/such/run"], "give the folder of a run"),
        (["--name", "a/b"], "name: expected a plain file name"),
    ],
)
def test_mistakes_get_one_line_and_an_exit_code(tmp_path, flags, words):
    done = command("--out", tmp_path / "runs", *flags)
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stderr.startswith("train_cars: ")
    assert "Traceback" not in done.stderr


def test_unusable_data_are_named(tmp_path, photographs):
    root = tmp_path / "data"
    for name in ("bus", "van"):
        (root / name).mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (40, 40), (i, 0, 0)).save(root / name / f"{i}.png")
    (root / "tram").mkdir()
    done = command("--data", root, "--out", tmp_path / "runs", *FLAGS)
    assert done.returncode == 1
    assert "tram" in done.stderr
    (root / "tram").rmdir()
    (root / "van" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    done = command("--data", root, "--out", tmp_path / "runs", "--epochs", "1", *FLAGS)
    assert done.returncode == 0, done.stderr
    assert "broken.jpg" in done.stderr + done.stdout


def test_a_diverging_run_stops_with_an_error(photographs, tmp_path):
    done = command("--data", photographs, "--out", tmp_path, "--lr", "1e30", "--epochs", "5", *FLAGS)
    assert done.returncode == 1
    assert "Try a lower --lr" in done.stderr
    named = re.search(r"(batch_norm|norm_\w+|conv2d), at |weights infinite or NaN \(", done.stderr)
    assert named, done.stderr  # says what went wrong, and where


def test_help_names_every_flag():
    text = command("--help").stdout
    for flag in (
        *("--data", "--model", "--size", "--epochs", "--batch-size", "--lr", "--optimizer", "--seed", "--backend"),
        *("--workers", "--out", "--resume", "--limit-batches", "--minutes"),
    ):
        assert flag in text
