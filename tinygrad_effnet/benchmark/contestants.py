"""Who takes part, and what each of them needs."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Sequence
from typing import Any, NamedTuple

from .settings import TASKS


class Contestant(NamedTuple):
    """One way to run the workload.

    Attributes
    ----------
    name : str
        For tables, and for ``--only``.
    kind : "ours", "torch" or "onnxruntime"
        Which file prepares it.
    options : dict
        Arguments of that file's ``prepare``.
    tasks : tuple of str
    needs : tuple of str
        Packages, all of which must be installed.
    """

    name: str
    kind: str
    options: dict[str, Any]
    tasks: tuple[str, ...] = TASKS
    needs: tuple[str, ...] = ()

    def missing(self) -> str:
        """Why it cannot take part here; empty where it can."""
        absent = [package for package in self.needs if importlib.util.find_spec(package) is None]
        if absent:
            return f"not installed: {', '.join(absent)}"
        if self.options.get("compiled") and not any(map(shutil.which, ("c++", "g++", "clang++"))):
            return "torch.compile needs a C++ compiler, and none is on the path"
        return ""


CONTESTANTS = (
    Contestant("numba", "ours", {"backend": "numba"}, needs=("numba",)),
    Contestant("numba unfused", "ours", {"backend": "numba", "fused": False}, needs=("numba",)),
    Contestant("numpy", "ours", {"backend": "numpy"}),
    Contestant("torch", "torch", {"channels_last": False, "compiled": False}, needs=("torch",)),
    Contestant("torch channels_last", "torch", {"channels_last": True, "compiled": False}, needs=("torch",)),
    Contestant("torch compiled", "torch", {"channels_last": False, "compiled": True}, needs=("torch",)),
    Contestant("torch compiled channels_last", "torch", {"channels_last": True, "compiled": True}, needs=("torch",)),
    Contestant("onnxruntime", "onnxruntime", {}, ("inference",), ("onnxruntime", "torch", "onnxscript")),
)


def choose(names: Sequence[str] | None, compiled: bool = False) -> list[Contestant]:
    """The contestants of these names, in the table's order; where there are no names all, compiled ones only if wanted.

    Raises
    ------
    ValueError
        There is no such contestant.
    """
    if names is None:
        return [contestant for contestant in CONTESTANTS if compiled or not contestant.options.get("compiled")]
    return named(CONTESTANTS, names)


def named(among: Sequence[Contestant], names: Sequence[str], where: str = "") -> list[Contestant]:
    """Those of these names, in the table's order; ValueError as of `choose`, with ``where`` there is none."""
    known = [contestant.name for contestant in among]
    for name in names:
        if name not in known:
            raise ValueError(f"--only {name!r}: there is no such contestant{where}; there are {', '.join(known)}")
    return [contestant for contestant in among if contestant.name in names]
