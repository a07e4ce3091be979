"""What is checked before a launch, and how sources are put together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from backends.cupy.emulator import device
from backends.cupy.emulator.device import asarray, empty, kernel_device

from tinygrad_effnet.backends.cupy import launch
from tinygrad_effnet.backends.cupy.instances import FAMILIES, all_instances


def silu(**change: Any) -> None:
    """Launch silu_forward<float, 4> on 8 numbers, with some of it changed."""
    usual = {"x": empty(8, "float32"), "y": empty(8, "float32"), "n": 8, "grid": (1,), "block": (32,), "shared": 0}
    use = {**usual, **change}
    run = launch.kernel("activation", "silu_forward", np.dtype(np.float32), 4)
    run(use["grid"], use["block"], (use["x"], use["y"], use["n"]), use["shared"])


WRONG = {
    "a host array": (
        {"x": np.zeros(8, np.float32)},
        TypeError,
        "argument x: got a ndarray, expected an array on the device",
    ),
    "a number": ({"x": 3.0}, TypeError, "argument x: got a float, expected an array on the device"),
    "another dtype": ({"y": "float64"}, TypeError, r"argument y: got float64 of shape \(8,\), expected float32"),
    "strides": (
        {"x": "stepped"},
        ValueError,
        r"argument x: an array of shape \(8,\) has strides \(8,\), expected a C-con",
    ),
    "an odd address": ({"x": "odd"}, ValueError, "argument x: its address is no multiple of 16 bytes"),
    "no whole number": ({"n": 2.5}, ValueError, "argument n: got 2.5, expected a whole number that fits int32"),
    "a large number": ({"n": 2**31}, ValueError, "argument n: got 2147483648, expected a whole number that fits int32"),
    "too many threads": ({"block": (2048,)}, ValueError, r"a block of \(2048,\) threads; expected 1 to 1024"),
    "too many blocks": ({"grid": (1, 70000)}, ValueError, r"a grid of \(1, 70000\) blocks; a device does"),
    "too much shared": ({"shared": 50_000}, ValueError, "50000 bytes of shared memory a block; every device has 49152"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_mistakes_are_named_before_the_launch(mistake: str) -> None:
    change, error, words = WRONG[mistake]
    with kernel_device():
        made = {
            "float64": empty(8, "float64"),
            "stepped": empty(16, "float32")[::2],
            "odd": empty(9, "float32")[1:],
        }
        change = {k: made.get(v, v) if isinstance(v, str) else v for k, v in change.items()}
        with pytest.raises(error, match=r"kernel silu_forward<float, 4>.*" + words):
            silu(**change)


def test_an_array_on_another_device(monkeypatch: pytest.MonkeyPatch) -> None:
    with kernel_device():
        x = empty(8, "float32")
        monkeypatch.setattr(device.ndarray, "device", device.Device(1))
        with pytest.raises(ValueError, match="argument x: it lies on device 1, but the current device is 0"):
            silu(x=x)


def test_an_array_that_an_int_cannot_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "LARGEST_INDEX", 7)
    with (
        kernel_device(),
        pytest.raises(ValueError, match=r"argument x: 8 entries \(shape \(8,\)\) are more than the 7"),
    ):
        silu()


def test_no_blocks_no_launch() -> None:
    with kernel_device():
        y = empty(8, "float32")
        silu(y=y, grid=(0,))
        assert np.isnan(y).all()


def test_the_wrong_number_of_arguments() -> None:
    with kernel_device(), pytest.raises(TypeError, match="got 1 arguments, expected x, y, n"):
        launch.kernel("activation", "silu_forward", np.dtype(np.float32), 1)((1,), (32,), (3,))


def test_kernels_that_are_not_there() -> None:
    with pytest.raises(LookupError, match=r"activation.cu has no kernel 'gelu'; it has sigmoid_forward, silu_forward"):
        launch.kernel("activation", "gelu", np.dtype(np.float32), 1)
    with pytest.raises(TypeError, match=r"takes template arguments \('T', 'WIDTH'\), got"):
        launch.kernel("activation", "silu_forward", np.dtype(np.float32))
    with pytest.raises(TypeError, match="no kernel for int32; expected one of"):
        launch.kernel("activation", "silu_forward", np.dtype(np.int32), 1)


def test_the_compilers_message_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = launch.source("activation").replace("return x * sigmoid(x);", "return x * sigmoid(y);")
    with kernel_device():
        kernel = launch.kernel("activation", "silu_forward", np.dtype(np.float32), 1)
        monkeypatch.setattr(launch, "source", lambda family: broken)
        x = empty(8, "float32")
        with pytest.raises(launch.KernelCompileError) as caught:
            kernel((1,), (32,), (x, x, 8))
    message = str(caught.value)
    assert message.startswith("kernel silu_forward<float, 1> of kernels/activation.cu does not compile:\n")
    line = 1 + (launch.FOLDER / "common.cuh").read_text().split("return x * sigmoid(x);")[0].count("\n")
    assert f"common.cuh:{line}" in message  # lines as in the file, not as in the text that is compiled


def test_none_is_a_null_pointer() -> None:
    """Where the kernel takes an array that there may be none of."""
    with kernel_device():
        x = asarray(np.ones((1, 8), np.float32))
        ones, y = asarray(np.ones(1, np.float32)), empty((1, 8), "float32")
        run = launch.kernel("normalization", "normalise", x.dtype, 1, "ADD")
        run((1, 1), (32,), (x, 8, 8, ones, ones, 0.0, None, None, 8, x, ones, ones, y))
        np.testing.assert_array_equal(y, np.full((1, 8), 2))  # (1 - 1) * 1 + 1, times no mask, plus 1


def test_every_file_is_a_family_and_every_kernel_is_declared() -> None:
    files = {path.stem for path in launch.FOLDER.glob("*.cu")}
    assert files == set(FAMILIES)
    for family in FAMILIES:
        text = (launch.FOLDER / f"{family}.cu").read_text()
        assert len(launch.declarations(family)) == text.count("__global__") > 0
    assert len({(i.family, i.expression) for i in all_instances()}) > 300


def test_sources_include_nothing_of_cuda() -> None:
    """NVRTC then needs no headers to be installed."""
    for path in Path(launch.FOLDER).iterdir():
        included = [line for line in path.read_text().splitlines() if line.startswith("#include")]
        assert all((launch.FOLDER / line.split('"')[1]).is_file() for line in included)
