"""What the command prints and draws; what the library says is in tests/training/test_photographs.py."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinygrad_effnet import commands, nn, weights
from tinygrad_effnet.training import Classifier


@pytest.fixture
def pictures(photographs: Path, tmp_path: Path) -> Path:
    """Two pictures, one of them in a folder below, and a file that is none."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    first, second = sorted(photographs.rglob("*.png"))[:2]
    shutil.copy(first, folder / "a.png")
    shutil.copy(second, folder / "more" / "b.png")
    (folder / "c.jpg").write_bytes(b"no picture")
    return folder


def test_a_table_of_the_likeliest_classes_and_the_bad_files_by_name(finished: Path, pictures: Path, capsys):
    assert commands.main(["predict", str(pictures), "--weights", str(finished), "--top", "2"]) == 1
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0].split() == ["probability", "class"]
    assert [Path(line).name for line in lines if line.startswith(str(pictures))] == ["a.png", "b.png"]
    assert len(lines) == 1 + 2 * 3
    assert float(lines[2].split()[0]) >= float(lines[3].split()[0]) > 0
    assert captured.err.startswith("predict: ")
    assert "c.jpg: not a readable" in captured.err


def test_json_and_csv_say_the_same(finished: Path, pictures: Path, tmp_path: Path, capsys):
    flags = ["--weights", str(finished / "best.safetensors"), "--json", "--csv", str(tmp_path / "p.csv"), "--top", "9"]
    assert commands.main(["predict", str(pictures), str(tmp_path / "none.png"), *flags]) == 1
    told = json.loads(capsys.readouterr().out)
    assert [Path(t["picture"]).name for t in told] == ["a.png", "c.jpg", "b.png", "none.png"]
    assert ["error" in t for t in told] == [False, True, False, True]
    assert {best["class"] for best in told[0]["classes"]} == set(Classifier.load(finished).class_names)
    assert sum(best["probability"] for best in told[0]["classes"]) == pytest.approx(1, abs=1e-4)
    with open(tmp_path / "p.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["probability"]) for row in rows[:3]] == [best["probability"] for best in told[0]["classes"]]
    (pictures / "c.jpg").unlink()
    assert commands.main(["predict", str(pictures), "--weights", str(finished)]) == 0


def test_explanations_lie_beside_the_photographs_and_are_no_photographs(
    finished: Path, pictures: Path, tmp_path, capsys
):
    (pictures / "c.jpg").unlink()
    assert commands.main(["predict", str(pictures), "--weights", str(finished), "--explain", "--json"]) == 0
    drawn = [pictures / "a.png.explained.png", pictures / "more" / "b.png.explained.png"]
    assert [t["explanation"] for t in json.loads(capsys.readouterr().out)] == list(map(str, drawn))
    assert all(np.ptp(np.asarray(Image.open(path))) > 100 for path in drawn)
    flags = ["--explain-to", str(tmp_path / "drawn"), "--layer", "stages.4"]
    assert commands.main(["predict", str(pictures), "--weights", str(finished), *flags]) == 0
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == sorted(path.name for path in drawn)
    assert commands.main(["predict", str(pictures), "--weights", str(finished), "--explain", "--layer", "tail"]) == 1
    assert "layer: get_submodule(name): there is no 'tail'" in capsys.readouterr().err


def test_weights_of_others_with_names_for_their_classes(pictures: Path, tmp_path: Path, capsys):
    (pictures / "c.jpg").unlink()
    net = nn.create_model("mobilenet_v2", 3)
    weights.save(net, tmp_path / "theirs.pth", "torchvision")
    (tmp_path / "names.txt").write_text("tram\nbus\nferry\n")
    given = ["predict", str(pictures / "a.png"), "--weights", str(tmp_path / "theirs.pth")]
    assert commands.main(given) == 1
    assert "name it with --model" in capsys.readouterr().err
    assert commands.main([*given, "--model", "mobilenet_v2", "--classes", str(tmp_path / "names.txt")]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("tram", "bus", "ferry"))


def test_an_empty_folder(finished: Path, tmp_path: Path, capsys):
    (tmp_path / "empty").mkdir()
    assert commands.main(["predict", str(tmp_path / "empty"), "--weights", str(finished)]) == 1
    assert "there are no images in" in capsys.readouterr().err
