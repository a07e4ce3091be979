"""Kernels compile for real devices, without one; and the page that says what they need is of these kernels."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tinygrad_effnet.backends.cupy import offline
from tinygrad_effnet.backends.cupy.instances import FAMILIES, instances
from tinygrad_effnet.backends.cupy.launch import KernelCompileError, declarations

DOCS = Path(__file__).parents[3] / "docs"

try:
    offline.compiler()
    missing = ""
except ImportError as error:
    missing = str(error)
needs_nvrtc = pytest.mark.skipif(bool(missing), reason=missing)

LOG = """
ptxas info    : 8 bytes gmem, 16 bytes cmem[4]
ptxas info    : Compiling entry function '_Z1fIfEvv' for 'sm_80'
ptxas info    : Function properties for _Z1fIfEvv
ptxas         .     8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 31 registers, used 1 barriers, 528 bytes smem, 372 bytes cmem[0]
ptxas info    : Compiling entry function '_Z1gv' for 'sm_80'
ptxas info    : Function properties for _Z1gv
ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 8 registers, used 0 barriers, 372 bytes cmem[0]
"""


@pytest.fixture
def table() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_kernel_table", DOCS / "make_kernel_table.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


def test_what_the_assembler_prints_is_understood() -> None:
    assert offline._resources(LOG, {"_Z1fIfEvv": 16}) == {
        "_Z1fIfEvv": offline.Resources(31, 528, 8, 16, 16),
        "_Z1gv": offline.Resources(8, 0, 0, 0, 0),
    }


def test_the_widest_read_is_found() -> None:
    text = """
.visible .entry _Z1fIfEvv(.param .u64 a)
{
ld.param.u64 %rd1, [a];
ld.global.f32 %f1, [%rd2];
ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%rd2];
ld.global.nc.v2.f32 {%f1, %f2}, [%rd2];
}
.visible .entry _Z1gv()
{
ld.global.nc.u16 %rs1, [%rd2];
ld.shared.f64 %fd1, [%r2];
}
.visible .entry _Z1kv() { ld.v4.u32 {%r1, %r2, %r3, %r4}, [%rd2]; }
.visible .entry _Z1hv() { st.global.f32 [%rd1], %f1; }
"""
    assert offline._widths(text) == {"_Z1fIfEvv": 16, "_Z1gv": 2, "_Z1kv": 16, "_Z1hv": 0}


def test_occupancy_is_that_of_the_programming_guide() -> None:
    assert offline.occupancy("sm_90", 256, 32, 0) == 1
    assert offline.occupancy("sm_90", 256, 64, 0) == 0.5
    assert offline.occupancy("sm_90", 256, 80, 0) == 0.375
    assert offline.occupancy("sm_90", 256, 32, 47 * 1024) == 0.5  # 4 blocks of 48 KiB in 228
    assert offline.occupancy("sm_75", 256, 64, 0) == 1
    assert offline.occupancy("sm_75", 32, 16, 0) == 0.5  # 16 blocks at most


def test_the_page_is_of_these_kernels(table: ModuleType) -> None:
    text = table.PAGE.read_text(encoding="utf-8")
    for family in FAMILIES:
        assert f"| **{family}** | `{table.fingerprint(family)}` |" in text, "run python docs/make_kernel_table.py"
        for name in declarations(family):
            assert re.search(rf"^\| `{family}/{name}` \| \d+ \|", text, re.MULTILINE), (
                f"{name}: run docs/make_kernel_table.py"
            )


@needs_nvrtc
@pytest.mark.parametrize("family", [f for f in FAMILIES if f != "depthwise"])
def test_families_compile_for_the_oldest_device(family: str) -> None:
    """For float32 on T4; `docs/make_kernel_table.py --check` compiles for every dtype and device, and takes minutes."""
    found = offline.compile_family(family, "float32", "sm_75")
    assert set(found) == {i.expression for i in instances(family, "float32")}
    for name, resources in found.items():
        assert resources.spilled == resources.stack == 0, name
        assert resources.registers <= 64, f"{name}: fewer than 1024 threads fit a multiprocessor"


@needs_nvrtc
def test_the_compilers_message_is_passed_on() -> None:
    with pytest.raises(KernelCompileError, match=r'kernels/f.cu for sm_90:\n(.|\n)*identifier "nonsense" is undefined'):
        offline.compile_text("__global__ void f() { nonsense(); }", "f.cu", ["f"], "sm_90")
