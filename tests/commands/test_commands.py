from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from dataclasses import fields
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from tinygrad_effnet import commands
from tinygrad_effnet.commands import doctor, train
from tinygrad_effnet.commands.flags import HELP
from tinygrad_effnet.commands.train import parser
from tinygrad_effnet.training import Classifier, TrainConfig, load_weights
from tinygrad_effnet.training.checks import overfit_one_batch


def test_as_a_module_it_lists_its_commands():
    command = [sys.executable, "-m", "tinygrad_effnet", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert all(re.search(rf"^  {name} +\w", done.stdout, re.MULTILINE) for name in commands.COMMANDS)


@pytest.mark.parametrize("name", list(commands.COMMANDS))
def test_every_command_explains_itself(name: str, capsys):
    with pytest.raises(SystemExit) as caught:
        commands.main([name, "--help"])
    assert caught.value.code == 0
    assert "usage:" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["trian"]])
def test_no_command_and_a_wrong_one(arguments: list[str], capsys):
    assert commands.main(arguments) == 2
    captured = capsys.readouterr()
    assert "train" in captured.out + captured.err
    assert not arguments or "there is no command 'trian'" in captured.err


def test_every_setting_has_a_flag_with_help():
    assert set(HELP) == {field.name for field in fields(TrainConfig)}
    text = parser().format_help()
    for field in fields(TrainConfig):
        assert f"--{field.name.replace('_', '-')}" in text
    given = vars(parser().parse_args(["--crop-boxes", "--no-strict", "--lr", "0.5", "--model", "b1"]))
    assert (given["crop_boxes"], given["strict"], given["lr"]) == (True, False, 0.5)
    assert "epochs" not in given


def test_a_file_of_settings_and_what_a_run_writes_repeat_it(finished: Path, capsys):
    config = TrainConfig.load(finished / "config.json")
    assert (config.size, config.batch_size, config.epochs) == (32, 4, 1)  # a flag counts for more than the file
    flags = ["--config", str(finished / "config.json"), "--out", str(finished.parent), "--name", "again"]
    assert commands.main(["train", *flags]) == 0
    first, again = (load_weights(finished.parent / name / "last.safetensors")[0] for name in ("run", "again"))
    for key, value in first.items():
        np.testing.assert_array_equal(value, again[key], err_msg=key)


@pytest.mark.parametrize(
    ("text", "words"),
    [("size = [", "not readable as TOML"), ("colour = 1", "holds colour"), ('size = "big"', "not of the right type")],
)
def test_files_of_settings_with_faults(tmp_path: Path, text: str, words: str, capsys):
    path = tmp_path / "settings.toml"
    path.write_text(text)
    assert commands.main(["train", "--config", str(path)]) == 1
    assert words in capsys.readouterr().err


def test_checks_instead_of_a_run(photographs: Path, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setattr(train.checks, "overfit_one_batch", partial(overfit_one_batch, steps=3))
    flags = ["--data", str(photographs), "--size", "32", "--batch-size", "4", "--out", str(tmp_path)]
    assert commands.main(["train", *flags, "--overfit-one-batch", "--lr", "1e-9"]) == 1
    assert "Not learnt by heart" in capsys.readouterr().out
    assert commands.main(["train", *flags, "--lr-find", "10"]) == 0
    assert (tmp_path / "efficientnet_b0-lr-find-1" / "lr_find.png").exists()


def test_evaluate_gives_what_the_run_measured(finished: Path, capsys):
    assert commands.main(["evaluate", str(finished)]) == 0
    with open(finished / "history.csv", newline="") as file:
        best = max(csv.DictReader(file), key=lambda row: float(row["val_f1"]))
    out = capsys.readouterr().out
    found = re.search(r"macro F1 ([\d.]+), accuracy ([\d.]+), loss ([\d.]+)", out)
    assert found is not None
    for text, column in zip(found.groups(), ("val_f1", "val_accuracy", "val_loss"), strict=True):
        assert float(text) == pytest.approx(float(best[column]), abs=2e-4)
    assert (finished / "evaluation" / "report.html").exists()


def test_a_mirrored_run_is_evaluated_and_used_as_it_was_measured(photographs: Path, tmp_path: Path, capsys):
    flags = ["--data", str(photographs), "--size", "64", "--batch-size", "8", "--epochs", "3", "--norm-momentum", "0.5"]
    assert commands.main(["train", *flags, "--out", str(tmp_path), "--name", "run", "--mirror"]) == 0
    epochs = csv.DictReader((tmp_path / "run" / "history.csv").read_text().splitlines())
    best = max(epochs, key=lambda row: float(row["val_f1"]))
    losses = {}
    for flag in ("", "--mirror", "--no-mirror"):
        capsys.readouterr()
        assert commands.main(["evaluate", str(tmp_path / "run"), *flag.split()]) == 0
        losses[flag] = float(re.search(r"loss (\S+)", capsys.readouterr().out)[1])
    assert losses[""] == losses["--mirror"] == pytest.approx(float(best["val_loss"]), rel=1e-3)
    assert losses["--no-mirror"] != losses[""]


def test_evaluate_matches_classes_by_name(finished: Path, photographs: Path, tmp_path: Path, capsys):
    names = sorted(path.name for path in photographs.iterdir())
    for name in names[1:]:  # the first is missing, so that numbers would be one too low
        (tmp_path / "data" / name).mkdir(parents=True)
        for path in (photographs / name).iterdir():
            (tmp_path / "data" / name / path.name).write_bytes(path.read_bytes())
    flags = ["--data", str(tmp_path / "data"), "--part", "all", "--out", str(tmp_path / "found")]
    assert commands.main(["evaluate", str(finished), *flags]) == 0
    with open(tmp_path / "found" / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    assert all(Path(row["picture"]).parent.name == row["class"] for row in rows)
    (tmp_path / "data" / names[1]).rename(tmp_path / "data" / "tram")
    assert commands.main(["evaluate", str(finished), *flags]) == 1
    assert "it has the class 'tram', which the run did not learn" in capsys.readouterr().err


def test_export_gives_the_weights_and_what_belongs_to_them(finished: Path, tmp_path: Path, capsys):
    assert commands.main(["export", str(finished), str(tmp_path / "cars.safetensors")]) == 0
    first, copy = Classifier.load(finished), Classifier.load(tmp_path / "cars.safetensors")
    assert (copy.class_names, copy.preprocessing) == (first.class_names, first.preprocessing)
    for name, t in first.model.state_dict().items():
        np.testing.assert_array_equal(copy.model.state_dict()[name].numpy(), t.numpy())
    assert commands.main(["export", str(finished), str(tmp_path / "tv.safetensors"), "--names", "torchvision"]) == 0
    assert "features.0.0.weight" in load_weights(tmp_path / "tv.safetensors")[0]
    assert commands.main(["export", str(finished), str(tmp_path / "no" / "cars.safetensors")]) == 1


def test_an_exported_network_and_what_it_notes_are_all_that_another_program_needs(
    finished: Path, photographs: Path, tmp_path: Path, capsys
):
    file = tmp_path / "cars.onnx"
    assert commands.main(["export", str(finished), str(file), "--format", "onnx"]) == 0
    assert "cars.onnx: efficientnet_b0, 3 classes, images of 32 pixels" in capsys.readouterr().out
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    found = session.get_modelmeta().custom_metadata_map
    notes, classes = json.loads(found["preprocessing"]), json.loads(found["classes"])
    pictures = sorted(photographs.glob("*/*.png"))
    assert (notes["resize"], notes["interpolation"], notes["squash"]) == (notes["size"], "bilinear", False)
    images = []
    for path in pictures:
        with Image.open(path) as picture:  # they are square already
            pixels = np.asarray(picture.convert("RGB").resize((notes["size"],) * 2, Image.Resampling.BILINEAR))
        images.append(((pixels / 255 - notes["mean"]) / notes["std"]).transpose(2, 0, 1))
    (logits,) = session.run(None, {"input": np.array(images, np.float32)})
    predicted = [classes[i] for i in logits.argmax(axis=1)]
    flags = ["--weights", str(finished), "--top", "1", "--csv", str(tmp_path / "p.csv")]
    assert commands.main(["predict", *map(str, pictures), *flags]) == 0
    with open(tmp_path / "p.csv", newline="") as rows:
        assert [row["class"] for row in csv.DictReader(rows)] == predicted


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["cars.onnx", "--format", "pth"], "'cars.onnx'; expected a name that ends in .pth or .pt"),
        (["cars.h5"], "'cars.h5'; expected a name that ends in .safetensors or .pth or .pt or .onnx"),
        (["cars.onnx", "--names", "timm"], "--names: it means nothing for onnx files"),
        (["cars.pth", "--batch", "2"], "--batch: it means nothing for pth files"),
        (["cars.onnx", "--batch", "-1"], "--batch: -1; expected at least 1"),
    ],
)
def test_exports_that_make_no_sense(finished: Path, tmp_path: Path, capsys, arguments: list[str], words: str):
    file, *flags = arguments
    assert commands.main(["export", str(finished), str(tmp_path / file), *flags]) == 1
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["evaluate", "predict", "export"])
def test_no_run_is_one_line_and_an_exit_code(command: str, tmp_path: Path, capsys):
    more = {"evaluate": [], "predict": ["--weights", str(tmp_path)], "export": ["x.safetensors"]}
    assert commands.main([command, str(tmp_path), *more[command]]) == 1
    assert capsys.readouterr().err.startswith(
        f"{command}: {tmp_path / 'best.safetensors'} cannot be read (No such file"
    )


def test_the_doctor_finds_what_is_broken(capsys, monkeypatch):
    monkeypatch.setitem(doctor.TESTS, "checkpoints", lambda: 1 / 0)
    monkeypatch.setitem(doctor.TESTS, "backends", lambda: "ok: not run here")
    assert doctor.main([]) == 1
    out = capsys.readouterr().out
    assert "FAILED: ZeroDivisionError" in out
    assert "1 of 3 tests failed" in out
    for name in ("numpy", "BLAS", "backends", "device", "gradients"):
        assert re.search(rf"^{name} +\S", out, re.MULTILINE)


def test_the_doctor_is_well_here(capsys):
    assert doctor.main(["--compile"]) == 0
    out = capsys.readouterr().out
    assert "all is well" in out
    assert "a training step of a small EfficientNet agrees" in out


def test_the_doctor_does_not_wait_for_half_a_minute_of_compiling(capsys, monkeypatch):
    jit = pytest.importorskip("tinygrad_effnet.backends.numba.jit")
    monkeypatch.setattr(jit, "missing", lambda: ["fused.pool_kernel", "depthwise.backward_kernel"])
    assert doctor.main([]) == 0
    out = capsys.readouterr().out
    assert re.search(r"one layer and a classifier agrees on numpy, numba.*; 2 of \d+ kernels were not compiled", out)
    assert "doctor --compile" in out


def test_the_doctor_finds_a_backend_whose_gradients_are_others(capsys, monkeypatch):
    step = doctor._step

    def wrong(backend, whole):
        loss, gradients = step("numpy", whole)
        return loss, gradients * (1.01 if backend == "numba" else 1)

    monkeypatch.setattr(doctor, "_step", wrong)
    monkeypatch.setattr(doctor, "available_backends", lambda: ("loops", "numpy", "numba"))
    with pytest.raises(ArithmeticError, match=r"numba gives .*; gradients are 1.0% apart"):
        doctor._agree(whole=False)
