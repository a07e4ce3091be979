"""Benchmark on a GPU: PyTorch's and ONNX Runtime's workloads, here on the CPU, which their files allow for tests."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from tinygrad_effnet import from_numpy, no_grad
from tinygrad_effnet.benchmark import ours
from tinygrad_effnet.benchmark.gpu import entrants
from tinygrad_effnet.benchmark.gpu.worker import _block
from tinygrad_effnet.benchmark.settings import Settings

TINY = Settings("b0", 32, 2, 1, 5)
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")


@needs_torch
@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16", "float16"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_pytorch_trains_in_every_precision(precision, channels_last):
    from tinygrad_effnet.benchmark.gpu import pytorch

    workload = pytorch.prepare(TINY, "training", precision, channels_last=channels_last, compiled=False, device="cpu")
    workload.wake()
    losses = [workload.read(workload.step()) for _ in range(3)]
    assert len(set(losses)) == 3
    assert np.isfinite(losses).all()
    assert _block(workload, 1) > 0
    assert workload.held() == 0  # of a card
    workload.rest()
    assert workload.images is None


@needs_torch
def test_pytorch_is_used_in_sixteen_bits_as_in_float32():
    from tinygrad_effnet.benchmark.gpu import pytorch

    said = {}
    for precision in ("float32", "bfloat16"):
        workload = pytorch.prepare(TINY, "inference", precision, channels_last=True, compiled=False, device="cpu")
        workload.wake()
        said[precision] = workload.step().float().numpy()
    with no_grad():
        expected = ours.build(TINY).eval()(from_numpy(TINY.images())).numpy()
    np.testing.assert_allclose(said["float32"], expected, rtol=1e-3, atol=1e-5)
    assert np.abs(said["bfloat16"] - expected).max() < 0.1 * np.abs(expected).max()


@needs_torch
def test_a_pytorch_without_cuda_says_so():
    import torch

    from tinygrad_effnet.benchmark.gpu import pytorch

    if torch.cuda.is_available():
        pytest.skip("this one has it")
    with pytest.raises(RuntimeError, match="sees no GPU; install one that is built for CUDA"):
        pytorch.prepare(TINY, "training", "tf32", channels_last=False, compiled=False)


@pytest.mark.slow
@pytest.mark.skipif(bool(entrants.choose(["onnxruntime"])[0].missing()), reason="ONNX Runtime is not installed")
def test_onnx_runtime_computes_the_same():
    from tinygrad_effnet.benchmark.gpu import onnx_runtime

    workload = onnx_runtime.prepare(TINY, "inference", "float32", device="cpu")
    workload.wake()
    said = workload.read(workload.step())
    workload.wait()
    with no_grad():
        expected = ours.build(TINY).eval()(from_numpy(TINY.images())).numpy()
    assert said == pytest.approx(expected[0, 0], rel=1e-3, abs=1e-4)
    workload.rest()
    with pytest.raises(RuntimeError, match="install onnxruntime-gpu"):
        onnx_runtime.prepare(TINY, "inference", "float32")
