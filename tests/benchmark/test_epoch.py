"""Benchmark: the table of epochs, on images so small that even loops take seconds."""

from __future__ import annotations

import json

import pytest

from tinygrad_effnet.benchmark import epoch
from tinygrad_effnet.benchmark.contestants import Contestant


def test_rows_are_multiplied_and_say_so(monkeypatch):
    numpy = Contestant("numpy", "ours", {"backend": "numpy"})
    absent = Contestant("absent", "torch", {}, needs=("no_such_package",))
    fails = Contestant("fails", "ours", {"backend": "none"})
    monkeypatch.setattr(epoch, "CONTESTANTS", (numpy, absent, fails))
    monkeypatch.setattr(epoch, "LOOPS", Contestant("stand-in for loops", "ours", {"backend": "numpy"}))
    monkeypatch.setattr(epoch, "BATCHES", {"stand-in for loops": 1, "numpy": 2})
    rows = {row.name: row for row in epoch.measure("b0", 1, 33, 40, lambda text: None)}
    assert list(rows) == [*epoch.ORIGINAL, "stand-in for loops", "numpy", "absent", "fails"]
    assert rows["numpy"].how == "3 step(s) of 2 image(s) at 40 px, x 4072"
    assert "1 step(s) of 1 image(s) at 33 px, x 8144, x 1." in rows["stand-in for loops"].how
    assert rows["numpy"].seconds > 0
    assert rows["absent"].seconds is None
    text = epoch.in_words(list(rows.values()))
    assert "not installed: no_such_package" in text
    assert "'none' is not a backend" in text
    assert json.loads(json.dumps(epoch.as_document(list(rows.values()))))[0]["seconds"] == 11 * 3600


def test_the_ratio_of_multiply_adds_is_that_of_the_network():
    small, usual = epoch.multiply_adds("b0", 64), epoch.multiply_adds("b0", 224)
    assert usual / small == pytest.approx((224 / 64) ** 2, rel=0.03)
    assert usual == pytest.approx(0.39e9, rel=0.02)  # Tan and Le, table 2


@pytest.mark.parametrize(
    "seconds, text", [(3 * 86400, "3.0 days"), (8 * 3600, "8.0 h"), (100, "1.7 min"), (80, "80 s")]
)
def test_durations_are_told_in_the_unit_that_fits(seconds, text):
    assert epoch.duration(seconds) == text
