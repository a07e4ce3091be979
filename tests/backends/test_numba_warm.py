"""Cold start: how many kernels a training step needs, who compiles them, and what is said meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import tinygrad_effnet as tg

if "numba" not in tg.available_backends():
    pytest.skip("Numba is not installed", allow_module_level=True)

from tinygrad_effnet.backends.numba import jit, warm

COUNT = """
import json, numpy as np, tinygrad_effnet as tg
from tinygrad_effnet import nn
from tinygrad_effnet.backends.numba import Numba, jit, warm
{}
print(json.dumps({{n: len(k.compiled.signatures) for n, k in jit.kernels.items() if k.compiled.signatures}}))
"""
STEP = """
net = nn.EfficientNet("b0", 3)
tg.cross_entropy(net(tg.Tensor(np.random.default_rng(0).random((2, 3, 32, 32)), dtype="float32")), [0, 2]).backward()
"""


def compiled_by(code: str) -> dict[str, int]:
    """Kernels and their specialisations that a fresh process needs for ``code``."""
    run = subprocess.run([sys.executable, "-c", COUNT.format(code)], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_a_training_step_needs_one_specialisation_of_the_kernels_that_are_counted() -> None:
    assert compiled_by(STEP) == dict.fromkeys(warm.TRAINING, 1)


def test_the_helper_compiles_the_backward_pass_just_as_training_asks_for_it() -> None:
    found = compiled_by("warm.run()")
    back = {name for name in warm.TRAINING if any(word in name for word in ("grad", "back", "sums"))}
    back.remove("convolution.weight_grad_kernel")  # the stem's, which comes last and is soon compiled
    gate = {"activation.small_silu_kernel", "activation.small_sigmoid_kernel"}  # computed anew
    assert set(found) == back | gate
    assert compiled_by("warm.run()" + STEP) == dict.fromkeys(warm.TRAINING, 1)


def test_what_is_missing_is_neither_compiled_here_nor_on_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code = """
import numpy as np
from tinygrad_effnet.backends.numba import Numba, jit
print(*jit.missing())
with jit.time_compilation() as seconds:
    Numba().silu(np.ones(3, np.float32))
print(*jit.missing())
print(sum(seconds))
"""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    first, second = (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True).stdout
        for _ in range(2)
    )
    silu = set(warm.TRAINING) - {"activation.small_silu_kernel"}
    cold, after, seconds = first.splitlines()
    assert set(cold.split()) == set(warm.TRAINING)
    assert set(after.split()) == silu
    assert float(seconds) > 0
    cold, after, seconds = second.splitlines()
    assert set(cold.split()) == set(after.split()) == silu
    assert float(seconds) == 0


@pytest.mark.parametrize("before", [None, "0"])
def test_no_helper_inside_a_block(before: str | None, started: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    if before is not None:
        monkeypatch.setenv(warm.ALONE, before)
    with warm.without_helper():
        assert warm.start_helper("folder") is None
    warm.start_helper("folder")
    assert len(started) == 1


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would have been started as a process."""
    commands: list[Any] = []
    monkeypatch.setattr(warm.subprocess, "Popen", lambda command, **settings: commands.append((command, settings)))
    monkeypatch.setattr(warm.atexit, "register", lambda *args: None)
    monkeypatch.setattr(warm.os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    monkeypatch.delenv(warm.ALONE, raising=False)
    return commands


def test_a_helper_is_told_to_work_alone_and_in_silence(started: list[Any]) -> None:
    warm.start_helper("folder")
    ((command, settings),) = started
    assert command[0] == sys.executable
    assert settings["env"][warm.ALONE] == settings["env"]["TINYGRAD_EFFNET_QUIET"] == "1"
    assert settings["stderr"] == settings["stdout"] == settings["stdin"] == subprocess.DEVNULL


@pytest.mark.parametrize("reason", ["no cache", "one core", "told so", "frozen"])
def test_no_helper_where_it_is_of_no_use(reason: str, started: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    if reason == "one core":
        monkeypatch.setattr(warm.os, "sched_getaffinity", lambda pid: {0}, raising=False)
    if reason == "told so":
        monkeypatch.setenv(warm.ALONE, "1")
    if reason == "frozen":
        monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert warm.start_helper("" if reason == "no cache" else "folder") is None
    assert not started


class Terminal:
    """Stands for stderr, and keeps what is written."""

    def __init__(self, is_terminal: bool) -> None:
        self.is_terminal, self.text = is_terminal, ""

    def isatty(self) -> bool:
        return self.is_terminal

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        pass


def say(monkeypatch: pytest.MonkeyPatch, stderr: Terminal | None, *names: str) -> None:
    """Have the notice told that kernels are being compiled, one after the other."""
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(warm, "start_helper", lambda cache: None)
    notice = jit._Notice()
    for name in names:
        event = SimpleNamespace(data={"dispatcher": jit.kernels[name].compiled})
        notice.on_start(event)
        notice.on_end(event)


def test_a_terminal_shows_one_line_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(True)
    say(monkeypatch, terminal, warm.TRAINING[0], "pooling.max_pool_kernel")
    assert "\n" not in terminal.text
    first, second = terminal.text.split(jit.ERASE)[1::2]
    assert first.startswith("tinygrad_effnet: compiling kernels for this machine, once: ")
    assert first.endswith(f" of {len(warm.TRAINING)}")
    assert second.endswith("pooling.max_pool_kernel")
    assert terminal.text.endswith(jit.ERASE)


def test_a_file_gets_one_line_and_the_quiet_none(monkeypatch: pytest.MonkeyPatch) -> None:
    file = Terminal(False)
    say(monkeypatch, file, *warm.TRAINING[:3])
    assert file.text.count("\n") == file.text.count("compiling") == 1
    say(monkeypatch, None, warm.TRAINING[0])  # no stderr, as under pythonw
    monkeypatch.setenv("TINYGRAD_EFFNET_QUIET", "1")
    silent = Terminal(False)
    say(monkeypatch, silent, *warm.TRAINING[:3])
    assert not silent.text


def test_nothing_is_said_of_pieces_of_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    file = Terminal(False)
    monkeypatch.setattr(sys, "stderr", file)
    jit._Notice().on_start(SimpleNamespace(data={"dispatcher": jit.inner(lambda x: x)}))
    assert not file.text
