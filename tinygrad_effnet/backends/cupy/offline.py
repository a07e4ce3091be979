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
        lowered = [nvrtc.nvrtcGetLoweredName(program, expression.encode())[1] for expression in expressions]
    finally:
        nvrtc.nvrtcDestroyProgram(program)
    found = _resources(log)
    return {e: found[mangled.decode()] for e, mangled in zip(expressions, lowered, strict=True)}


def _resources(log: str) -> dict[str, Resources]:
    """By mangled name, from what the assembler prints of each kernel."""
    found = {}
    for part in log.split("Compiling entry function '")[1:]:
        stack, stores, loads = map(
            int, re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", part)[0]
        )
        registers = int(re.findall(r"Used (\d+) registers", part)[0])
        shared = sum(map(int, re.findall(r"(\d+) bytes smem", part)))
        found[part.split("'")[0]] = Resources(registers, shared, stack, stores + loads)
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
