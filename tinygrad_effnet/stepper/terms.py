"""The sum of products behind one entry of a convolution or of a matrix product, forward and backward.

A window is turned round for the gradients: ȳ at a pixel goes to every pixel that was under the window there.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..backends import Window
from .snapshot import Snapshot
from .steps import BACKWARD, FORWARD, Operand, Step

Index = tuple[int, ...]
Pairs = Iterator[tuple[Index, Index]]  # indices of the two factors
MOST = 5000  # terms that are looked at


@dataclass(frozen=True)
class Terms:
    """One entry as a sum of products.

    Attributes
    ----------
    name, index, value
        Which entry of which output, and what the engine computed.
    factors : (str, str)
        What the two factors are called.
    terms : list of (index, number, index, number)
    count : int
        How many there are in all; zeros of the border are none.
    """

    name: str
    index: Index
    value: float
    factors: tuple[str, str]
    terms: list[tuple[Index, float, Index, float]]
    count: int


def terms_of(steps: Sequence[Step], step: Step, index: Index | None = None) -> list[Terms]:
    """For each output of a step that is a sum of products of whole arrays, the products for one of its entries.

    Parameters
    ----------
    index : tuple of int, optional
        Which entry; where it is left out or does not fit, the largest.
    """
    made = step if step.phase == FORWARD else None if step.forward is None else steps[step.forward]
    if made is None or made.op not in _pairs or step.phase not in (FORWARD, BACKWARD):
        return []
    x, w = made.inputs[:2]
    y = made.outputs[0]
    g = step.inputs[0] if step.phase == BACKWARD else y
    outputs = (
        [(y, "y", w, x)]
        if step.phase == FORWARD
        else [(out, out.name[0], *_factors(out, x, w, g)) for out in step.outputs]
    )
    found = []
    for out, kind, a, b in outputs:
        if kind not in ("y", x.name[0], w.name[0]) or not (
            a.value.is_whole and b.value.is_whole and out.value.kept.size
        ):
            continue
        role = "y" if kind == "y" else "x" if out.name.startswith(x.name) else "w"
        at = index if index is not None and _fits(index, out.value.shape) else _largest(out.value)
        terms: list[tuple[Index, float, Index, float]] = []
        count = 0
        for i, j in _pairs[made.op](made, role, at):
            count += 1
            if len(terms) < MOST:
                terms.append((i, a.value.kept[i].item(), j, b.value.kept[j].item()))
        found.append(Terms(out.name, at, out.value.at(at) or 0.0, (a.name, b.name), terms, count))
    return found


def _factors(out: Operand, x: Operand, w: Operand, g: Operand) -> tuple[Operand, Operand]:
    return (w, g) if out.name.startswith(x.name) else (g, x)


def _fits(index: Index, shape: Index) -> bool:
    return len(index) == len(shape) and all(0 <= i < size for i, size in zip(index, shape, strict=True))


def _largest(value: Snapshot) -> Index:
    place = np.unravel_index(int(np.abs(np.nan_to_num(value.kept)).argmax()), value.kept.shape)
    return value.index_of(tuple([int(i) for i in place]))


def _window(step: Step) -> Window:
    given = step.settings["window"]
    padding = tuple([tuple(sides) for sides in given["padding"]])
    return Window(tuple(given["kernel"]), tuple(given["stride"]), padding, tuple(given["dilation"]))  # type: ignore[arg-type]


def _convolution(step: Step, role: str, at: Index) -> Pairs:
    """Factors of y (w, x), of x̄ (w, ȳ) and of w̄ (ȳ, x)."""
    window = _window(step)
    (_, channels, height, width), (filters, per_group, kh, kw) = [step.inputs[i].value.shape for i in (0, 1)]
    n, _, ho, wo = step.outputs[0].value.shape
    out_per_group = filters * per_group // channels  # filters of a group
    (top, _), (left, _) = window.padding
    (sy, sx), (dy, dx) = window.stride, window.dilation

    def under(i: int, j: int, p: int, q: int) -> tuple[int, int] | None:
        h, v = i * sy + p * dy - top, j * sx + q * dx - left
        return (h, v) if 0 <= h < height and 0 <= v < width else None

    taps = list(itertools.product(range(kh), range(kw)))
    if role == "y":
        m, o, i, j = at
        first = o // out_per_group * per_group
        for c, (p, q) in itertools.product(range(per_group), taps):
            pixel = under(i, j, p, q)
            if pixel:
                yield (o, c, p, q), (m, first + c, *pixel)
    elif role == "x":
        m, c, h, v = at
        group = c // per_group
        for o, (p, q) in itertools.product(range(group * out_per_group, (group + 1) * out_per_group), taps):
            (i, rest_i), (j, rest_j) = divmod(h + top - p * dy, sy), divmod(v + left - q * dx, sx)
            if not rest_i and not rest_j and 0 <= i < ho and 0 <= j < wo:
                yield (o, c % per_group, p, q), (m, o, i, j)
    else:
        o, c, p, q = at
        first = o // out_per_group * per_group
        for m, i, j in itertools.product(range(n), range(ho), range(wo)):
            pixel = under(i, j, p, q)
            if pixel:
                yield (m, o, i, j), (m, first + c, *pixel)


def _matmul(step: Step, role: str, at: Index) -> Pairs:
    a, b = step.inputs[0].value.shape, step.inputs[1].value.shape
    if len(a) != 2 or len(b) != 2:
        return
    r, c = at
    if role == "y":
        yield from (((k, c), (r, k)) for k in range(a[1]))
    elif role == "x":
        yield from (((c, k), (r, k)) for k in range(b[1]))
    else:
        yield from (((k, c), (k, r)) for k in range(a[0]))


def _linear(step: Step, role: str, at: Index) -> Pairs:
    x, w = step.inputs[0].value.shape, step.inputs[1].value.shape
    r, c = at
    if role == "y":
        yield from (((c, k), (r, k)) for k in range(x[1]))
    elif role == "x":
        yield from (((k, c), (r, k)) for k in range(w[0]))
    else:
        yield from (((k, r), (k, c)) for k in range(x[0]))


_pairs: dict[str, Callable[[Step, str, Index], Pairs]] = {
    "conv2d": _convolution,
    "depthwise_conv2d": _convolution,
    "matmul": _matmul,
    "linear": _linear,
}
