"""Every instance of every kernel that the backend may launch, to be compiled in advance."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from .launch import ITEM_BYTES, STORED, declarations, expression

# what a template's parameters may be, beside the dtype T and WIDTH, which is 1 or what fills 16 bytes
CHOICES: dict[str, tuple[Any, ...]] = {
    "K": (3, 5),
    "S": (1, 2),
    "NORM": (False, True),
    "TEAM": (32, 256),
    "COUNT_PADDING": (False, True),
    "AMSGRAD": (False, True),
    "ADDS": (False, True),
    "MODE": ("PLAIN", "SILU", "ADD"),
    "KIND": ("PLAIN", "MOMENTUM", "NESTEROV"),
}

FAMILIES = (
    "activation",
    "convolution",
    "depthwise",
    "depthwise_any",
    "images",
    "implicit",
    "indexing",
    "inference",
    "loss",
    "normalization",
    "optimiser",
    "pooling",
    "random",
    "squeeze_excite",
)


class Instance(NamedTuple):
    """One instance: the arguments of `launch.kernel`, and the name that C++ gives it."""

    family: str
    name: str
    template_args: tuple[Any, ...]

    @property
    def expression(self) -> str:
        return expression(self.name, self.template_args)


def instances(family: str, dtype: str) -> Iterator[Instance]:
    """Every instance of a family for one dtype that is stored; what is no template counts as of the first."""
    for name, declared in declarations(family).items():
        if not declared.template and dtype != STORED[0]:
            continue
        choices: list[tuple[Any, ...]] = []
        for parameter in declared.template:
            if parameter == "T":
                choices.append((dtype if dtype == "bfloat16" else np.dtype(dtype),))
            elif parameter == "WIDTH":
                choices.append((1, 16 // ITEM_BYTES[dtype]))
            else:
                choices.append(CHOICES[parameter])
        for chosen in product(*choices):
            yield Instance(family, name, chosen)


def all_instances() -> Iterator[Instance]:
    """Every instance of every kernel, for every dtype that is stored."""
    for family in FAMILIES:
        for dtype in STORED:
            yield from instances(family, dtype)
