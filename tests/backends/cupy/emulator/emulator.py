"""Kernels in CUDA C++ on the CPU: g++ compiles the very source that a device runs, behind `cuda_on_host.h`."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

HEADER = Path(__file__).with_name("cuda_on_host.h")
FLAGS = ("-O1", "-fPIC", "-shared", "-w", "-ffp-contract=off", "-fno-strict-aliasing", "-U_FORTIFY_SOURCE")

Call = Callable[..., None]


class CompileError(RuntimeError):
    """g++ refused the source; the message is its own."""


class LaunchError(RuntimeError):
    """A launch would fail, or hang, on a device."""


def available() -> bool:
    return shutil.which("g++") is not None


def build(source_text: str, options: Sequence[str], name_expressions: Sequence[str]) -> dict[str, Call]:
    """Compile for the CPU, or take what was compiled before.

    Parameters
    ----------
    source_text
        CUDA C++ that includes nothing.
    options
        NVRTC's options; ``-std=`` and ``-D`` are passed on, the others mean nothing to a C++ compiler.
    name_expressions
        Instances of kernels, such as ``"silu_forward<float, 4>"``.

    Returns
    -------
    dict
        By name expression: ``call(grid, block, args, shared=0, seed=0)``, arguments being NumPy arrays (passed as their
        addresses) and NumPy scalars. ``seed`` chooses the order in which threads run.

    Raises
    ------
    CompileError
        With the compiler's message.
    """
    wrappers = [
        f'extern "C" int run_{i}(const unsigned *grid, const unsigned *block, unsigned shared, void **args, '
        f"const unsigned *sizes, int passed, uint64_t seed, char *text, int room) {{ return emulator::launch({name}, "
        "grid, block, shared, args, sizes, passed, seed, text, room); }"
        for i, name in enumerate(name_expressions)
    ]
    text = f'#include "{HEADER.name}"\n{source_text}\n#line 1 "wrappers"\n' + "\n".join(wrappers)
    flags = (*FLAGS, *[o for o in options if o.startswith(("-std=", "-D"))])
    library = ctypes.CDLL(str(_compiled(text, flags)))
    return {name: _call(getattr(library, f"run_{i}"), name) for i, name in enumerate(name_expressions)}


@cache
def _compiled(text: str, flags: tuple[str, ...]) -> Path:
    key = hashlib.sha256("\0".join([text, HEADER.read_text(), _compiler(), *flags]).encode()).hexdigest()
    target = _cache() / f"{key[:32]}.so"
    if target.exists():
        return target
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made = Path(folder) / "kernels.so"
        command = ["g++", *flags, "-x", "c++", "-", "-o", str(made), f"-I{HEADER.parent}"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CompileError(done.stderr)
        os.replace(made, target)
    return target


@cache
def _compiler() -> str:
    return (
        platform.machine()
        + subprocess.run(["g++", "-dumpfullversion"], capture_output=True, text=True, check=True).stdout
    )


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "tinygrad_effnet-tests" / "emulator"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _call(function: Any, name: str) -> Call:
    def call(grid: Sequence[int], block: Sequence[int], args: Sequence[Any], shared: int = 0, seed: int = 0) -> None:
        held = [np.array(a.ctypes.data, np.uint64) if isinstance(a, np.ndarray) else np.array(a) for a in args]
        addresses = (ctypes.c_void_p * len(args))(*[p.ctypes.data for p in held])
        sizes = (ctypes.c_uint * len(args))(*[p.nbytes for p in held])
        whole = [(ctypes.c_uint * 3)(*s, *[1] * (3 - len(s))) for s in (grid, block)]
        room = ctypes.create_string_buffer(500)
        passed = whole[0], whole[1], ctypes.c_uint(shared), addresses, sizes, len(args), ctypes.c_uint64(seed)
        if function(*passed, room, len(room)):
            raise LaunchError(f"{name}: {room.value.decode()}")

    return call
