"""From a name to a running kernel: compile what is asked for, check every argument, launch.

A raw kernel looks at addresses only. It does not know that an array is transposed, lies on another device, holds other
numbers or has more entries than an `int` can count; each of these would be a wrong result or a crash somewhere else. So
the declaration in the source is read, and a launch is compared with it first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

FOLDER = Path(__file__).parent / "kernels"
OPTIONS = ("-std=c++17", "-lineinfo")
LARGEST_WHOLE = 2**31 - 1  # what an int holds
LARGEST_INDEX = 2**31 - 2**25  # kernels count with int, and a step of the largest grid beyond an array's end must fit
MOST_THREADS = 1024
MOST_BLOCKS = (2**31 - 1, 65535, 65535)
MOST_SHARED = 48 * 1024  # bytes that a block may have on any device without asking for more

# numbers as the kernels call them
C_NAMES = {
    "float32": "float",
    "float64": "double",
    "float16": "float16",
    "bfloat16": "bfloat16",
    "uint8": "unsigned char",
    "int32": "int",
    "int64": "long long",
    "uint64": "unsigned long long",
}
DTYPE_NAMES = {c: name for name, c in C_NAMES.items()}
ITEM_BYTES = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2}
STORED = ("float32", "float64", "float16", "bfloat16")  # what arrays of images and weights may hold

NULL = np.uint64(0)  # an address for "no array"

Argument = Any  # an array on the device, a number, or None for no array


class KernelCompileError(RuntimeError):
    """The compiler refused a kernel; the message has what it said."""


class Parameter:
    """One parameter of a kernel's declaration."""

    def __init__(self, name: str, dtype: str, is_array: bool, alignment: int) -> None:
        self.name = name
        self.dtype = dtype  # of the array's entries or of the number
        self.is_array = is_array
        self.alignment = alignment  # bytes of which the array's address is a multiple
        self.is_whole = dtype == "int32"
        self.number: Any = None if dtype == "bfloat16" else np.dtype(dtype).type
        self._dtype = None if dtype == "bfloat16" else np.dtype(dtype)

    def holds(self, dtype: Any) -> bool:
        """Whether an array's entries are of the kind that the kernel expects."""
        return bool(dtype == self._dtype) if self._dtype is not None else dtype.name == self.dtype


class Declaration(NamedTuple):
    """What a kernel's source says of it."""

    template: tuple[str, ...]  # names of its template's parameters
    parameters: tuple[tuple[str, str], ...]  # (C type, name) of each parameter


# -- the source --------------------------------------------------------------------------------------------------------


@cache
def source(family: str) -> str:
    """The text that is compiled: what all kernels share, then the family's, with lines numbered as in the files."""
    parts = []
    for name in (*_included(family), f"{family}.cu"):
        text = (FOLDER / name).read_text(encoding="utf-8")
        parts.append(f'#line 1 "{name}"\n' + re.sub(r'^#include "', '// #include "', text, flags=re.MULTILINE))
    return "\n".join(parts)


def _included(family: str) -> list[str]:
    """Our headers in the order in which they are needed. They are put in as text: CuPy's cache of compiled kernels
    looks at the text, and would not notice that a file has changed."""
    text = (FOLDER / f"{family}.cu").read_text(encoding="utf-8")
    return ["common.cuh", *re.findall(r'^#include "(.+)"', text, flags=re.MULTILINE)]


@cache
def declarations(family: str) -> dict[str, Declaration]:
    """Every kernel of a family by name."""
    found = {}
    pattern = r"(?:template <([^>]*)>\s*)?__global__ void\s+(?:__launch_bounds__\(\w+\)\s+)?(\w+)\(([^)]*)\)"
    for template, name, parameters in re.findall(pattern, source(family)):
        pairs = [re.fullmatch(r"(.*?)(\w+)", " ".join(p.split())) for p in parameters.split(",")]
        found[name] = Declaration(
            tuple(word.split()[-1] for word in template.split(",") if word.strip()),
            tuple((p[1].replace("const ", "").strip(), p[2]) for p in pairs if p),
        )
    return found


def expression(name: str, template_args: Sequence[Any]) -> str:
    """The instance of a template as C++ writes it: ``silu_forward<float, 4>``."""
    words = [str(a).lower() if isinstance(a, bool) else C_NAMES.get(_dtype_name(a), str(a)) for a in template_args]
    return f"{name}<{', '.join(words)}>" if words else name


def _dtype_name(word: Any) -> str:
    return word.name if isinstance(word, np.dtype) else np.dtype(word).name if isinstance(word, type) else str(word)


# -- a kernel ----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=None, typed=True)
def kernel(family: str, name: str, *template_args: Any) -> Kernel:
    """The kernel ``name`` of ``kernels/<family>.cu``, for these template arguments: dtypes, ints and bools.

    Raises
    ------
    LookupError
        The family has no such kernel.
    TypeError
        The number of template arguments differs from the declaration's, or a dtype has no kernels.
    """
    return Kernel(family, name, template_args)


class Kernel:
    """One instance of a kernel, compiled for a device when it is first launched there.

    ``Kernel(grid, block, args, shared)``: blocks, threads in each, arguments, and bytes of memory that its
    threads share. An argument is a `cupy.ndarray`, a number, or None where the kernel takes an array and there is none.
    """

    def __init__(self, family: str, name: str, template_args: tuple[Any, ...]) -> None:
        known = declarations(family)
        if name not in known:
            raise LookupError(f"kernels/{family}.cu has no kernel {name!r}; it has {', '.join(known)}")
        declared = known[name]
        if len(template_args) != len(declared.template):
            raise TypeError(
                f"kernel {name!r} of {family}.cu takes template arguments {declared.template}, got {template_args}"
            )
        chosen = dict(zip(declared.template, template_args, strict=True))
        if "T" in chosen and _dtype_name(chosen["T"]) not in STORED:
            raise TypeError(f"kernel {name!r} of {family}.cu: no kernel for {chosen['T']}; expected one of {STORED}")
        self.family, self.expression = family, expression(name, template_args)
        self.parameters = [_parameter(c_type, name, chosen) for c_type, name in declared.parameters]
        self._functions: dict[int, Any] = {}

    def __call__(self, grid: Sequence[int], block: Sequence[int], args: Sequence[Argument], shared: int = 0) -> None:
        """Check and launch; nothing is launched where there are no blocks.

        Raises
        ------
        TypeError, ValueError
            An argument is not what the declaration says, or the launch is more than a device can do.
        KernelCompileError
            The kernel does not compile.
        """
        import cupy

        device = cupy.cuda.Device().id
        if len(args) != len(self.parameters):
            names = ", ".join(p.name for p in self.parameters)
            raise TypeError(f"kernel {self.expression}: got {len(args)} arguments, expected {names}")
        passed = [
            self._array(p, value, cupy.ndarray, device) if p.is_array else self._number(p, value)
            for p, value in zip(self.parameters, args, strict=True)
        ]
        self._check_launch(grid, block, shared)
        if 0 in grid:
            return
        function = self._functions.get(device)
        if function is None:
            function = self._functions[device] = self._compiled(cupy)
        function(tuple(grid), tuple(block), tuple(passed), shared_mem=shared)

    def _compiled(self, cupy: Any) -> Any:
        try:
            module = cupy.RawModule(code=source(self.family), options=OPTIONS, name_expressions=(self.expression,))
            return module.get_function(self.expression)
        except cupy.cuda.compiler.CompileException as error:
            raise KernelCompileError(
                f"kernel {self.expression} of kernels/{self.family}.cu does not compile:\n{error}"
            ) from error

    def _array(self, parameter: Parameter, value: Argument, array_type: Any, device: int) -> Any:
        """The array as it is passed on. This runs hundreds of times a step, so what is well is found out first."""
        if value is None:
            return NULL
        if not (
            isinstance(value, array_type)
            and parameter.holds(value.dtype)
            and value.flags.c_contiguous
            and value.size <= LARGEST_INDEX
            and value.device.id == device
            and value.data.ptr % parameter.alignment == 0
        ):
            self._refuse(parameter, value, array_type, device)
        return value

    def _refuse(self, parameter: Parameter, value: Argument, array_type: Any, device: int) -> None:
        """Raise what is wrong with an array."""
        says = f"kernel {self.expression}, argument {parameter.name}:"
        if not isinstance(value, array_type):
            raise TypeError(
                f"{says} got a {type(value).__name__}, expected an array on the device (cupy.ndarray); move it there "
                "with cupy.asarray"
            )
        if not parameter.holds(value.dtype):
            raise TypeError(
                f"{says} got {value.dtype} of shape {value.shape}, expected {parameter.dtype}; convert it with astype"
            )
        if not value.flags.c_contiguous:
            raise ValueError(
                f"{says} an array of shape {value.shape} has strides {value.strides}, expected a C-contiguous one; "
                "copy it with cupy.ascontiguousarray"
            )
        if value.size > LARGEST_INDEX:
            raise ValueError(
                f"{says} {value.size} entries (shape {value.shape}) are more than the {LARGEST_INDEX} that kernels can "
                "index; compute on a smaller batch"
            )
        if value.device.id != device:
            raise ValueError(
                f"{says} it lies on device {value.device.id}, but the current device is {device}; compute inside "
                f"`with cupy.cuda.Device({value.device.id}):`, or move it"
            )
        raise ValueError(
            f"{says} its address is no multiple of {parameter.alignment} bytes; take the kernel of WIDTH 1"
        )

    def _number(self, parameter: Parameter, value: Any) -> Any:
        """The number as it is passed on."""
        if parameter.is_whole and not (-LARGEST_WHOLE <= value <= LARGEST_WHOLE and value == int(value)):
            raise ValueError(
                f"kernel {self.expression}, argument {parameter.name}: got {value}, expected a whole number that fits "
                f"{parameter.dtype}; compute on a smaller batch"
            )
        return parameter.number(value)

    def _check_launch(self, grid: Sequence[int], block: Sequence[int], shared: int) -> None:
        threads = math.prod(block)
        if not 0 < threads <= MOST_THREADS or (len(block) == 3 and block[2] > 64):
            raise ValueError(
                f"kernel {self.expression}: a block of {tuple(block)} threads; expected 1 to {MOST_THREADS}"
            )
        if any(not 0 <= blocks <= most for blocks, most in zip(grid, MOST_BLOCKS, strict=False)):
            raise ValueError(
                f"kernel {self.expression}: a grid of {tuple(grid)} blocks; a device does {MOST_BLOCKS} at most, so "
                "compute on fewer channels or a smaller batch"
            )
        if not 0 <= shared <= MOST_SHARED:
            raise ValueError(
                f"kernel {self.expression}: {shared} bytes of shared memory a block; every device has {MOST_SHARED}"
            )


def _parameter(c_type: str, name: str, chosen: dict[str, Any]) -> Parameter:
    """A declared parameter, with the template's types put in."""
    word = c_type.rstrip("*").strip()
    stored = _dtype_name(chosen.get("T", "float32"))
    dtype = stored if word == "T" else wide(stored) if word == "Wide<T>" else DTYPE_NAMES[word]
    # an array of T is read WIDTH numbers at a time
    alignment = chosen.get("WIDTH", 1) * ITEM_BYTES[stored] if word == "T" else 1
    return Parameter(name, dtype, c_type.endswith("*"), alignment)


def wide(dtype_name: str) -> str:
    """The dtype that kernels compute with where ``dtype_name`` is stored."""
    return "float64" if dtype_name == "float64" else "float32"


@cache
def computing(dtype: Any) -> Any:
    """`wide` of a dtype: the name of one is slow to make."""
    return np.dtype(wide(dtype.name))
