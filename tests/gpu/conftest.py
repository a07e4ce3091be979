"""Tests that only a device can answer: ``python -m pytest tests/gpu``, on a machine with an NVIDIA GPU and CuPy.

Without one all are skipped, for the reason that the backend gives. ``TINYGRAD_EFFNET_REHEARSE=1`` runs those that the
emulator is quick enough for on the stand-in for CuPy, to see that the tests themselves are sound; it proves nothing of
a device.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from backends.cupy.standin import standin_cupy

from tinygrad_effnet.backends.cupy.availability import NoDeviceError, require_device

REHEARSING = os.environ.get("TINYGRAD_EFFNET_REHEARSE") == "1"


def _reason() -> str | None:
    try:
        require_device("tests/gpu")
    except NoDeviceError as error:
        return str(error)
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = None if REHEARSING else _reason()
    for item in items:
        if "tests/gpu" not in item.path.as_posix():
            continue
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))
        elif REHEARSING and "device_only" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="only a device can show this"))


@pytest.fixture(autouse=True)
def cupy() -> Iterator[Any]:
    """CuPy, with nothing left in its memory pool by the test before."""
    if REHEARSING:
        with standin_cupy() as module:
            yield module
        return
    module = require_device("tests/gpu")
    module.get_default_memory_pool().free_all_blocks()
    yield module
    module.cuda.Device().synchronize()  # a fault of a kernel shows in the test that launched it
