"""Differences along a line, and what they say of a rule: right, wrong, or at a kink.

A central difference D(h) errs by truncation, which falls as h², and by rounding, which grows as 1/h. A rule that is
right differs from D(h) by no more than these two. One that is wrong by a little differs by that little at any h: its
error does not fall. So the power of h with which the error falls, the *slope*, tells them apart far below any
tolerance.

At a kink nothing falls either, but there the two one-sided differences disagree, however small h.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

# A central difference errs by h² through truncation and by machine epsilon / h through rounding; here the sum is least.
STEP = float(np.cbrt(np.finfo(np.float64).eps))
LONG = 128  # times that step, truncation is far above rounding
RATIO = 8.0  # of the two steps that the slope is measured with
LEAST_SLOPE = 1.5
ROUNDINGS = 100  # machine epsilons that the computation may have gathered


@dataclass(frozen=True)
class Finding:
    """What was found for one entry of an input, or along a direction.

    Attributes
    ----------
    place : str
    rule, difference : float
        The derivative by the rules, and by the difference with the shortest step.
    verdict : "right", "wrong" or "kink"
    steps, errors : tuple of float
        Distance of the rule from D(h) for each step h, from the longest.
    slope : float or None
        Power of h with which the error falls: 2 for a right rule, 0 for a wrong one. None where it is all rounding, or
        where it was not measured.
    sides : (float, float) or None
        At a kink, the one-sided differences to the left and to the right. The verdict may be "right" nevertheless: of
        abs(x) at 0 the central difference is 0, and so is the rule.
    allowed : str
        The tolerance, in words.
    """

    place: str
    rule: float
    difference: float
    verdict: str
    steps: tuple[float, ...] = ()
    errors: tuple[float, ...] = ()
    slope: float | None = None
    sides: tuple[float, float] | None = None
    allowed: str = ""

    def slope_text(self) -> str:
        return "rounding only" if self.slope is None else f"{self.slope:.2f}"

    def __str__(self) -> str:
        if self.verdict == "kink" and self.sides is not None:
            left, right = self.sides
            return (
                f"kink at {self.place}: no difference can judge a rule there; move the input away from it\n"
                f"  slope on the left  {left:.12g}\n"
                f"  slope on the right {right:.12g}\n"
                f"  by the rules       {self.rule:.12g}" + _between(self.rule, left, right)
            )
        falls = "".join(
            f"\n  at h = {h:.2e}    off by {error:.3g}" for h, error in zip(self.steps, self.errors, strict=True)
        )
        return (
            f"wrong gradient: {self.place}\n"
            f"  by the rules       {self.rule:.12g}\n"
            f"  by differences     {self.difference:.12g}\n"
            f"  off by             {abs(self.rule - self.difference):.3g} (allowed: {self.allowed}){falls}"
            + (f"\n  slope              {self.slope:.2f} (the error of a right rule falls as h²)" if falls else "")
        )


def _between(rule: float, left: float, right: float) -> str:
    inside = min(left, right) - 1e-6 <= rule <= max(left, right) + 1e-6
    return ", which lies between them: a subgradient" if inside else ", which does not lie between them"


@dataclass(frozen=True)
class GradientReport:
    """Every comparison that a gradient check makes; ``print`` shows them as a table.

    Attributes
    ----------
    direction : Finding
        Along one random direction in all inputs.
    entries : list of Finding
        Each entry of each input that requires a gradient.
    rules : str
        Formulas and rules of the operations involved.
    """

    direction: Finding
    entries: list[Finding]
    rules: str

    @property
    def ok(self) -> bool:
        """True when all are right."""
        return all(found.verdict == "right" for found in (self.direction, *self.entries))

    def __str__(self) -> str:
        found = [self.direction, *self.entries]
        width = max(len(f.place) for f in found)
        head = f"{'':{width}}  {'by the rules':>20}  {'by differences':>20}  {'off by':>8}  {'slope':>13}  verdict"
        rows = [
            f"{f.place:{width}}  {f.rule:20.12g}  {f.difference:20.12g}  {abs(f.rule - f.difference):8.1e}  "
            f"{f.slope_text():>13}  {f.verdict}{', at a kink' if f.verdict == 'right' and f.sides else ''}"
            for f in found
        ]
        return "\n".join([head, *rows]) + self.rules


class Line:
    """L(t) = Σ u · f(x + t v): differences of it, for whatever step.

    Parameters
    ----------
    evaluate : function of t that returns arrays
        f at x + t v.
    centre : arrays
        f at x.
    upstream : arrays
        u.
    size : float
        Magnitude of x along v, whose rounding moves t.
    """

    def __init__(
        self,
        evaluate: Callable[[float], Sequence[np.ndarray]],
        centre: Sequence[np.ndarray],
        upstream: Sequence[np.ndarray],
        size: float,
    ) -> None:
        self.evaluate, self.centre, self.upstream, self.size = evaluate, centre, upstream, size
        self._values: dict[float, Sequence[np.ndarray]] = {0.0: centre}

    def between(self, start: float, end: float) -> float:
        """(L(end) − L(start)) / (end − start)."""
        for t in (start, end):
            if t not in self._values:
                self._values[t] = self.evaluate(t)
        # differences first: the outputs may be large and alike
        pairs = zip(self.upstream, self._values[end], self._values[start], strict=True)
        return sum(float(np.vdot(u, (b - a) / (end - start))) for u, b, a in pairs)

    def central(self, h: float) -> float:
        return self.between(-h, h)

    def rounding(self, h: float, derivative: float) -> float:
        """What rounding may contribute to a central difference with this step."""
        terms = sum(float(np.abs(u * y).sum()) for u, y in zip(self.upstream, self.centre, strict=True))
        return ROUNDINGS * float(np.finfo(np.float64).eps) * (terms + abs(derivative) * self.size) / h


def judge(line: Line, rule: float, h: float, atol: float, rtol: float, place: str, all_kinks: bool = False) -> Finding:
    """Compare the derivative by the rules with differences along a line, of step ``h`` and longer.

    A kink is looked for where the two differ, and with ``all_kinks`` where they agree as well.
    """
    difference = line.central(h)
    allowed = f"{atol} + {rtol} * |difference|"
    close = abs(rule - difference) <= atol + rtol * abs(difference)  # not where one of them is NaN
    if not close:
        sides = kink(line, h)
        if sides is not None:
            return Finding(place, rule, difference, "kink", sides=sides)
    long = max(h, min(LONG * h, 1e-3 * max(1.0, line.size)))
    steps = long, long / RATIO
    errors = tuple([abs(rule - line.central(step)) for step in steps])
    floors = [line.rounding(step, difference) for step in steps]
    slope = _power(errors[0], errors[1]) if errors[1] > floors[1] else None
    verdict = "right"
    if not close or (
        slope is not None
        and slope < LEAST_SLOPE
        # a wrong rule is as wrong with the shortest step; else a kink, or a wave, lies within the long ones
        and errors[1] < 1.5 * abs(rule - difference) + line.rounding(h, difference)
        and not _noisy(line, steps[1], errors[1])
    ):
        verdict = "wrong"
        slope = _power(*errors)
    sides = kink(line, h) if all_kinks and verdict == "right" else None
    return Finding(place, rule, difference, verdict, steps, errors, slope, sides, allowed)


def _power(longer: float, shorter: float) -> float:
    if longer == shorter or not (math.isfinite(longer) and math.isfinite(shorter)):
        return 0.0
    return math.inf if shorter == 0 else -math.inf if longer == 0 else math.log(longer / shorter, RATIO)


def _noisy(line: Line, h: float, error: float) -> bool:
    """Do differences with steps close to h differ among each other as much as from the rule?"""
    near = [line.central(h * factor) for factor in (1.0, 0.93, 1.04, 1.11)]
    return max(near) - min(near) > error / 4


def kink(line: Line, h: float) -> tuple[float, float] | None:
    """The one-sided differences, where they disagree however small the step; None where it is smooth."""
    longer = 16 * h
    left, right = line.between(-h, 0.0), line.between(0.0, h)
    if math.isfinite(left) != math.isfinite(right):
        return left, right  # the edge of the domain
    jump, jump_longer = abs(right - left), abs(line.between(0.0, longer) - line.between(-longer, 0.0))
    noise = 4 * line.rounding(h, 0.5 * (left + right)) + 1e-6 * (abs(left) + abs(right))
    # of a smooth function the disagreement is h · f'', a sixteenth of that at the longer step
    return (left, right) if jump > noise and jump > 0.25 * jump_longer else None
