"""The example that teaches a network other classes, on a dozen small pictures."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tinygrad_effnet import nn, weights
from tinygrad_effnet.training import load_weights

SCRIPT = Path(__file__).parents[2] / "examples" / "finetune.py"
FLAGS = ["--size", "32", "--batch-size", "4", "--epochs", "1", "--head-epochs", "1"]


@pytest.fixture(scope="module")
def finetune() -> ModuleType:
    spec = importlib.util.spec_from_file_location("finetune", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def moved(before: dict[str, np.ndarray], after: dict[str, np.ndarray], part: str) -> float:
    """Mean change of a part's convolution weights."""
    names = [name for name in before if name.startswith(part) and name.endswith("conv.weight")]
    return float(np.mean([np.abs(after[name] - before[name]).mean() for name in names]))


def test_first_the_classifier_then_everything_the_early_stages_slowest(finetune, photographs: Path, tmp_path, capsys):
    # weights in others' names, of a network with other classes
    start = nn.create_model("efficientnet_b0", 7)
    weights.save(start, tmp_path / "theirs.pth", "torchvision")
    flags = ["--data", str(photographs), "--weights", str(tmp_path / "theirs.pth"), "--out", str(tmp_path), *FLAGS]
    assert finetune.main([*flags, "--from-scratch"]) == 0
    said = capsys.readouterr().out.splitlines()[-3:]
    assert [line[:16].strip() for line in said] == ["classifier", "everything", "from scratch"]
    head, whole = (load_weights(tmp_path / f"efficientnet_b0-{i}" / "last.safetensors")[0] for i in (1, 2))
    for name, tensor in start.state_dict().items():
        if not name.startswith("classifier."):  # statistics as well
            np.testing.assert_array_equal(head[name], tensor.numpy(), err_msg=name)
    assert head["classifier.weight"].shape[0] == 3
    assert moved(head, whole, "stem") == 0
    assert 0 < moved(head, whole, "stages.0") < moved(head, whole, "stages.6")
    assert (
        weights.describe(tmp_path / "efficientnet_b0-2" / "best.safetensors").preprocessing.interpolation == "bicubic"
    )


def test_without_weights_it_begins_with_fictional_cars(finetune, photographs: Path, tmp_path: Path, capsys):
    flags = ["--data", str(photographs), "--out", str(tmp_path), "--limit-batches", "1", "--first-epochs", "1", *FLAGS]
    assert finetune.main(flags) == 0
    assert capsys.readouterr().out.splitlines()[-3].startswith("fictional cars")
    assert load_weights(tmp_path / "efficientnet_b0-1" / "last.safetensors")[0]["classifier.weight"].shape[0] == 10


def test_mistakes_are_one_line(finetune, photographs: Path, tmp_path: Path, capsys):
    flags = ["--data", str(photographs), "--weights", str(tmp_path / "none.pth"), "--out", str(tmp_path), *FLAGS]
    assert finetune.main(flags) == 1
    assert "none.pth cannot be read" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        finetune.main(FLAGS)
    assert finetune.main(["--data", "nowhere", "--out", str(tmp_path / "runs"), *FLAGS]) == 1
    assert "no such folder: nowhere" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()  # found before the fictional cars were learnt
