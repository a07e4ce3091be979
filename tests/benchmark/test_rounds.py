"""Benchmark: turns, processes and what comes of contestants that fail. Sizes are tiny; the times mean nothing here."""

from __future__ import annotations

import importlib.util

import pytest

from tinygrad_effnet import from_numpy, use_backend
from tinygrad_effnet.benchmark.contestants import CONTESTANTS, Contestant, choose
from tinygrad_effnet.benchmark.processes import ContestantError, Process
from tinygrad_effnet.benchmark.rounds import Result, compete
from tinygrad_effnet.benchmark.settings import Settings

TINY = Settings("b0", 32, 2, 1, 5)
NUMPY = Contestant("numpy", "ours", {"backend": "numpy"})


@pytest.mark.parametrize("task", ["training", "inference"])
def test_contestants_have_turns_in_every_round(task):
    fails = Contestant("fails", "ours", {"backend": "no such backend"})
    absent = Contestant("absent", "torch", {}, needs=("no_such_package",))
    elsewhere = Contestant("elsewhere", "ours", {}, tasks=("dancing",))
    heard = []
    results = compete([NUMPY, fails, elsewhere, absent], TINY, task, 2, heard.append)
    assert [result.name for result in results] == ["numpy", "fails", "absent"]
    numpy, failed, missed = results
    assert set(numpy.rates) == {0, 1}
    assert all([rate > 0 for rate in numpy.rates.values()])
    assert numpy.ratios(numpy) == [1, 1]
    assert not numpy.problem
    assert numpy.memory["peak_with_start"] >= numpy.memory["peak"] > numpy.memory["before"] >= 0
    assert "'no such backend' is not a backend" in failed.problem
    assert missed.problem == "not installed: no_such_package"
    assert not failed.rates
    assert heard[-1] == f"{task}: round 2 of 2"


def test_ratios_compare_what_ran_in_the_same_round():
    a, b = Result("a", "t", {0: 10.0, 1: 20.0, 2: 90.0}), Result("b", "t", {0: 5.0, 1: 5.0})
    assert a.ratios(b) == [2, 4]
    assert a.rate == 20


def test_the_process_of_a_contestant_answers_errors_and_its_end_is_noticed():
    with Process(1) as process:
        with pytest.raises(ContestantError, match="nothing is prepared"):
            process.ask("run", steps=1, warm_up=False)
        process.ask("prepare", kind="ours", settings=list(TINY), task="inference", options={"backend": "numpy"})
        assert len(process.ask("run", steps=3, warm_up=True)["seconds"]) == 3
        process._process.kill()
        with pytest.raises(ContestantError, match=r"its process ended: exit status -9 \(out of memory\?\)"):
            process.ask("run", steps=1, warm_up=False)


def test_an_unknown_contestant_is_named():
    assert choose(None, compiled=True) == list(CONTESTANTS)
    assert {c.name for c in CONTESTANTS} - {c.name for c in choose(None)} == {
        *("torch compiled", "torch compiled channels_last"),
    }
    assert [c.name for c in choose(["torch", "numpy"])] == ["numpy", "torch"]
    with pytest.raises(ValueError, match="--only 'pytorch': there is no such contestant; there are numba, "):
        choose(["pytorch"])


@pytest.mark.parametrize("given", [{"model": "b9"}, {"size": 16}, {"batch": 0}, {"classes": 0}, {"threads": 10**6}])
def test_settings_that_make_no_sense_are_refused(given):
    (name,) = given
    with pytest.raises(ValueError, match=f"--{name} {given[name]}: expected"):
        TINY._replace(**given).checked()
    assert Settings().checked().threads >= 1


needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="compares with PyTorch")


@needs_torch
def test_the_network_in_pytorch_is_the_same():
    from tinygrad_effnet.benchmark import pytorch

    with use_backend("numpy"):
        found = pytorch.check(TINY)
    assert found["parameters"] == found["torch_parameters"]
    assert found["difference"] < 1e-4


@needs_torch
@pytest.mark.parametrize("task", ["training", "inference"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_pytorch_takes_part(task, channels_last):
    contestant = Contestant("torch", "torch", {"channels_last": channels_last, "compiled": False})
    from tinygrad_effnet.benchmark.pytorch import prepare

    step = prepare(TINY, task, **contestant.options)
    losses = [step() for _ in range(3)]
    assert len(set(losses)) == (3 if task == "training" else 1)


@needs_torch
def test_there_is_no_twin_of_an_unknown_module():
    from tinygrad_effnet import nn
    from tinygrad_effnet.benchmark.torch_twin import twin

    with pytest.raises(TypeError, match="no PyTorch twin is written for a MaxPool2d"):
        twin(nn.MaxPool2d(2))


@pytest.mark.slow
@pytest.mark.skipif(bool(choose(["onnxruntime"])[0].missing()), reason="needs onnxruntime, torch and onnxscript")
def test_onnx_runtime_computes_the_same(tmp_path):
    from tinygrad_effnet.benchmark import onnx_runtime, ours

    onnx_runtime.export(TINY, str(tmp_path / "model.onnx"))
    got = onnx_runtime.prepare(TINY, "inference", str(tmp_path / "model.onnx"))()
    with use_backend("numpy"):
        expected = ours.inferrer(ours.build(TINY), from_numpy(TINY.images()))()
    assert got == pytest.approx(expected, rel=1e-3, abs=1e-4)
