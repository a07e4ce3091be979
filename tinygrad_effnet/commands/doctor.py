"""``doctor``: what is installed, how it is set up, and whether it works."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from .. import nn, ops, optim, use_backend
from ..backends import available_backends, current_backend
from ..data import IMAGENET_MEAN, SyntheticCars, train_transform
from ..tensor import Tensor, from_numpy
from ..testing import gradcheck
from ..training import load_checkpoint, save_checkpoint

PACKAGES = ("numpy", "numba", "tbb", "scipy", "pillow", "matplotlib", "safetensors", "cupy", "torch", "onnxruntime")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the state of things, and run the tests; returns 1 if one fails."""
    argparse.ArgumentParser(
        prog="python -m tinygrad_effnet doctor", description="Say what is installed and how it is set up, and test it."
    ).parse_args(arguments)
    for name, value in facts():
        print(f"{name:<18} {value}")
    failed = 0
    for name, test in TESTS.items():
        began = time.monotonic()
        try:
            found = test()
        except Exception as error:  # whatever it is, it is what the doctor was called for
            failed += 1
            found = f"FAILED: {type(error).__name__}: {error}"
        print(f"{name:<18} {found} ({time.monotonic() - began:.1f} s)", flush=True)
    print("all is well" if not failed else f"{failed} of {len(TESTS)} tests failed; please report the lines above")
    return 1 if failed else 0


def facts() -> Iterator[tuple[str, str]]:
    """Names and values, one line each."""
    yield "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    for package in PACKAGES:
        try:
            yield package, importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            yield package, "not installed"
    yield "backends", ", ".join(available_backends()) + f"; in use: {current_backend().name}"
    yield "BLAS", _blas()
    if current_backend().name == "numba":
        from ..backends.numba.cache import kernel_cache
        from ..backends.numba.threads import threading_layer

        yield "threading layer", threading_layer()
        yield "kernel cache", str(kernel_cache() or "none, so that every start compiles: make a folder for it writable")
    yield "device", _device()
    free = shutil.disk_usage(Path.cwd()).free
    yield "free disk here", f"{free / 2**30:.1f} GiB"


def _blas() -> str:
    from threadpoolctl import threadpool_info

    np.ones((64, 64)) @ np.ones((64, 64))
    pools = [f"{p['internal_api']} {p.get('version') or ''}, {p['num_threads']} threads" for p in threadpool_info()]
    return "; ".join(pools) or "unknown"


def _device() -> str:
    try:
        import cupy

        count = int(cupy.cuda.runtime.getDeviceCount())
        return f"{count} CUDA device(s)" if count else "none"
    except ImportError:
        return "none that is used: CuPy is not installed"
    except Exception as error:  # CuPy without a driver raises an error of its own
        return f"none that can be used ({error})"


def _gradients() -> str:
    rng = np.random.default_rng(0)
    x, w = (Tensor(rng.standard_normal(shape), requires_grad=True) for shape in ((2, 3, 6, 6), (4, 3, 3, 3)))
    with use_backend("numpy"):
        gradcheck(lambda x, w: ops.silu(ops.conv2d(x, w, None, 1, 1)), [x, w])
    return "ok: derivatives equal differences"


def _step(backend: str) -> tuple[float, float]:
    """Loss and norm of the gradients of a small network's first step."""
    with use_backend(backend):
        ops.manual_seed(0)
        model = nn.EfficientNet("b0", 10, dropout=0.0, stochastic_depth=0.0)
        cars = SyntheticCars("train", 1, 32)
        transform = train_transform(32)
        images = np.stack([transform(cars[i][0], np.random.default_rng(i)) for i in range(4)])
        loss = ops.cross_entropy(model(from_numpy(images)), cars.labels[:4])
        loss.backward()
        norm = sum(float((p.grad.numpy().astype(float) ** 2).sum()) for p in model.parameters() if p.grad is not None)
        optim.NAdam(model.parameters(), lr=1e-3).step()
        return loss.item(), norm**0.5


def _backends_agree() -> str:
    """One training step of B0 with each, at 32 pixels."""
    found = {name: _step(name) for name in available_backends() if name != "loops"}
    (loss, norm), *others = found.values()
    for name, (other_loss, other_norm) in zip(list(found)[1:], others, strict=True):
        if abs(other_loss - loss) > 1e-3 * loss or abs(other_norm - norm) > 1e-2 * norm:
            raise ArithmeticError(
                f"{name} gives loss {other_loss} and gradient norm {other_norm}, NumPy {loss} and {norm}"
            )
    return f"ok: a step of B0 agrees on {', '.join(found)}"


def _checkpoints() -> str:
    array = np.random.default_rng(0).random((64, 64))
    with tempfile.TemporaryDirectory() as folder:
        path = save_checkpoint(folder, "test", {"model": {"w": array}}, {"epoch": 1, "mean": list(IMAGENET_MEAN)})
        arrays, state = load_checkpoint(path)
    if not np.array_equal(arrays["model"]["w"], array) or state["epoch"] != 1:
        raise OSError("a checkpoint came back other than it was written")
    return "ok: written, checked and read back"


TESTS: dict[str, Callable[[], str]] = {
    "gradients": _gradients,
    "backends": _backends_agree,
    "checkpoints": _checkpoints,
}
"""What is tested, by name."""
