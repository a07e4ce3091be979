"""The guard against leaking tests fails those that leak, and puts things back for the next."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import tinygrad_effnet

TESTS = """
import numpy as np
import tinygrad_effnet as tg
from tinygrad_effnet import op

def clean():
    assert tg.is_grad_enabled() and not op.watch and tg.current_backend().name != "loops"

def test_backend(): clean(); tg.use_backend("loops")
def test_block(): clean(); tg.use_backend("loops").__enter__()
def test_recording(): clean(); tg.no_grad().__enter__()
def test_watcher(): clean(); op.watch.append(print)
def test_innocent():
    clean()
    with tg.use_backend("loops"), tg.no_grad():
        tg.manual_seed(3).random()
def test_generator_was_put_back():
    clean()
    assert tg.ops.default_generator().random() != np.random.default_rng(3).random(2)[1]
"""


def test_leaks_are_found_and_mended(tmp_path: Path) -> None:
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path)
    (tmp_path / "test_leaks.py").write_text(TESTS)
    path = os.pathsep.join([str(Path(tinygrad_effnet.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        cwd=tmp_path,
    )
    assert "6 passed, 4 errors" in run.stdout, run.stdout
    for name in ("backend", "block", "recording", "watcher"):
        assert f"ERROR test_leaks.py::test_{name} - AssertionError: this test leaks" in run.stdout
