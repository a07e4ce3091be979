"""Benchmark on a GPU: the whole command, on the stand-in for CuPy and on none. Times mean nothing here."""

from __future__ import annotations

import json
import threading
from functools import partial

import pytest
from backends.cupy.standin import standin_cupy

from tinygrad_effnet.backends.cupy.convolution import use_tf32
from tinygrad_effnet.benchmark import main
from tinygrad_effnet.benchmark.gpu import card, command, epoch, profile, report
from tinygrad_effnet.benchmark.gpu.plan import Heat
from tinygrad_effnet.benchmark.gpu.worker import Worker
from tinygrad_effnet.benchmark.processes import ContestantError, Process
from tinygrad_effnet.benchmark.settings import Settings

TINY = ["--device", "cuda", "--model", "b0", "--size", "32", "--batch", "2", "--threads", "1", "--only", "cupy"]
small_rates = partial(card.measure, side=16, megabytes=1, repeats=2)


@pytest.fixture
def device(monkeypatch):
    """Kernels do nothing, for the emulator takes minutes for a step; what goes where is as on a GPU."""
    monkeypatch.setattr(card, "measure", small_rates)
    monkeypatch.setattr(command, "process_of", lambda threads: Local)
    with standin_cupy(runs_kernels=False) as cupy:
        yield cupy
        use_tf32(False)


class Local:
    """A worker in this process, behind JSON as the others are; the stand-in knows one thread at a time."""

    lock = threading.Lock()

    def __init__(self):
        self.worker = Worker()

    def ask(self, do, timeout=None, **request):
        with self.lock:
            try:
                return json.loads(json.dumps(getattr(self.worker, do)(**json.loads(json.dumps(request)))))
            except Exception as error:  # as `serve` does
                raise ContestantError(f"{type(error).__name__}: {error}") from error

    def close(self):
        pass


def test_without_a_device_one_error_says_what_to_install(capsys):
    assert main([*TINY]) == 1
    error = capsys.readouterr().err
    assert error.startswith("benchmark: benchmark --device cuda needs CuPy")
    assert 'pip install "tinygrad_effnet[cuda12]"' in error
    assert error.count("\n") == 1


def test_a_worker_of_its_own_says_so_too():
    with Process(1, "gpu.worker") as process:
        request = {"kind": "ours", "heat": list(Heat("training", "b0", 32, 2, "tf32")), "threads": 1, "options": {}}
        with pytest.raises(ContestantError, match="NoDeviceError: benchmark needs CuPy"):
            process.ask("prepare", timeout=120, **request)
        with pytest.raises(ContestantError, match="KeyError"):
            process.ask("run", heat=request["heat"], seconds=0.1)


def test_a_process_that_does_not_answer_in_time_is_ended():
    with Process(1, "gpu.worker") as process:
        with pytest.raises(ContestantError, match="it was given up after 0 s"):
            process.ask("check", timeout=0.01, settings=list(Settings("b0", 32, 2, 1, 5)))
        with pytest.raises(ContestantError, match="its process ended"):
            process.ask("run", heat=[], seconds=1)


def test_the_command_prints_tables_and_writes_json(device, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*TINY, "--rounds", "2", "--precision", "tf32", "--precision", "float16", "--json"]) == 0
    printed = capsys.readouterr().out
    found = json.loads((tmp_path / "benchmark.json").read_text())
    assert found["format"] == report.FORMAT
    assert found["card"]["name"] == "Stand-in"
    assert set(found["card"]["rates"]["products"]) == {"tf32", "float16"}
    assert [(h["task"], h["precision"]) for h in found["heats"]] == [
        *(("training", "tf32"), ("training", "float16"), ("inference", "tf32"), ("inference", "float16")),
    ]
    for heat in found["heats"]:
        (ours,) = heat["results"]
        assert ours["problem"] == ""
        assert len(ours["images_per_second"]) == 2
        assert ours["peak_bytes"] > 0
    assert found["epochs"] == []  # of the plan alone
    assert "| training, B0, 32 px, batch 2, tf32 |" in printed
    assert "Stand-in, 4 GiB, 132 multiprocessors" in printed
    assert "all of it took" in printed
    assert device.get_default_memory_pool().used_bytes() < 3e8


def test_recorded_use_takes_part_in_use_alone(device, capsys, tmp_path):
    file = tmp_path / "found.json"
    given = ["--rounds", "1", "--precision", "float32", "--only", "cupy recorded", "--json", str(file)]
    assert main([*TINY, *given]) == 0
    training, inference = json.loads(file.read_text())["heats"]
    assert [r["name"] for r in training["results"]] == ["cupy"]
    assert [(r["name"], r["problem"]) for r in inference["results"]] == [("cupy", ""), ("cupy recorded", "")]
    assert "| cupy recorded " in capsys.readouterr().out


def test_a_batch_that_does_not_fit_is_reported(device, capsys):
    device.get_default_memory_pool().set_limit(size=30 * 2**20)
    assert main([*TINY, "--rounds", "1", "--precision", "float32", "--task", "training"]) == 0
    assert "cupy did not run: DeviceMemoryError" in capsys.readouterr().out


def test_the_whole_plan_has_epochs(device, monkeypatch, capsys):
    monkeypatch.setattr(command, "PLAN", (Heat("training", "b0", 32, 2, "float32"),))
    monkeypatch.setattr(command, "heats", lambda *given: list(command.PLAN))
    small = partial(epoch.measure, model="b0")
    monkeypatch.setattr(epoch, "measure", lambda precision, *rest: small(precision, 8, 32, 2, 1))
    assert main(["--device", "cuda", "--threads", "1", "--rounds", "1", "--only", "cupy"]) == 0
    printed = capsys.readouterr().out
    assert "an epoch of 8 uint8 pictures, augmented on the card at 32 px, batch 2, tf32: " in printed
    assert "batch 2, bfloat16: " in printed


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_profile_has_floors_launches_and_what_lies_between(device, precision):
    settings = Settings("b0", 32, 2, 1, 5)
    made = profile.profile(settings, precision, steps=2, rates_of=small_rates, side=16)
    assert not made.found.entries["conv2d"].calls % 2
    assert made.found.entries["conv2d"].launches >= made.found.entries["conv2d"].calls
    assert made.found.entries["norm_silu_depthwise"].launches == 2 * made.found.entries["norm_silu_depthwise"].calls
    assert made.found.entries[profile.OPTIMIZER].launches == 2
    assert 0 < made.found.covered <= 1
    entry = made.found.entries["conv2d"]
    assert made.floor(entry) == max(entry.bytes / made.rates.bandwidth, entry.flops / made.rates.products[precision])
    text = profile.in_words(made)
    assert f"B0, 32 px, batch 2, {precision}" in text
    assert "reaches" in text and profile.BETWEEN in text
    document = json.loads(json.dumps(profile.as_document(made)))
    assert set(document["floors"]) == {e["name"] for e in document["operations"]}


def test_sixteen_bits_move_about_half_the_bytes(device):
    settings = Settings("b0", 32, 4, 1, 5)
    moved = []
    for precision in ("float32", "float16"):
        made = profile.profile(settings, precision, steps=1, rates_of=small_rates, side=16)
        moved.append(made.found.entries["norm_silu_depthwise"].bytes)
    assert moved[1] == pytest.approx(moved[0] / 2, rel=0.02)


def test_the_command_prints_profiles(device, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(profile.profile, "__defaults__", (1, small_rates, 16))
    file = tmp_path / "profile.json"
    assert main([*TINY, "--profile", "--json", str(file)]) == 0
    assert "B0, 32 px, batch 2, tf32" in capsys.readouterr().out
    assert [p["precision"] for p in json.loads(file.read_text())["profiles"]] == ["tf32"]


def test_precisions_are_a_gpus(capsys):
    assert main(["--precision", "tf32"]) == 1
    assert "on the host all is float32; give --device cuda" in capsys.readouterr().err
