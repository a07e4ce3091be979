"""What the tests of ONNX files share: export, run in ONNX Runtime, compare with ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

import tinygrad_effnet as tg
from tinygrad_effnet import nn, weights

SETTLED = 12  # images


def runtime(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run_file(path: Path, x: np.ndarray) -> list[np.ndarray]:
    return runtime(path).run(None, {"input": x})


def run_ours(model: nn.Module, x: np.ndarray) -> list[np.ndarray]:
    with tg.no_grad(), tg.use_backend("numpy"):
        y = model.eval()(tg.Tensor(x))
    return [t.numpy() for t in (y if isinstance(y, list | tuple) else [y])]


def images(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def settled(model: Any, size: int = 64) -> Any:
    """Running statistics of the images that `agrees` takes, so that numbers neither grow nor vanish on their way
    through a network and rounding stays rounding.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    rng = np.random.default_rng(1)
    for norm in norms:
        norm.momentum = 1.0
        norm.weight.array[...] = rng.uniform(0.8, 1.2, norm.weight.shape)
        norm.bias.array[...] = rng.uniform(-0.2, 0.2, norm.bias.shape)
    with tg.no_grad(), tg.use_backend("numpy"):
        model.train()(tg.Tensor(images(SETTLED, 3, size, size)))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model


def agrees(model: nn.Module, folder: Path, *shape: int, batches: tuple[int, ...] = (1, 5), **settings: Any) -> Path:
    """Export for inputs of this shape without the batch, and compare; returns the file."""
    path = folder / "model.onnx"
    weights.export_onnx(model, path, (1, *shape), **settings)
    for n in batches:
        x = images(SETTLED, *shape)[:n]
        expected = run_ours(model, x)
        found = run_file(path, x)
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    return path
