"""The sum of products behind one entry of a convolution or of a matrix product, forward and backward.

A window is turned round for the gradients: ȳ at a pixel goes to every pixel that was under the window there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ..backends import Array, Window
from .snapshot import Snapshot
from .steps import Operand, Step, Terms

Index = tuple[int, ...]
Pairs = Iterator[tuple[Index, Index]]  # indices of the two factors
MOST = 20_000  # terms that are added up
SHOWN = 32  # terms that are kept


def has_terms(op: str) -> bool:
    return op in _pairs


def work_out(made: Step, step: Step, factors: Sequence[Array | None], gradient: Array | None) -> list[Terms]:
    """The sums behind the largest kept entry of each output of a step.

    Parameters
    ----------
    made, step : Step
        The step forward, and the step to be explained: itself, or its rule.
    factors : sequence of array or None
        The operation's first two inputs, where they are still known.
    gradient : array or None
        What came in, in the backward phase.
    """
    found = []
    for out in step.outputs:
        if out.value.kept.size and (out.input is None or out.input < 2):
            terms = entry(made, out, _largest(out.value), factors, gradient)
            if terms is not None:
                found.append(terms)
    return found


def terms_of(steps: Sequence[Step], step: Step, index: Index) -> list[Terms]:
    """The sums behind any entry, where the arrays were kept whole: for each output that has an entry there."""
    made = step if step.forward is None else steps[step.forward]
    factors = [operand.value.kept if operand.value.is_whole else None for operand in made.inputs[:2]]
    gradient = step.inputs[0].value.kept if step.inputs[0].value.is_whole else None
    fitting = [out for out in step.outputs if _fits(index, out.value.shape) and (out.input is None or out.input < 2)]
    found = [entry(made, out, index, factors, gradient, MOST) for out in fitting]
    return [terms for terms in found if terms is not None]


def entry(
    made: Step, out: Operand, at: Index, factors: Sequence[Array | None], gradient: Array | None, shown: int = SHOWN
) -> Terms | None:
    """The sum behind one entry; None where a factor is not known, or there are too many products."""
    x, w = factors
    names = made.inputs[0].name, made.inputs[1].name
    # y = Σ w · x,  x̄ = Σ w · ȳ,  w̄ = Σ ȳ · x
    a, b = ((w, names[1]), (x, names[0])) if out.input is None else ((w, names[1]), (gradient, "ȳ"))
    if out.input == 1:
        a, b = (gradient, "ȳ"), (x, names[0])
    value = out.value.at(at)
    if a[0] is None or b[0] is None or value is None:
        return None
    role = "y" if out.input is None else "x" if out.input == 0 else "w"
    pairs = list(itertools.islice(_pairs[made.op](made, role, at), MOST + 1))
    if len(pairs) > MOST or (made.op == "matmul" and any(len(operand.value.shape) != 2 for operand in made.inputs)):
        return None
    numbers = [(i, a[0][i].item(), j, b[0][j].item()) for i, j in pairs]
    total = math.fsum(p * q for _, p, _, q in numbers)
    if made.op == "linear" and role == "y" and len(made.inputs) > 2:
        total += float(made.inputs[2].value.kept[at[1]])
    return Terms(out.name, at, value, (a[1], b[1]), numbers[:shown], len(numbers), total)


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
    if len(a) != 2 or len(b) != 2:  # stacks of matrices, or vectors
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
