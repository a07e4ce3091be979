"""Learning-rate schedules. Each is a function of the step's number and of a group's base rate, so resuming is exact."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from .optimizer import Group, Optimizer, is_real


class Schedule(ABC):
    """Sets the learning rate of each parameter group before each step of the optimiser.

    Making a schedule sets the rates of step 0; calling `step` after each step of the optimiser sets those of the next.

    Parameters
    ----------
    optimizer : Optimizer
        With all its groups; the schedule writes their "lr".

    Attributes
    ----------
    steps : int
        Number of calls of `step`: the optimiser's coming step, counted from 0.
    base_lrs : list of float
        The rate of each group when the schedule was made, which the schedule scales.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(self).__name__}(optimizer): expected an Optimizer, got {type(optimizer).__name__}")
        self.optimizer = optimizer
        self.steps = 0
        self.base_lrs = self.base_rates()
        self._apply()

    def base_rates(self) -> list[float]:
        """What to scale, of each group: its own rate, unless a subclass says otherwise."""
        return [group["lr"] for group in self.optimizer.param_groups]

    @abstractmethod
    def lr(self, step: int, base: float) -> float:
        """The learning rate of step ``step`` (from 0) for a group with base rate ``base``."""

    def set_options(self, group: Group, step: int, base: float) -> None:
        """Write what this schedule governs into one group; more than the rate in a subclass that says so."""
        group["lr"] = self.lr(step, base)

    def step(self) -> None:
        """Go on to the optimiser's next step."""
        self.steps += 1
        self._apply()

    @property
    def last_lr(self) -> list[float]:
        """The rate of each group as set last, for the coming step."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def _apply(self) -> None:
        groups = self.optimizer.param_groups
        if len(groups) != len(self.base_lrs):
            raise ValueError(
                f"{type(self).__name__}: made for {len(self.base_lrs)} parameter groups, and the optimiser now has "
                f"{len(groups)}; add groups first, then make the schedule"
            )
        for group, base in zip(groups, self.base_lrs, strict=True):
            self.set_options(group, self.steps, base)

    def state_dict(self) -> dict[str, Any]:
        """``{"steps": int, "base_lrs": [float, ...]}``, fit for JSON."""
        return {"steps": self.steps, "base_lrs": list(self.base_lrs)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken, and set the rates of that step.

        Raises
        ------
        ValueError
            It is not such a state, or was taken with another number of groups.
        """
        steps, bases = state_dict.get("steps"), state_dict.get("base_lrs")
        whole = type(steps) is int and steps >= 0 and isinstance(bases, (list, tuple)) and all(map(is_real, bases))
        if not whole or len(bases) != len(self.base_lrs):  # type: ignore[arg-type]
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: expected steps and base_lrs for {len(self.base_lrs)} groups, "
                f"as state_dict() gives them; got {dict(state_dict)!r}"
            )
        self.steps, self.base_lrs = steps, list(bases)  # type: ignore[assignment, arg-type]
        self._apply()

    # -- checks ----------------------------------------------------------------------------------------------------
    def _count(self, name: str, value: Any, least: int) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(
                f"{type(self).__name__}({name}): expected a whole number of at least {least}, got {value!r}"
            )
        return value

    def _number(self, name: str, value: Any, low: float, high: float = math.inf, above: bool = False) -> float:
        if not is_real(value) or not (low < value if above else low <= value) or not value <= high or value == math.inf:
            start = f"above {low}" if above else f"of at least {low}"
            limit = "" if high == math.inf else f" and at most {high}"
            raise ValueError(f"{type(self).__name__}({name}): expected a finite number {start}{limit}, got {value!r}")
        return float(value)


def warmup(step: int, steps: int) -> float:
    """Share of the base rate during a linear warm-up: equal rises, 1/(steps + 1) first, the whole from ``steps`` on."""
    return min((step + 1) / (steps + 1), 1.0)


class Constant(Schedule):
    """The base rate, after a linear warm-up (Goyal et al. 2017, "Accurate, Large Minibatch SGD", section 2.2).

    Parameters
    ----------
    optimizer : Optimizer
    warmup_steps : int
        Steps before the base rate is reached; 0 for none.

    Raises
    ------
    ValueError
        ``warmup_steps`` is negative.
    """

    def __init__(self, optimizer: Optimizer, warmup_steps: int = 0) -> None:
        self.warmup_steps = self._count("warmup_steps", warmup_steps, 0)
        super().__init__(optimizer)

    def lr(self, step: int, base: float) -> float:
        return base * warmup(step, self.warmup_steps)


class WarmupCosine(Schedule):
    """Linear warm-up, then half a cosine down (Loshchilov & Hutter 2017, "SGDR", eq. 5, without restarts).

    With w = ``warmup_steps``, T = ``total_steps``, f = ``final``, in units of the base rate, at step t from 0::

        t < w:   (t + 1) / (w + 1)
        t >= w:  f + (1 - f) (1 + cos(π (t - w) / (T - w))) / 2

    Both give 1 at t = w. Step T - 1 is a training's last and lies just above f; from T on it is f.

    Parameters
    ----------
    optimizer : Optimizer
    warmup_steps : int
        At least 0 and below ``total_steps``.
    total_steps : int
        Steps of the whole training, warm-up included.
    final : float
        Where the cosine ends, as a share of the base rate, 0 to 1.

    Raises
    ------
    ValueError
        A number out of its range.
    """

    def __init__(self, optimizer: Optimizer, warmup_steps: int, total_steps: int, final: float = 0.0) -> None:
        self.warmup_steps = self._count("warmup_steps", warmup_steps, 0)
        self.total_steps = self._count("total_steps", total_steps, 1)
        self.final = self._number("final", final, 0, 1)
        if warmup_steps >= total_steps:
            raise ValueError(
                f"WarmupCosine(warmup_steps): {warmup_steps} steps of warm-up leave none of total_steps={total_steps} "
                "to train in; shorten the warm-up, or train longer"
            )
        super().__init__(optimizer)

    def lr(self, step: int, base: float) -> float:
        if step < self.warmup_steps:
            return base * warmup(step, self.warmup_steps)
        progress = min((step - self.warmup_steps) / (self.total_steps - self.warmup_steps), 1.0)
        return base * cosine(1.0, self.final, progress)


class StepLR(Schedule):
    """A staircase: the base rate times ``gamma`` for every ``step_size`` steps passed, as PyTorch's.

    EfficientNet was trained with gamma 0.97 each 2.4 epochs, after 5 epochs of warm-up (Tan & Le 2019, section 5).

    Parameters
    ----------
    optimizer : Optimizer
    step_size : int
        Length of a stair, in steps of the optimiser.
    gamma : float
        Factor from one stair to the next, above 0.
    warmup_steps : int
        Linear warm-up laid over the first stairs, which are counted from step 0 all the same.

    Raises
    ------
    ValueError
        A number out of its range.
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, warmup_steps: int = 0) -> None:
        self.step_size = self._count("step_size", step_size, 1)
        self.gamma = self._number("gamma", gamma, 0, above=True)
        self.warmup_steps = self._count("warmup_steps", warmup_steps, 0)
        super().__init__(optimizer)

    def lr(self, step: int, base: float) -> float:
        return base * self.gamma ** (step // self.step_size) * warmup(step, self.warmup_steps)


class OneCycle(Schedule):
    """Up to a high rate and down to a very low one, momentum the other way (Smith & Topin 2018, "Super-Convergence").

    As ``torch.optim.lr_scheduler.OneCycleLR`` with cosines in two phases. Step 0 has ``max_lr / div_factor``, step
    ``pct_start * total_steps - 1`` has ``max_lr``, step ``total_steps - 1`` the first rate over ``final_div_factor``;
    momentum (of SGD, or β1 of the Adam family) goes from ``max_momentum`` to ``base_momentum`` and back meanwhile.

    Parameters
    ----------
    optimizer : Optimizer
        Its own rates are replaced.
    max_lr : float or sequence of float
        The peak, for all groups or for each. It is what ``base_lrs`` holds.
    total_steps : int
        Steps of the whole training. Beyond them the last values stay.
    pct_start : float
        Share of the steps for which the rate rises, 0 to 1.
    cycle_momentum : bool
        Whether to set momentum at all.
    base_momentum, max_momentum : float
        Momentum at the peak of the rate, and at both ends; at least 0 and below 1.
    div_factor, final_div_factor : float
        Above 0; see above.

    Raises
    ------
    ValueError
        A number out of its range, or the optimiser has no momentum to cycle.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int,
        pct_start: float = 0.3,
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
    ) -> None:
        self.total_steps = self._count("total_steps", total_steps, 1)
        self.pct_start = self._number("pct_start", pct_start, 0, 1)
        self.base_momentum = self._number("base_momentum", base_momentum, 0, math.nextafter(1, 0))
        self.max_momentum = self._number("max_momentum", max_momentum, 0, math.nextafter(1, 0))
        self.div_factor = self._number("div_factor", div_factor, 0, above=True)
        self.final_div_factor = self._number("final_div_factor", final_div_factor, 0, above=True)
        self.cycle_momentum = cycle_momentum
        peaks = list(max_lr) if isinstance(max_lr, Sequence) else [max_lr]
        self.max_lr = [self._number("max_lr", peak, 0) for peak in peaks]
        super().__init__(optimizer)

    def base_rates(self) -> list[float]:
        groups = self.optimizer.param_groups
        if self.cycle_momentum and not {"momentum", "betas"} & set(groups[0]):
            name = type(self.optimizer).__name__
            raise ValueError(f"OneCycle(cycle_momentum): {name} has no momentum to cycle; pass cycle_momentum=False")
        if len(self.max_lr) not in (1, len(groups)):
            raise ValueError(
                f"OneCycle(max_lr): {len(self.max_lr)} rates for {len(groups)} parameter groups; give one, or as many"
            )
        return self.max_lr * len(groups) if len(self.max_lr) == 1 else self.max_lr

    def lr(self, step: int, base: float) -> float:
        start = base / self.div_factor
        return self._along(step, start, base, start / self.final_div_factor)

    def momentum(self, step: int) -> float:
        """The momentum of step ``step``, for every group."""
        return self._along(step, self.max_momentum, self.base_momentum, self.max_momentum)

    def set_options(self, group: Group, step: int, base: float) -> None:
        super().set_options(group, step, base)
        if self.cycle_momentum and "betas" in group:
            group["betas"] = (self.momentum(step), *group["betas"][1:])
        elif self.cycle_momentum:
            group["momentum"] = self.momentum(step)

    def _along(self, step: int, start: float, peak: float, end: float) -> float:
        last = self.total_steps - 1
        top = self.pct_start * self.total_steps - 1
        step = min(step, last)
        if step <= top and top > 0:
            return cosine(start, peak, step / top)
        return cosine(peak, end, (step - top) / (last - top) if last > top else 1.0)


def cosine(start: float, end: float, progress: float) -> float:
    """From ``start`` to ``end`` along half a cosine, as ``progress`` goes from 0 to 1."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2
