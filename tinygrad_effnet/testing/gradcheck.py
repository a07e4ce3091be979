"""Gradient check: what the rules say against what differences of the function's values say.

With outputs y = f(x) and a random upstream gradient u, the rules claim the gradient of the number L(x) = Σ u · f(x).
A central difference measures the same without them:

    dL/dx along v  =  (L(x + h v) − L(x − h v)) / 2h  +  O(h²)

Along one random direction in all inputs at once this costs a few evaluations and misses hardly anything; entry by entry
it says where the first difference lies. The upstream gradient is random because one of all ones hides every rule that
is wrong in proportion to it. How a rule is judged, kinks included, stands in ``differences.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .. import tape
from ..op import Op
from ..tensor import Tensor, wrap
from .complex_step import beside_the_real_line, slope
from .differences import STEP, Finding, GradientReport, Line, judge

Outputs = Tensor | Sequence[Tensor]
TOLERANCES = {"difference": (1e-7, 1e-5), "complex": (1e-12, 1e-10)}


class GradcheckError(AssertionError):
    """A gradient differs from what the function's values say, or the function cannot be checked at all."""


class KinkError(GradcheckError):
    """The inputs lie at a kink, where the function's values say nothing about a rule."""


def gradcheck(
    fn: Callable[..., Outputs],
    inputs: Tensor | Sequence[Tensor],
    *,
    eps: float | None = None,
    atol: float | None = None,
    rtol: float | None = None,
    seed: int = 0,
    raise_exception: bool = True,
    fast_mode: bool = False,
    method: str = "difference",
) -> bool:
    """Whether the gradients of ``fn(*inputs)`` are right, by central differences in float64.

    Parameters
    ----------
    fn : function of the inputs that returns a Tensor or a sequence of them
        Evaluated often, each time with the same result. Outputs that are not floating-point are left out.
    inputs : Tensor or sequence of Tensor
        float64; those with ``requires_grad`` are checked. Keep them a few ``eps`` away from kinks.
    eps : float, optional
        Step of the differences, relative to entries larger than 1; 6e-6 when left out. Longer steps are taken as well,
        since the error must fall as the square of the step.
    atol, rtol : float, optional
        A gradient may be off by ``atol + rtol * |difference|``; 1e-7 and 1e-5, or 1e-12 and 1e-10 by complex step.
    seed : int
        Of the upstream gradient and the direction.
    raise_exception : bool
        Raise where a gradient is wrong, rather than return False. Misuse is always an error.
    fast_mode : bool
        Only check along one random direction.
    method : "difference" or "complex"
        By central differences, or by complex step: exact to rounding, for what is analytic (by pieces). It always
        computes with the kernels of ``numpy``, whatever backend the rules ran on.

    Returns
    -------
    bool

    Raises
    ------
    GradcheckError
        A gradient is wrong: names the input, the index of its first wrong entry, both numbers, the power of the step
        with which the error falls, and the rules involved. Or two evaluations of ``fn`` differ.
    KinkError
        It is a kink, not a wrong rule: names the input, the index and the slopes on both sides.
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
    check = _Check("gradcheck", fn, inputs, eps, atol, rtol, seed, method)
    direction = check.along_a_direction()
    bad = None if fast_mode else next((found for found in check.entries() if found.verdict != "right"), None)
    bad = bad or (direction if direction.verdict != "right" else None)
    if bad is not None and raise_exception:
        raise (KinkError if bad.verdict == "kink" else GradcheckError)(f"{bad}{check.rules}")
    return bad is None


def gradient_report(
    fn: Callable[..., Outputs],
    inputs: Tensor | Sequence[Tensor],
    *,
    eps: float | None = None,
    atol: float | None = None,
    rtol: float | None = None,
    seed: int = 0,
) -> GradientReport:
    """All that `gradcheck` compares, right or wrong, with the slope of each error. Parameters are those of `gradcheck`.

    Examples
    --------
    >>> import tinygrad_effnet as tg
    >>> report = gradient_report(lambda x: x.sin(), tg.Tensor([0.5, 1.0], requires_grad=True, dtype="float64"))
    >>> report.ok, round(report.direction.slope)
    (True, 2)
    """
    check = _Check("gradient_report", fn, inputs, eps, atol, rtol, seed, "difference")
    return GradientReport(check.along_a_direction(), list(check.entries()), check.rules)


def gradgradcheck(
    fn: Callable[..., Outputs],
    inputs: Tensor | Sequence[Tensor],
    *,
    eps: float | None = None,
    atol: float | None = None,
    rtol: float | None = None,
    seed: int = 0,
    raise_exception: bool = True,
    fast_mode: bool = False,
    method: str = "difference",
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

    default_atol, default_rtol = TOLERANCES["difference"]
    unlike = _unlike_when_recorded(
        outputs,
        upstream,
        [inputs[i] for i in wanted],
        default_atol if atol is None else atol,
        default_rtol if rtol is None else rtol,
    )
    if unlike is not None and not raise_exception:
        return False
    if unlike is not None:
        raise GradcheckError(
            f"wrong gradient: input {wanted[unlike]} receives another gradient with create_graph=True than without; "
            f"does a rule treat one of its inputs as a function of another?{_rules(outputs)}"
        )
    options: dict[str, Any] = {"eps": eps, "atol": atol, "rtol": rtol, "raise_exception": raise_exception}
    return gradcheck(gradients, [*inputs, *upstream], seed=seed + 1, fast_mode=fast_mode, method=method, **options)


# -- what is compared ----------------------------------------------------------------------------------------------


class _Check:
    """One function with its inputs, an upstream gradient, the claimed gradients, and how they are measured."""

    def __init__(
        self,
        caller: str,
        fn: Callable[..., Outputs],
        inputs: Any,
        eps: float | None,
        atol: float | None,
        rtol: float | None,
        seed: int,
        method: str,
    ) -> None:
        if method not in TOLERANCES:
            raise ValueError(f"{caller}(method): {method!r}; expected one of {sorted(TOLERANCES)}")
        self.caller, self.fn, self.method = caller, fn, method
        self.all_kinks = caller == "gradient_report"
        self.inputs = _checked_inputs(caller, inputs)
        self.step = STEP if eps is None else eps
        self.atol, self.rtol = (
            default if given is None else given for given, default in zip((atol, rtol), TOLERANCES[method], strict=True)
        )
        self.rng = np.random.default_rng(seed)
        outputs = _outputs(caller, fn, self.inputs)
        _check_repeats(caller, fn, self.inputs, outputs)
        self.upstream = [_random(self.rng, y.shape) for y in outputs]
        self.centre = [y.array for y in outputs]
        self.where = [i for i, x in enumerate(self.inputs) if x.requires_grad]
        self.rules = _rules(outputs)
        self.claimed = dict(
            zip(self.where, _claimed(outputs, self.upstream, [self.inputs[i] for i in self.where]), strict=True)
        )

    def along_a_direction(self) -> Finding:
        directions = {i: _random(self.rng, self.inputs[i].shape) for i in self.where}
        rule = sum(float(np.vdot(self.claimed[i], v)) for i, v in directions.items())
        size = max(float(np.abs(self.inputs[i].array).max(initial=0.0)) for i in directions)
        return self._judge(directions, rule, size, "along a random direction in all inputs")

    def entries(self) -> Iterator[Finding]:
        for i in self.where:
            x = self.inputs[i]
            for index in np.ndindex(x.shape):
                move = np.zeros(x.shape)
                move[index] = 1.0
                place = f"input {i} (shape {x.shape}), entry {index}"
                yield self._judge({i: move}, float(self.claimed[i][index]), abs(float(x.array[index])), place)

    def _judge(self, directions: dict[int, np.ndarray], rule: float, size: float, place: str) -> Finding:
        if self.method == "complex":
            return self._judge_by_complex_step(directions, rule, place)
        line = Line(lambda t: self._moved(directions, t), self.centre, self.upstream, size)
        return judge(line, rule, self.step * max(1.0, size), self.atol, self.rtol, place, self.all_kinks)

    def _judge_by_complex_step(self, directions: dict[int, np.ndarray], rule: float, place: str) -> Finding:
        with beside_the_real_line(self.inputs, directions):
            slopes = [slope(y) for y in _outputs(self.caller, self.fn, self.inputs)]
        measured = sum(float(np.vdot(u, dy)) for u, dy in zip(self.upstream, slopes, strict=True))
        # the terms of the sum may be large and cancel
        terms = sum(float(np.abs(u * dy).sum()) for u, dy in zip(self.upstream, slopes, strict=True))
        right = abs(rule - measured) <= self.atol + self.rtol * max(abs(measured), terms)
        allowed = f"{self.atol} + {self.rtol} * |terms|, by complex step"
        return Finding(place, rule, measured, "right" if right else "wrong", allowed=allowed)

    def _moved(self, directions: dict[int, np.ndarray], t: float) -> list[np.ndarray]:
        # the tensors themselves are moved, since fn may hold them other than through its arguments
        before = [x.array for x in self.inputs]
        try:
            for i, v in directions.items():
                self.inputs[i].array = np.asarray(before[i] + t * v)
            with np.errstate(all="ignore"):  # a long step may leave the domain
                return [y.array for y in _outputs(self.caller, self.fn, self.inputs)]
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
    outputs = [y for y in outputs if y.dtype.kind in "fc"]
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
