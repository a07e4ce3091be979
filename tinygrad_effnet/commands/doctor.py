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
from ..backends.base import Array
from ..backends.cupy.availability import NoDeviceError, devices, software
from ..data import IMAGENET_MEAN, SyntheticCars, train_transform
from ..nn.module import place_of
from ..nn.staged import Plan, Stage, StagedNet
from ..tensor import Tensor, from_numpy
from ..testing import gradcheck
from ..training import load_checkpoint, save_checkpoint

PACKAGES = ("numpy", "numba", "tbb", "scipy", "pillow", "matplotlib", "safetensors", "cupy", "torch", "onnxruntime")
OTHER_NAMES = {"cupy": ("cupy-cuda12x", "cupy-cuda13x")}  # of wheels that hold the same package


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the state of things, and run the tests; returns 1 if one fails."""
    parser = argparse.ArgumentParser(
        prog="python -m tinygrad_effnet doctor",
        description="Say what is installed and how it is set up, and test it for some ten seconds.",
    )
    parser.add_argument("--compile", action="store_true", help="first have all kernels compiled, to test them all")
    tests = TESTS
    if parser.parse_args(arguments).compile and "numba" in available_backends():
        tests = {"compilation": _compile, **TESTS}
    if _has_device():
        tests = {**tests, "device": lambda: _agree(True, ("numpy", "cupy"))}
    for name, value in facts():
        print(f"{name:<18} {value}")
    failed = 0
    for name, test in tests.items():
        began = time.monotonic()
        try:
            found = test()
        except Exception as error:  # whatever it is, it is what the doctor was called for
            failed += 1
            found = f"FAILED: {type(error).__name__}: {error}"
        print(f"{name:<18} {found} ({time.monotonic() - began:.1f} s)", flush=True)
    print("all is well" if not failed else f"{failed} of {len(tests)} tests failed; please report the lines above")
    return 1 if failed else 0


def facts() -> Iterator[tuple[str, str]]:
    """Names and values, one line each."""
    yield "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    for package in PACKAGES:
        yield package, _version(package)
    yield "backends", ", ".join(available_backends()) + f"; in use: {current_backend().name}"
    yield "BLAS", _blas()
    if current_backend().name == "numba":
        from ..backends.numba.cache import kernel_cache
        from ..backends.numba.threads import threading_layer

        yield "threading layer", threading_layer()
        yield "kernel cache", str(kernel_cache() or "none, so that every start compiles: make a folder for it writable")
    yield from _devices()
    free = shutil.disk_usage(Path.cwd()).free
    yield "free disk here", f"{free / 2**30:.1f} GiB"


def _version(package: str) -> str:
    for name in (package, *OTHER_NAMES.get(package, ())):
        try:
            return importlib.metadata.version(name) + (f" ({name})" if name != package else "")
        except importlib.metadata.PackageNotFoundError:
            continue
    return "not installed"


def _blas() -> str:
    from threadpoolctl import threadpool_info

    np.ones((64, 64)) @ np.ones((64, 64))
    pools = [f"{p['internal_api']} {p.get('version') or ''}, {p['num_threads']} threads" for p in threadpool_info()]
    return "; ".join(pools) or "unknown"


def _devices() -> Iterator[tuple[str, str]]:
    try:
        found = devices("a GPU")
    except NoDeviceError as error:
        yield "device", f"none that can be used: {error}"
        return
    for number, facts in enumerate(found):
        yield f"device cuda:{number}", str(facts)
    yield "CUDA", software()


def _has_device() -> bool:
    try:
        return bool(devices("a GPU"))
    except NoDeviceError:
        return False


def _gradients() -> str:
    rng = np.random.default_rng(0)
    x, w = (Tensor(rng.standard_normal(shape), requires_grad=True) for shape in ((2, 3, 6, 6), (4, 3, 3, 3)))
    with use_backend("numpy"):
        gradcheck(lambda x, w: ops.silu(ops.conv2d(x, w, None, 1, 1)), [x, w])
    return "ok: derivatives equal differences"


# A stem, a block without a widening convolution, one that shrinks its images, and one around which they skip.
SMALL = Plan(
    stem=8,
    stages=(
        Stage("mbconv", 1, 3, 1, 8, 8, 1),
        Stage("mbconv", 4, 5, 2, 8, 16, 2),
    ),
    head=32,
    size=32,
    dropout=0.0,
)


def _step(backend: str, whole: bool) -> tuple[float, Array]:
    """Loss and gradients of the first step of a small network, or of one layer and a classifier."""
    with use_backend(backend):
        ops.manual_seed(0)
        model: nn.Module = StagedNet(SMALL, 10)
        if not whole:
            layer = nn.ConvNormAct(3, 8, 1, act=nn.SiLU())
            model = nn.Sequential(layer, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
        cars = SyntheticCars("train", 1, 32)
        transform = train_transform(32)
        images = np.stack([transform(cars[i][0], np.random.default_rng(i)) for i in range(4)])
        place = place_of(model)
        loss = ops.cross_entropy(model(from_numpy(images).to(place)), from_numpy(cars.labels[:4]).to(place))
        loss.backward()
        gradients = np.concatenate([p.grad.cpu().numpy().ravel() for p in model.parameters() if p.grad is not None])
        optim.NAdam(model.parameters(), lr=1e-3).step()
        return loss.item(), gradients


def _compile() -> str:
    """Have everything compiled that training needs, so that the tests have all of it before them."""
    from ..backends.numba.jit import missing, time_compilation

    count = len(missing())
    with time_compilation() as seconds:
        _step("numba", whole=True)
    return f"{count} kernels were missing; compiling took {sum(seconds):.1f} s"


def _backends_agree() -> str:
    """One training step of a small network with each; of less where Numba would first have to compile for long."""
    if "numba" not in available_backends():
        return _agree(whole=True)
    from ..backends.numba.jit import missing, time_compilation
    from ..backends.numba.warm import TRAINING, without_helper

    cold = len(missing())
    with time_compilation() as seconds, without_helper():
        found = _agree(whole=not cold)
    if seconds:
        found += f", {sum(seconds):.1f} s of compiling included"
    if cold:
        found += (
            f"; {cold} of {len(TRAINING)} kernels were not compiled yet and most are not tested: training compiles "
            "them, once, in half a minute of an idle machine, and so does doctor --compile"
        )
    return found


def _agree(whole: bool, names: Sequence[str] = ()) -> str:
    names = names or [name for name in available_backends() if name != "loops"]
    (loss, gradients), *others = [_step(name, whole) for name in names]
    for name, (other_loss, other_gradients) in zip(names[1:], others, strict=True):
        apart = float(np.linalg.norm(other_gradients - gradients) / np.linalg.norm(gradients))
        if not (abs(other_loss - loss) <= 1e-4 * loss and apart <= 1e-3):
            raise ArithmeticError(f"{name} gives loss {other_loss}, NumPy {loss}; gradients are {apart:.1%} apart")
    what = "a small EfficientNet" if whole else "one layer and a classifier"
    return f"ok: a training step of {what} agrees on {', '.join(names)}"


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
