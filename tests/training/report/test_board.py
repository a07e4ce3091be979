from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tinygrad_effnet.training.report.board import Board


def test_without_the_extra_it_says_what_to_install(tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r'pip install "tinygrad_effnet\[tensorboard\]"'):
        Board(tmp_path)


def test_epochs_are_written_as_scalars(tmp_path: Path):
    pytest.importorskip("tensorboardX", reason="comes with the test extra")
    from tensorboardX.proto.event_pb2 import Event

    board = Board(tmp_path)
    board.write({"epoch": 3, "train_loss": 0.5, "val_f1": 0.25, "learning_rate": 1e-3, "best": True, "memory": None})
    board.close()
    (path,) = (tmp_path / "tensorboard").iterdir()
    data, found, at = path.read_bytes(), {}, 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 8], "little")
        event = Event.FromString(data[at + 12 : at + 12 + length])
        found |= {value.tag: (event.step, value.simple_value) for value in event.summary.value}
        at += 16 + length
    assert found == {
        "train/loss": (3, 0.5),
        "val/f1": (3, 0.25),
        "run/learning_rate": (3, pytest.approx(1e-3)),
    }
