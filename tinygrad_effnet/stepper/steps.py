"""Step: one thing that the engine did, with the numbers that went in and came out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .snapshot import Snapshot

FORWARD, BACKWARD, UPDATE = "forward", "backward", "update"
PHASES = FORWARD, BACKWARD, UPDATE


class Place(NamedTuple):
    """A line of source code."""

    file: str
    number: int


@dataclass
class Operand:
    """A value that a step was given, or gave.

    Attributes
    ----------
    name : str
        What the operation's formula calls it: x, w, ȳ.
    value : Snapshot
    label : str
        What the user calls it: a variable, a parameter of the module; or which step made it.
    step : int or None
        The step that made it.
    output : int
        Which of that step's outputs it is.
    input : int or None
        Of a contribution that a step back gives, for which of the operation's inputs.
    """

    name: str
    value: Snapshot
    label: str = ""
    step: int | None = None
    output: int = 0
    input: int | None = None


@dataclass
class Arrival:
    """One contribution to a gradient: from which step, for which of its inputs, and how much."""

    step: int | None  # None: where the walk began
    name: str
    value: Snapshot


@dataclass
class Difference:
    """A gradient by the rule and by a central difference in float64, for one entry of one input.

    The scalar that is differentiated is Σ ȳ · y over the entries of this operation's result, at the ȳ that arrived.
    """

    name: str
    index: tuple[int, ...]
    rule: float
    difference: float
    h: float


@dataclass(frozen=True)
class Terms:
    """One entry of a result as a sum of products.

    Attributes
    ----------
    name, index, value
        Which entry of which output, and what the engine computed.
    factors : (str, str)
        What the two factors are called.
    terms : list of (index, number, index, number)
        The first of them.
    count : int
        How many there are in all; the zeros of a border are none.
    total : float
        All of them, added up in float64.
    """

    name: str
    index: tuple[int, ...]
    value: float
    factors: tuple[str, str]
    terms: list[tuple[tuple[int, ...], float, tuple[int, ...], float]]
    count: int
    total: float


@dataclass
class Step:
    """One use of an operation, of its rule, or of an optimiser's update for one parameter.

    Attributes
    ----------
    index : int
    phase : "forward", "backward" or "update"
    op : str
        Name of the operation or the optimiser; "leaf" where a gradient comes to rest.
    module : str
        Dotted path of the module that was being called; empty outside of all.
    kind : type or None
        The class of the operation or of the optimiser, which has the formula, the rule and their source.
    line, layer : Place or None
        The user's line; and, where a module of this package stands between, the line of that module.
    inputs, outputs : list of Operand
        In the backward phase, gradients of the results in, contributions to gradients of the inputs out.
    saved : list of (str, int)
        What is held for the backward pass, and its bytes.
    seconds : float
        For the forward, the rule or the update alone.
    live, peak : int
        Bytes of results that were alive after the step, and the most while it ran.
    flops : int
    settings : dict
        What the operation, or the optimiser, was made with.
    forward : int or None
        Of a step back, the step forward whose rule it is.
    arrivals : list of list of Arrival
        For each gradient that came in, what it was added up from, in order.
    inner : list of str
        The operations that the rule ran.
    differences : list of Difference
    worked : list of Terms
        For convolutions and matrix products, the sum behind the largest kept entry of each output.
    again : callable or None
        Computes the outputs anew from the inputs, for `Run.replay`.
    """

    index: int
    phase: str
    op: str
    module: str = ""
    kind: type[Any] | None = None
    line: Place | None = None
    layer: Place | None = None
    inputs: list[Operand] = field(default_factory=list)
    outputs: list[Operand] = field(default_factory=list)
    saved: list[tuple[str, int]] = field(default_factory=list)
    seconds: float = 0.0
    live: int = 0
    peak: int = 0
    flops: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    forward: int | None = None
    arrivals: list[list[Arrival]] = field(default_factory=list)
    inner: list[str] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    worked: list[Terms] = field(default_factory=list)
    again: Callable[[], list[Any]] | None = None

    @property
    def saved_bytes(self) -> int:
        return sum(nbytes for _, nbytes in self.saved)

    @property
    def has_bad(self) -> bool:
        """Whether a NaN or an infinity came out."""
        return any(operand.value.bad for operand in self.outputs)

    @property
    def has_zero_gradient(self) -> bool:
        """Whether a gradient of zeros alone came out of a step back."""
        return self.phase == BACKWARD and any(
            operand.value.zeros and operand.value.low == operand.value.high == 0 for operand in self.outputs
        )
