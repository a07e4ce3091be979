"""Benchmark: growth of the cost."""

from __future__ import annotations

import json

import pytest

from tinygrad_effnet.benchmark import scaling
from tinygrad_effnet.benchmark.scaling import Point
from tinygrad_effnet.benchmark.settings import Settings


def test_exponents_and_the_verdict_about_them():
    linear = [Point(1, 100, 1.0), Point(4, 100, 4.0), Point(16, 100, 15.0)]
    assert linear[0].exponent(linear[1]) == pytest.approx(1)
    assert scaling.verdict(linear).startswith("the cost grows at most linear")
    squared = [Point(16, 100, 1.0), Point(16, 200, 16.0)]
    assert squared[0].exponent(squared[1]) == pytest.approx(2)
    assert "FASTER THAN LINEAR: by a power of 2.00" in scaling.verdict(squared)


def test_every_workload_is_measured_and_shown(monkeypatch):
    monkeypatch.setattr(scaling, "TIMED_SECONDS", 0.0)
    heard = []
    by_batch, by_size = scaling.measure(Settings("b0", 32, 2, 1, 5), (2, 4), (32, 40), "numpy", heard.append)
    assert [(p.batch, p.size) for p in by_batch] == [(2, 32), (4, 32)]
    assert [(p.batch, p.size) for p in by_size] == [(2, 32), (2, 40)]
    assert all([p.seconds > 0 for p in (*by_batch, *by_size)])
    assert heard[-1] == "scaling: batch 2, 40 px"
    text = scaling.in_words(by_batch)
    assert "4 x 32 px" in text
    assert text.endswith("is allowed, for noise)")
    assert json.loads(json.dumps(scaling.as_document(by_batch)))["points"][0]["batch"] == 2
