"""Compile kernels where there is no GPU and no driver, by NVRTC alone, and say what they need of a device.

Needs the wheels of the extra ``[nvrtc]``: ``nvidia-cuda-nvrtc`` and ``cuda-bindings``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from .instances import instances
from .launch import OPTIONS, KernelCompileError, source

ARCHITECTURES = ("sm_75", "sm_80", "sm_90")  # T4 and RTX 20, A100, H100


class Resources(NamedTuple):
    """What the assembler says of a kernel; all but registers in bytes."""

    registers: int  # of each thread
    shared: int  # of each block, beside what a launch asks for
    stack: int  # of each thread, in memory
    spilled: int  # registers of each thread that had to go to memory, written and read
    access: int  # the widest read of memory


def compiler() -> str:
    """The compiler's name and version."""
    _, major, minor = _nvrtc().nvrtcVersion()
    return f"NVRTC {major}.{minor}"


def compile_family(family: str, dtype: str, architecture: str) -> dict[str, Resources]:
    """Compile every instance of a family for one dtype, to machine code.

    Returns
    -------
    dict
        `Resources` by name expression.

    Raises
    ------
    ImportError
        NVRTC is not installed; the message says how.
    KernelCompileError
        With the compiler's message, or its warning.
    """
    names = [instance.expression for instance in instances(family, dtype)]
    return compile_text(source(family), f"{family}.cu", names, architecture)


def compile_text(text: str, name: str, expressions: Sequence[str], architecture: str) -> dict[str, Resources]:
    """Compile instances of kernels from CUDA C++; see `compile_family`."""
    nvrtc = _nvrtc()
    _, program = nvrtc.nvrtcCreateProgram(text.encode(), name.encode(), 0, [], [])
    try:
        for expression in expressions:
            nvrtc.nvrtcAddNameExpression(program, expression.encode())
        options = [f"--gpu-architecture={architecture}", "--ptxas-options=-v", *OPTIONS]
        (status,) = nvrtc.nvrtcCompileProgram(program, len(options), [option.encode() for option in options])
        _, size = nvrtc.nvrtcGetProgramLogSize(program)
        room = b" " * size
        nvrtc.nvrtcGetProgramLog(program, room)
        log = room.decode().rstrip("\0 \n")
        if status.value or "warning" in log:
            raise KernelCompileError(f"kernels/{name} for {architecture}:\n{log}")
        _, size = nvrtc.nvrtcGetPTXSize(program)
        ptx = b" " * size
        nvrtc.nvrtcGetPTX(program, ptx)
        lowered = [nvrtc.nvrtcGetLoweredName(program, expression.encode())[1] for expression in expressions]
    finally:
        nvrtc.nvrtcDestroyProgram(program)
    found = _resources(log, _widths(ptx.decode()))
    return {e: found[mangled.decode()] for e, mangled in zip(expressions, lowered, strict=True)}


def occupancy(architecture: str, threads: int, registers: int, shared: int) -> float:
    """The share of a multiprocessor's threads that blocks of so many of them can keep there at once.

    ``registers`` are a thread's, ``shared`` bytes a block's. By the tables of the CUDA programming guide ("Technical
    specifications per compute capability"): a multiprocessor has four parts, each with a quarter of the registers,
    which are given out to warps by 256; a block takes 1 KiB of shared memory besides its own from sm_80 on.
    """
    most, blocks, room = _PROCESSORS[architecture]
    of_warp = -(-registers * 32 // 256) * 256
    warps = 4 * (65536 // 4 // of_warp)
    own = shared + (0 if architecture == "sm_75" else 1024)
    together = min(blocks, most // threads, warps // -(-threads // 32), room // own if own else blocks)
    return together * threads / most


# threads and blocks that a multiprocessor keeps at once, and bytes that blocks can share there
_PROCESSORS = {"sm_75": (1024, 16, 65536), "sm_80": (2048, 32, 167936), "sm_90": (2048, 32, 233472)}
_READ = re.compile(r"\bld(?!\.(?:param|shared|local|const))(?:\.[a-z]\w*)*?(?:\.v([248]))?\.[a-z]+(8|16|32|64|128)\b")


def _widths(ptx: str) -> dict[str, int]:
    """The widest read of memory of each kernel, bytes, by mangled name; 0 where it reads none."""
    parts = re.split(r"\.entry (\w+)", ptx)[1:]
    return {
        name: max((int(number or 1) * int(bits) // 8 for number, bits in _READ.findall(text)), default=0)
        for name, text in zip(parts[::2], parts[1::2], strict=True)
    }


def _resources(log: str, widths: dict[str, int]) -> dict[str, Resources]:
    """By mangled name, from what the assembler prints of each kernel."""
    found = {}
    for part in log.split("Compiling entry function '")[1:]:
        stack, stores, loads = map(
            int, re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", part)[0]
        )
        registers = int(re.findall(r"Used (\d+) registers", part)[0])
        shared = sum(map(int, re.findall(r"(\d+) bytes smem", part)))
        name = part.split("'")[0]
        found[name] = Resources(registers, shared, stack, stores + loads, widths.get(name, 0))
    return found


def _nvrtc() -> Any:
    try:
        from cuda.bindings import nvrtc

        nvrtc.nvrtcVersion()
    except (ImportError, RuntimeError) as error:
        raise ImportError(
            f"compiling kernels needs NVRTC, which was not found ({error}): pip install 'tinygrad_effnet[nvrtc]'"
        ) from error
    return nvrtc
