"""What the doctor says of devices, on the stand-in for CuPy and without any."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
from backends.cupy.standin import available, standin_cupy

from tinygrad_effnet.commands import doctor


@pytest.fixture(autouse=True)
def no_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "TESTS", {})


def said(capsys: Any) -> dict[str, str]:
    """The lines by name."""
    return {line[:18].strip(): line[19:] for line in capsys.readouterr().out.splitlines()}


@pytest.mark.skipif(not available(), reason="kernels run on the CPU by way of g++, which is not installed")
def test_devices_are_reported_and_the_current_one_is_tested(capsys: Any) -> None:
    with standin_cupy(memory=3 * 2**30):
        assert doctor.main([]) == 0
    lines = said(capsys)
    facts = "Stand-in, compute capability 9.0, 132 multiprocessors, 3.0 of 3.0 GiB free"
    assert lines["device cuda:0"] == lines["device cuda:1"] == facts
    assert lines["CUDA"] == "driver for CUDA 13.1, CUDA 13.0 in CuPy"
    assert lines["device"].startswith("ok: a training step of a small EfficientNet agrees on numpy, cupy")


def test_a_device_that_computes_nothing_is_found_out(capsys: Any) -> None:
    with standin_cupy(runs_kernels=False):
        assert doctor.main([]) == 1
    assert said(capsys)["device"].startswith("FAILED: ArithmeticError: cupy gives loss")


@pytest.mark.skipif(importlib.util.find_spec("cupy") is not None, reason="CuPy is installed here")
def test_what_is_missing_for_a_device_is_said(capsys: Any) -> None:
    assert doctor.main([]) == 0
    lines = said(capsys)
    assert lines["device"].startswith("none that can be used: a GPU needs CuPy, which is not installed. ")
    assert "CUDA" not in lines
