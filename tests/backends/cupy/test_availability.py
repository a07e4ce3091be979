"""What a machine without CuPy, a driver or a device is told."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

import tinygrad_effnet as tg
from tinygrad_effnet import backends
from tinygrad_effnet.backends.cupy import availability


@pytest.fixture(autouse=True)
def nothing_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(backends._made, "cupy", raising=False)


def installed(monkeypatch: pytest.MonkeyPatch, count: object) -> None:
    """A CuPy that sees so many devices, or raises that error."""

    def count_devices() -> object:
        if isinstance(count, Exception):
            raise count
        return count

    runtime = SimpleNamespace(getDeviceCount=count_devices)
    cupy = SimpleNamespace(__version__="14.2.0", cuda=SimpleNamespace(runtime=runtime))
    monkeypatch.setitem(sys.modules, "cupy", cupy)


@pytest.mark.parametrize(
    ("driver", "words"),
    [
        (None, r'No NVIDIA driver was found .*pip install "tinygrad_effnet\[cuda12\]" suits .*\[cuda13\]" those for'),
        (12040, r'The driver here is one for CUDA 12\.4: pip install "tinygrad_effnet\[cuda12\]"$'),
        (13000, r'The driver here is one for CUDA 13\.0: pip install "tinygrad_effnet\[cuda13\]"$'),
    ],
)
def test_without_cupy_the_extra_for_the_driver_is_named(
    monkeypatch: pytest.MonkeyPatch, driver: int | None, words: str
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)  # what `import` refuses
    monkeypatch.setattr(availability, "driver_version", lambda: driver)
    with pytest.raises(ImportError, match=r"^use_backend\('cupy'\) needs CuPy, which is .*" + words):
        tg.use_backend("cupy")
    with pytest.raises(ImportError, match=r"^to\('cuda'\) needs CuPy"):
        tg.Tensor([1.0]).to("cupy")


def test_without_a_driver_what_cupy_said_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, RuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient"))
    monkeypatch.setattr(availability, "driver_version", lambda: None)
    with pytest.raises(ImportError, match=r"CuPy 14\.2\.0 is installed, but finds no device: cudaErr.*no NVIDIA"):
        tg.use_backend("cupy")


def test_an_old_driver_is_told_from_none(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, RuntimeError("cudaErrorInsufficientDriver"))
    monkeypatch.setattr(availability, "driver_version", lambda: 12020)
    with pytest.raises(ImportError, match=r"This machine has a driver for CUDA 12\.2\..*\[cuda12\]"):
        tg.use_backend("cupy")


def test_a_machine_that_hides_its_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, 0)
    with pytest.raises(ImportError, match=r"show no device; CUDA_VISIBLE_DEVICES may hide it"):
        tg.use_backend("cupy")


def test_a_refused_backend_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, 0)
    before = tg.current_backend()
    with pytest.raises(ImportError):
        tg.use_backend("cupy")
    assert tg.current_backend() is before
    assert tg.Tensor([1.0]).device == "cpu"
