"""What every test shares: how hard hypothesis searches, and a guard against tests that leak global state.

``HYPOTHESIS_PROFILE=ci`` searches longer and is the same every time; the default, ``dev``, is quick.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

from tinygrad_effnet import backends, op, ops, tape
from tinygrad_effnet.nn import module
from tinygrad_effnet.optim import optimizer

settings.register_profile("dev", max_examples=15, deadline=None)
settings.register_profile("ci", max_examples=60, deadline=None, derandomize=True, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))

HOOKS = [
    *(op.watch, op.around_forwards, op.around_rules, op.watch_pulls),
    *(tape.around_walks, module.around_calls, optimizer.around_updates),
]


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """Fail a test that leaves another backend, recording switched off or a watcher behind; put all of them back.

    The generator of random numbers is put back silently: drawing from it is no fault.
    """
    backend, default, recording = backends.current_backend(), backends._default, tape.is_grad_enabled()
    blocks = list(backends._choice.blocks)
    watchers = [list(hooks) for hooks in HOOKS]
    generator = ops.default_generator()
    state = copy.deepcopy(generator.bit_generator.state)
    yield
    leaks = []
    if backends.current_backend() is not backend or backends._choice.blocks != blocks:
        leaks.append(f"the backend is {backends.current_backend().name} and was {backend.name}; use a with block")
        backends._default, backends._choice.blocks = default, blocks
    if tape.is_grad_enabled() != recording:
        leaks.append(f"is_grad_enabled() is {tape.is_grad_enabled()} and was {recording}")
        tape._mode.recording = recording
    if HOOKS != watchers:
        leaks.append("a hook in the engine is still there")
        for hooks, before in zip(HOOKS, watchers, strict=True):
            hooks[:] = before
    ops.random._generator = generator
    generator.bit_generator.state = state
    assert not leaks, "this test leaks global state: " + "; ".join(leaks)


@pytest.fixture
def pulls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the operations whose rule is run, in order."""
    names: list[str] = []
    pull = op.Op.pull

    def counted(self: op.Op, gradients: list[Any]) -> Any:
        names.append(self.name)
        return pull(self, gradients)

    monkeypatch.setattr(op.Op, "pull", counted)
    return names
