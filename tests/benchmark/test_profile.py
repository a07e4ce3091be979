"""Benchmark: what the profile counts is what the operations say they cost."""

from __future__ import annotations

import json

import numpy as np
import pytest

import tinygrad_effnet as tg
from tinygrad_effnet.benchmark import profile
from tinygrad_effnet.benchmark.machine import Roofs, roofs
from tinygrad_effnet.benchmark.settings import Settings
from tinygrad_effnet.op import registry, watch

TINY = Settings("b0", 32, 2, 1, 5)


@pytest.fixture(scope="module")
def found():
    forwards = {op: op.__dict__.get("forward") for op in registry.values()}
    made = profile.profile(TINY, 2, "numpy", lambda: Roofs(1e11, 1e10))
    assert {op: op.__dict__.get("forward") for op in registry.values()} == forwards  # all is as it was
    return made


def test_flops_are_those_of_the_operations(found):
    expected = 0

    def count(op, inputs, outputs):
        nonlocal expected
        expected += op.flops([x.shape for x in inputs], [y.shape for y in outputs])

    with tg.use_backend("numpy"):
        model = tg.nn.EfficientNet("b0", 5)
        with watch(count):
            tg.cross_entropy(model(tg.from_numpy(TINY.images())), TINY.labels()).backward()
    assert sum(entry.flops for entry in found.entries.values()) == 2 * expected
    assert sum(entry.flops for entry in found.shapes.values()) == 2 * expected


def test_time_is_covered_and_nothing_is_counted_twice(found):
    assert 0.3 < found.covered <= 1
    assert found.entries["conv2d"].calls == 2 * 65
    assert found.entries["conv2d_weight_grad"].calls == 2 * 65
    assert found.entries[profile.OPTIMIZER].calls == 2
    assert found.entries["reshape"].bytes == 0
    assert found.entries["reshape"].seconds < found.entries["conv2d"].seconds


def test_a_fused_rule_is_counted_as_an_operation_of_its_own():
    made = profile.Profile(Roofs(1, 1))
    block = tg.nn.ConvNormAct(3, 4, 1, act=tg.nn.SiLU(), fused=True)
    x = tg.Tensor(np.random.default_rng(0).normal(size=(2, 3, 5, 5)).astype("f"))
    with profile.operations_into(made):
        y = block(x)
        y.backward(tg.Tensor(np.random.default_rng(1).normal(size=y.shape).astype("f")))
    entry = made.entries["norm_silu" + profile.BACKWARD]
    assert entry.flops == 2 * made.entries["norm_silu"].flops
    assert entry.bytes == 4 * (3 * 2 * 4 * 25 + 4 * 4)  # x, dy and dx; gamma, beta and their gradients
    assert "conv2d" + profile.BACKWARD not in made.entries


def test_traffic_counts_operands_and_results_once():
    x, y = np.zeros((4, 5), np.float32), np.zeros((4, 5), np.float64)
    assert profile.traffic([x, x], [y]) == 80 + 160
    assert profile.traffic([x], [x.T]) == 0
    assert profile.traffic([np.broadcast_to(x[:1], (9, 5))], [y]) == 20 + 160


def test_a_profile_reads_as_a_table_and_as_json(found):
    text = profile.in_words(found)
    assert "a product of large matrices 100 GFLOP/s, an addition of large arrays 10.0 GB/s" in text
    shares = [line.split("|")[3] for line in text.split("\n\n")[1].splitlines()[2:]]
    assert sum(float(share.strip(" %")) for share in shares) == pytest.approx(100, abs=2)
    assert profile.REST in text
    document = json.loads(json.dumps(profile.as_document(found)))
    assert {entry["name"] for entry in document["operations"]} == set(found.entries)


def test_roofs_are_measured():
    with tg.use_backend("numpy"):
        flops, bandwidth = roofs(repeats=1, side=64, megabytes=1)
    assert flops > 1e6
    assert bandwidth > 1e6
