"""Gradient check: what the rules say against what differences of the function's values say.

With outputs y = f(x) and a random upstream gradient u, the rules claim the gradient of the number L(x) = Σ u · f(x).
A central difference measures the same without them:

    dL/dx along v  =  (L(x + h v) − L(x − h v)) / 2h  +  O(h²)

Along one random direction in all inputs at once this costs two evaluations and misses hardly anything; entry by entry
it says where the first difference lies. The upstream gradient is random because one of all ones hides every rule that
is wrong in proportion to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .. import tape
from ..op import Op
from ..tensor import Tensor, wrap

Outputs = Tensor | Sequence[Tensor]

# A central difference errs by h² through truncation and by machine epsilon / h through rounding; here the sum is least.
STEP = float(np.cbrt(np.finfo(np.float64).eps))


class GradcheckError(AssertionError):
    """A gradient differs from what the function's values say, or the function cannot be checked at all."""


def gradcheck(
    fn: Callable[..., Outputs],
    inputs: Tensor | Sequence[Tensor],
    *,
    eps: float | None = None,
    atol: float = 1e-7,
    rtol: float = 1e-5,
    seed: int = 0,
    raise_exception: bool = True,
    fast_mode: bool = False,
) -> bool:
    """Whether the gradients of ``fn(*inputs)`` are right, by central differences in float64.

    Parameters
    ----------
    fn : function of the inputs that returns a Tensor or a sequence of them
        Evaluated often, each time with the same result. Outputs that are not floating-point are left out.
    inputs : Tensor or sequence of Tensor
        float64; those with ``requires_grad`` are checked. Keep them a few ``eps`` away from kinks.
    eps : float, optional
        Step of the differences, relative to entries larger than 1; 6e-6 when left out.
    atol, rtol : float
        A gradient may be off by ``atol + rtol * |difference|``.
    seed : int
        Of the upstream gradient and the direction.
    raise_exception : bool
        Raise where a gradient is wrong, rather than return False. Misuse is always an error.
    fast_mode : bool
        Only check along one random direction.

    Returns
    -------
    bool

    Raises
    ------
    GradcheckError
        A gradient is wrong: names the input, the index of its first wrong entry, both numbers and the rules involved.
        Or two evaluations of ``fn`` differ.
    TypeError
        An input or an output is not a Tensor, or an input is not float64.
    ValueError
        No input requires a gradient, or no output is a floating-point tensor.

    Examples
    --------
    >>> import tinygrad_effnet as tg
    >>> x = tg.Tensor([0.5, -1.0, 2.0], requires_grad=True, dtype="float64")
    >>> gradcheck(lambda x: tg.ops.silu(x) * x, x)
    True
    """
    inputs = _checked_inputs("gradcheck", inputs)
    rng = np.random.default_rng(seed)
    outputs = _outputs("gradcheck", fn, inputs)
    _check_repeats("gradcheck", fn, inputs, outputs)
    upstream = [_random(rng, y.shape) for y in outputs]
    where = [i for i, x in enumerate(inputs) if x.requires_grad]
    rules = _rules(outputs)
    claimed = dict(zip(where, _claimed(outputs, upstream, [inputs[i] for i in where]), strict=True))
    try:
        directions = {i: _random(rng, inputs[i].shape) for i in where}
        probe = _Probe(fn, inputs, upstream, eps)
        along = sum(float(np.vdot(claimed[i], directions[i])) for i in where), probe.along(directions)
        for i in () if fast_mode else where:
            for index in np.ndindex(inputs[i].shape):
                place = f"input {i} (shape {inputs[i].shape}), entry {index}"
                _compare(float(claimed[i][index]), probe.at(i, index), atol, rtol, place, rules)
        _compare(*along, atol, rtol, "along a random direction in all inputs", rules)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    fn: Callable[..., Outputs],
    inputs: Tensor | Sequence[Tensor],
    *,
    eps: float | None = None,
    atol: float = 1e-7,
    rtol: float = 1e-5,
    seed: int = 0,
    raise_exception: bool = True,
    fast_mode: bool = False,
) -> bool:
    """Whether the *second* gradients of ``fn(*inputs)`` are right: `gradcheck` of its gradients.

    The gradients are computed with ``create_graph=True``, which must not change them, and are functions of the inputs
    and of the upstream gradient; both are checked. Parameters, results and errors are those of `gradcheck`.
    """
    inputs = _checked_inputs("gradgradcheck", inputs)
    outputs = _outputs("gradgradcheck", fn, inputs)
    _check_repeats("gradgradcheck", fn, inputs, outputs)
    rng = np.random.default_rng(seed)
    count = len(inputs)
    wanted = [i for i, x in enumerate(inputs) if x.requires_grad]
    upstream = [wrap(_random(rng, y.shape)).requires_grad_() for y in outputs]

    def gradients(*tensors: Tensor) -> list[Tensor]:
        results = _outputs("gradgradcheck", fn, tensors[:count])
        starts = [tensors[i] for i in wanted]
        found = tape.grad(results, starts, tensors[count:], create_graph=True, allow_unused=True)
        return [dx for dx in found if dx is not None]

    unlike = _unlike_when_recorded(outputs, upstream, [inputs[i] for i in wanted], atol, rtol)
    if unlike is not None and not raise_exception:
        return False
    if unlike is not None:
        raise GradcheckError(
            f"wrong gradient: input {wanted[unlike]} receives another gradient with create_graph=True than without; "
            f"does a rule treat one of its inputs as a function of another?{_rules(outputs)}"
        )
    options: dict[str, Any] = {"eps": eps, "atol": atol, "rtol": rtol, "raise_exception": raise_exception}
    return gradcheck(gradients, [*inputs, *upstream], seed=seed + 1, fast_mode=fast_mode, **options)


# -- what is compared ----------------------------------------------------------------------------------------------


class _Probe:
    """L(x) = Σ u · f(x), measured with some inputs moved."""

    def __init__(
        self, fn: Callable[..., Outputs], inputs: Sequence[Tensor], upstream: Sequence[np.ndarray], eps: float | None
    ) -> None:
        self.fn, self.inputs, self.upstream = fn, inputs, upstream
        self.step = STEP if eps is None else eps

    def along(self, directions: dict[int, np.ndarray]) -> float:
        scale = max([1.0, *(float(np.abs(self.inputs[i].array).max(initial=0.0)) for i in directions)])
        return self._slope({i: v * (self.step * scale) for i, v in directions.items()}, self.step * scale)

    def at(self, i: int, index: tuple[int, ...]) -> float:
        step = self.step * max(1.0, abs(float(self.inputs[i].array[index])))
        move = np.zeros(self.inputs[i].shape)
        move[index] = step
        return self._slope({i: move}, step)

    def _slope(self, moves: dict[int, np.ndarray], step: float) -> float:
        ahead, behind = self._outputs(moves, 1.0), self._outputs(moves, -1.0)
        # differences first: the outputs may be large and alike
        return sum(
            float(np.vdot(u, (a - b) / (2 * step))) for u, a, b in zip(self.upstream, ahead, behind, strict=True)
        )

    def _outputs(self, moves: dict[int, np.ndarray], sign: float) -> list[np.ndarray]:
        # the tensors themselves are moved, since fn may hold them other than through its arguments
        before = [x.array for x in self.inputs]
        try:
            for i, move in moves.items():
                self.inputs[i].array = np.asarray(before[i] + sign * move)
            return [y.array for y in _outputs("gradcheck", self.fn, self.inputs)]
        finally:
            for x, array in zip(self.inputs, before, strict=True):
                x.array = array


def _claimed(outputs: Sequence[Tensor], upstream: Sequence[np.ndarray], inputs: Sequence[Tensor]) -> list[np.ndarray]:
    """The gradients by the rules; zeros for an input that no output depends on."""
    found = tape.grad(outputs, inputs, [wrap(u) for u in upstream], allow_unused=True)
    return [np.zeros(x.shape) if dx is None else dx.array for x, dx in zip(inputs, found, strict=True)]


def _unlike_when_recorded(
    outputs: Sequence[Tensor], upstream: Sequence[Tensor], inputs: Sequence[Tensor], atol: float, rtol: float
) -> int | None:
    """The first input whose gradient depends on whether the walk is recorded."""
    walks = [
        tape.grad(outputs, inputs, upstream, retain_graph=True, create_graph=recorded, allow_unused=True)
        for recorded in (False, True)
    ]
    for i, (a, b) in enumerate(zip(*walks, strict=True)):
        if (a is None) != (b is None) or (
            a is not None and not np.allclose(a.array, b.array, rtol, atol, equal_nan=True)
        ):
            return i
    return None


def _compare(rule: float, difference: float, atol: float, rtol: float, place: str, rules: str) -> None:
    if not abs(rule - difference) <= atol + rtol * abs(difference):  # also where one of them is NaN
        raise GradcheckError(
            f"wrong gradient: {place}\n"
            f"  by the rules       {rule:.12g}\n"
            f"  by differences     {difference:.12g}\n"
            f"  off by             {abs(rule - difference):.3g} (allowed: {atol} + {rtol} * |difference|)"
            f"{rules}"
        )


def _rules(outputs: Sequence[Tensor], most: int = 4) -> str:
    """Formula and rule of the operations on the tape, or their names where they are many."""
    found: dict[type[Op], None] = {}
    for node in _nodes(outputs):
        if isinstance(node, Op):
            found[type(node)] = None
    if len(found) > most:
        return f"\n  operations on the tape: {', '.join(op.name for op in found)}"
    return "".join(
        f"\n  {op.name}: {getattr(op, 'formula', 'no formula is stated')}"
        f"\n  {' ' * len(op.name)}  {getattr(op, 'rule', 'no rule is stated')}"
        f"\n  {' ' * len(op.name)}  kinks: {op.kinks}"
        for op in found
    )


def _nodes(outputs: Sequence[Tensor]) -> Iterator[tape.Node]:
    seen: set[tape.Node] = set()
    stack = [y.node for y in outputs if y.node is not None]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            yield node
            stack.extend(edge[0] for edge in node.edges if edge is not None)


# -- what cannot be checked ----------------------------------------------------------------------------------------


def _checked_inputs(caller: str, inputs: Any) -> list[Tensor]:
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    for i, x in enumerate(inputs):
        if not isinstance(x, Tensor):
            raise TypeError(f"{caller}(inputs): inputs[{i}] is a {type(x).__name__}; expected a Tensor")
        if x.dtype != np.float64:
            raise TypeError(
                f"{caller}(inputs): inputs[{i}] holds {x.dtype} numbers, too coarse for differences; "
                "make it float64, e.g. Tensor(data, requires_grad=True, dtype='float64')"
            )
    if not any(x.requires_grad for x in inputs):
        raise ValueError(
            f"{caller}(inputs): none requires a gradient, so nothing can be checked; pass requires_grad=True"
        )
    return inputs


def _outputs(caller: str, fn: Callable[..., Outputs], inputs: Sequence[Tensor]) -> list[Tensor]:
    """Floating-point outputs of one evaluation."""
    with tape.enable_grad():
        result = fn(*inputs)
    outputs = [result] if isinstance(result, Tensor) else list(result) if isinstance(result, (tuple, list)) else None
    if outputs is None:
        raise TypeError(f"{caller}(fn): it returned a {type(result).__name__}; expected a Tensor or a sequence of them")
    for i, y in enumerate(outputs):
        if not isinstance(y, Tensor):
            raise TypeError(f"{caller}(fn): output {i} is a {type(y).__name__}; expected a Tensor")
    outputs = [y for y in outputs if y.dtype.kind == "f"]
    if not outputs:
        raise ValueError(f"{caller}(fn): no output is a floating-point tensor, so there is no gradient to check")
    return outputs


def _check_repeats(
    caller: str, fn: Callable[..., Outputs], inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> None:
    again = _outputs(caller, fn, inputs)
    if len(again) != len(outputs) or not all(_same(a.array, b.array) for a, b in zip(outputs, again, strict=True)):
        raise GradcheckError(
            f"{caller}(fn): two evaluations of the same inputs differ, so differences mean nothing. Does it draw "
            "random numbers (start the generator anew inside fn), or change its inputs or running statistics (copy "
            "them)?"
        )


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal but for the last digits, which may depend on where in memory a vectorised loop finds its numbers."""
    scale = float(np.abs(a[np.isfinite(a)]).max(initial=0.0))
    return a.shape == b.shape and np.allclose(a, b, rtol=0.0, atol=1e-13 * scale, equal_nan=True)


def _random(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Magnitudes of 1/2 to 3/2 and any sign: never so small that an error would hide behind it."""
    return np.asarray(rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape))
