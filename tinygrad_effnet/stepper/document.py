"""What a page shows, as plain data: steps, values, sources and graph, each thing once."""

from __future__ import annotations

import base64
import hashlib
import math
import platform
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import __version__
from ..backends import current_backend
from . import sources
from .explain import formula_of
from .layout import HEIGHT, WIDTH, levels
from .mathml import statements
from .snapshot import Snapshot
from .steps import FORWARD, PHASES, Operand, Place, Step, Terms
from .updates import largest_gradient, worked_update


class Document:
    """The data of a page, and its formulas as MathML.

    Attributes
    ----------
    data : dict
    formulas : list of str
        By number, as ``data`` refers to them.
    """

    def __init__(self, steps: Sequence[Step], title: str, most: int, start: int = 0) -> None:
        self.most = most
        self.formulas: list[str] = []
        self._texts: dict[str, int] = {}
        self._values: dict[bytes, int] = {}
        self._encoded: dict[int, int] = {}  # by id of a snapshot, which the steps hold
        self._files: dict[str, int] = {}
        self._methods: dict[str, int] = {}
        self.values: list[dict[str, Any]] = []
        self.files: list[dict[str, Any]] = []
        self.methods: list[dict[str, Any]] = []
        self.steps = steps
        made = f"tinygrad_effnet {__version__}, backend {current_backend().name}, Python {platform.python_version()}"
        self.data: dict[str, Any] = {
            "title": title,
            "made": made,
            "start": start,
            "box": [WIDTH, HEIGHT],
            "steps": [self._step(step) for step in steps],
            "levels": levels(steps),
            "values": self.values,
            "files": self.files,
            "methods": self.methods,
            "texts": list(self._texts),
        }

    def _step(self, step: Step) -> dict[str, Any]:
        made: dict[str, Any] = {
            "p": PHASES.index(step.phase),
            "op": step.op,
            "m": step.module,
            "f": self._formula(formula_of(step)),
            "in": [self._operand(operand) for operand in step.inputs],
            "out": [self._operand(operand) for operand in step.outputs],
            "us": _short(step.seconds * 1e6),
            "live": step.live,
            "peak": step.peak,
        }
        optional = {
            "u": step.line and self._line(step.line),
            "l": step.layer and self._line(step.layer),
            "src": self._method(step),
            "of": step.forward,
            "saved": step.saved,
            "flops": step.flops,
            "set": step.settings,
            "inner": step.inner,
            "arr": [
                [[a.step, a.name, self._value(a.value)] for a in arrivals]
                if len(arrivals) > 1 or step.op == "leaf"
                else [[a.step, a.name] for a in arrivals]
                for arrivals in step.arrivals
            ],
            "fd": [[d.name, d.index, d.rule, d.difference, _short(d.h)] for d in step.differences],
            "work": [_terms(terms) for terms in step.worked],
            "up": [[name, number] for name, number in worked_update(step)],
            "nan": step.has_bad,
            "zero": step.has_zero_gradient,
        }
        if optional["up"]:
            made["at"] = largest_gradient(step)
        if step.kind is not None and getattr(step.kind, "kinks", "none") != "none":
            optional["kinks"] = step.kind.kinks
        contract = getattr(step.kind, "contract", None)
        if contract is not None and step.phase == FORWARD:
            axes = [contract.axis_of(i) for i in range(len(step.inputs))]
            optional["axes"] = axes if any(axis is not None for axis in axes) else None
        # most steps lack most of these
        made.update(
            {
                name: value
                for name, value in optional.items()
                if value not in (None, [], {}, False, 0) or (name == "of" and value == 0)
            }
        )
        return made

    def _operand(self, operand: Operand) -> list[Any]:
        return [operand.name, self._value(operand.value), operand.label, operand.step, operand.input]

    def _formula(self, text: str) -> int:
        if text not in self._texts:
            self._texts[text] = len(self.formulas)
            self.formulas.append("".join(statements(text)))
        return self._texts[text]

    def _value(self, value: Snapshot) -> int:
        known = self._encoded.get(id(value))
        if known is not None:
            return known
        kept = value.thinned(self.most)
        array = np.ascontiguousarray(kept.kept)
        if array.dtype.kind == "c":
            array = np.abs(array)
        if array.dtype not in (np.float32, np.float64):
            array = array.astype(np.float32 if array.dtype == np.float16 else np.float64)
        raw = array.astype(array.dtype.newbyteorder("<")).tobytes()
        key = hashlib.blake2b(raw + repr((value.shape, value.dtype, kept.kept.shape)).encode(), digest_size=16).digest()
        if key not in self._values:
            self._values[key] = len(self.values)
            numbers = (value.low, value.high, value.mean, value.std)
            made = {
                "s": value.shape,
                "t": value.dtype,
                "z": [*[_short(n) for n in numbers], value.zeros, value.bad],
                "d": array.itemsize,
                "b": base64.b64encode(raw).decode(),
            }
            if not kept.is_whole:
                made["at"] = [positions.tolist() for positions in kept.positions]
            self.values.append(made)
        self._encoded[id(value)] = self._values[key]
        return self._values[key]

    def _line(self, place: Place) -> list[int]:
        if place.file not in self._files:
            self._files[place.file] = len(self.files)
            self.files.append({"name": sources.shown(place.file), "lines": {}})
        number = self._files[place.file]
        source = sources.around(place)
        if source is not None:
            self.files[number]["lines"].update({source.first + i: text for i, text in enumerate(source.lines)})
        return [number, place.number]

    def _method(self, step: Step) -> int | None:
        key = f"{step.phase} {step.op} {step.kind}"
        if key not in self._methods:
            source = sources.of_step(step)
            if source is None:
                return None
            self._methods[key] = len(self.methods)
            self.methods.append({"name": sources.shown(source.file), "first": source.first, "lines": source.lines})
        return self._methods[key]


def _terms(terms: Terms) -> dict[str, Any]:
    return {
        "n": terms.name,
        "at": terms.index,
        "v": terms.value,
        "f": terms.factors,
        "t": [[list(i), a, list(j), b] for i, a, j, b in terms.terms],
        "c": terms.count,
        "sum": terms.total,
    }


def _short(number: float) -> float | None:
    """Six digits, for what is only looked at; None for what JSON does not know."""
    return float(f"{number:.6g}") if math.isfinite(number) else None
