"""What holds for the package as a whole: what importing it costs, running without Numba, examples in its text."""

from __future__ import annotations

import doctest
import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import tinygrad_effnet as tg

ROOT = Path(__file__).parents[1]
MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(tg.__path__, "tinygrad_effnet.")
    if not name.startswith("tinygrad_effnet.backends.cupy")
]


def python(code, **variables):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
        env={**os.environ, **variables},
    )


def test_files_are_short_enough_to_be_read_in_one_sitting():
    lines = {path: len(path.read_text().splitlines()) for path in Path(tg.__file__).parent.rglob("*.py")}
    assert {path.name: n for path, n in lines.items() if n > 400} == {}
    assert {path.name: n for path, n in lines.items() if path.name == "tape.py" and n > 300} == {}


def test_importing_brings_numpy_and_nothing_heavier():
    done = python(
        "import sys, tinygrad_effnet\n"
        "heavy = {'numba', 'llvmlite', 'scipy', 'PIL', 'matplotlib', 'tqdm', 'safetensors', 'onnx', 'cupy', 'torch'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert done.stdout.strip() == "[]", done.stderr


WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
import importlib.util
real = importlib.util.find_spec
def find_spec(name, package=None):
    return None if name.partition(".")[0] in {names!r} else real(name, package)
importlib.util.find_spec = find_spec
sys.meta_path.insert(0, Absent())
"""


def test_everything_of_the_engine_works_with_numpy_alone():
    names = ("numba", "llvmlite", "scipy", "PIL", "matplotlib", "tqdm", "safetensors", "threadpoolctl", "hypothesis")
    done = python(
        WITHOUT.format(names=names) + "import numpy as np, tinygrad_effnet as tg\n"
        "assert tg.available_backends() == ['loops', 'numpy'], tg.available_backends()\n"
        "net = tg.nn.EfficientNet('b0', 3)\n"
        "optimizer = tg.optim.NAdam(net.parameters())\n"
        "loss = tg.cross_entropy(net(tg.Tensor(np.ones((2, 3, 32, 32), 'f'))), np.array([0, 2]))\n"
        "loss.backward(); optimizer.step()\n"
        "print(tg.current_backend().name, tg.gelu(tg.Tensor([1.0])).item())\n"
        "try: tg.use_backend('numba')\n"
        "except ImportError as error: print(error)\n"
    )
    assert done.stdout.startswith("numpy 0.84134"), done.stderr
    assert "pip install numba" in done.stdout


def test_public_names():
    for name in (
        *("Tensor", "no_grad", "grad", "use_backend", "manual_seed", "set_num_threads", "from_numpy", "enable_grad"),
        *("ops", "nn", "optim", "stepper", "testing", "training", "data"),
    ):
        assert hasattr(tg, name), name
    with pytest.raises(AttributeError, match="no attribute 'tensr'"):
        tg.tensr
    for module in (tg.ops, tg.nn, tg.optim, tg.data, tg.training, tg.testing, tg.stepper):
        for name in module.__all__:
            assert getattr(module, name).__doc__ or not callable(getattr(module, name)), name


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    results = doctest.testmod(importlib.import_module(name))
    assert results.failed == 0
