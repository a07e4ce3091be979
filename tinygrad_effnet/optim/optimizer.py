"""Optimizer: parameter groups, the state of each parameter, and saving both. Update rules have their own files."""

from __future__ import annotations

import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np

from .. import versions
from ..backends import Array, backend_of
from ..backends.device import array_like, copy_like, explaining_shortage, on_host
from ..hooks import Hooks
from ..tensor import Tensor
from .parameters import Group, Params, as_groups, named_tensors

around_updates = Hooks()  # around(optimizer, update, param, grad, state, group) runs the update of every parameter


class Batch(NamedTuple):
    """Parameters to update at once, where the backend has ``updates`` for many."""

    updates: Any  # the backend's
    group: Group
    params: list[Array]
    grads: list[Array]
    states: list[dict[str, Any]]

    def add(self, param: Array, grad: Array, state: dict[str, Any]) -> None:
        self.params.append(param)
        self.grads.append(grad)
        self.states.append(state)

    def slot(self, name: str) -> list[Array]:
        """What is remembered of each parameter under this name."""
        return [state[name] for state in self.states]


class Optimizer(ABC):
    """Changes parameters after their gradients; a subclass says how in `update`.

    Parameters
    ----------
    params : iterable of Tensor, of (name, Tensor), or of dict
        Leaves that require a gradient. A dict is a group with options of its own: ``{"params": [...], "lr": 0.01}``.
        With names, as ``module.named_parameters()`` gives them, messages and checkpoints speak of names.
    defaults : dict
        The options of groups that do not set their own.

    Attributes
    ----------
    param_groups : list of dict
        Options of each group, with its tensors in "params" (and their names in "param_names"). Schedules write here.
    state : dict of Tensor to dict
        What is remembered of each parameter: the number of its steps, its moments (arrays of its shape and dtype).

    Raises
    ------
    TypeError
        ``params`` are not tensors, or have a dtype that cannot be optimised.
    ValueError
        No parameters, one twice, one that is not a leaf or requires no gradient; an option out of its range.
    """

    numbers: ClassVar[dict[str, int | float]] = {"step": 0}  # a parameter's state at first, apart from its arrays

    def __init__(self, params: Params, defaults: Mapping[str, Any]) -> None:
        self.defaults = {name: _plain(value) for name, value in defaults.items()}
        self.check(self.defaults)
        self.param_groups: list[Group] = []
        self.state: dict[Tensor, dict[str, Any]] = {}
        for group in as_groups(params, type(self).__name__):
            self.add_param_group(group)

    # -- what a subclass writes ------------------------------------------------------------------------------------
    @abstractmethod
    def update(self, param: Array, grad: Array, state: dict[str, Any], group: Group) -> None:
        """Write the new numbers into ``param``, and none into ``grad``. ``state["step"]`` already counts this step."""

    def update_together(self, batch: Batch) -> None:
        """`update`, for all parameters of a group with equally many steps; a subclass does it in one launch."""
        for param, grad, state in zip(batch.params, batch.grads, batch.states, strict=True):
            self.update(param, -grad if batch.group["maximize"] else grad, state, batch.group)

    @abstractmethod
    def slots(self, group: Group) -> tuple[str, ...]:
        """Names of the arrays to remember of each parameter: of its shape and dtype, and zero at first."""

    def check(self, options: Group) -> None:
        """Raise a ValueError for an option out of its range."""
        self._range(options, "lr", 0, math.inf)
        self._range(options, "weight_decay", 0, math.inf)

    # -- a step ----------------------------------------------------------------------------------------------------
    def zero_grad(self) -> None:
        """Forget all gradients: ``.grad`` becomes None."""
        for _, p in self._parameters():
            p.grad = None

    @explaining_shortage("optimizer.step()")
    def step(self) -> None:
        """Update every parameter that has a gradient, in place; nothing is recorded on the tape.

        Raises
        ------
        ValueError
            A ``.grad`` is not a Tensor of its parameter's shape. Nothing has been changed then.
        DeviceMemoryError
            A device has no room for the optimiser's own state, which the first step makes.
        """
        due = [(group, p, self._gradient(p)) for group, p in self._parameters() if p.grad is not None]
        versions.wrote(f"{type(self).__name__}.step()", *[p.array for _, p, _ in due])
        update = around_updates.bind(self.update, self)
        together: dict[tuple[int, int], Batch] = {}
        for group, p, gradient in due:
            state = self._state_of(p, group)
            state["step"] += 1
            updates = backend_of([p.array]).updates_of(p.array)
            if updates is None or around_updates:  # who looks on sees them one by one
                update(p.array, -gradient if group["maximize"] else gradient, state, group)
            else:
                batch = together.setdefault((id(group), state["step"]), Batch(updates, group, [], [], []))
                batch.add(p.array, gradient, state)
        for batch in together.values():
            self.update_together(batch)

    def _gradient(self, p: Tensor) -> Array:
        if not isinstance(p.grad, Tensor) or p.grad.shape != p.shape:
            came = f"has shape {p.grad.shape}" if isinstance(p.grad, Tensor) else f"is a {type(p.grad).__name__}"
            raise ValueError(
                f"step(): .grad of parameter {self._labels()[p]} {came}; "
                f"expected a Tensor of the parameter's shape {p.shape}, as backward() leaves it"
            )
        return p.grad.array

    def _state_of(self, p: Tensor, group: Group) -> dict[str, Any]:
        state = self.state.setdefault(p, dict(self.numbers))
        for name in self.slots(group):
            if name not in state:
                state[name] = backend_of([p.array]).xp.zeros(p.shape, p.dtype)
            elif type(state[name]) is not type(p.array):  # the parameter has moved, and its state goes with it
                state[name] = array_like(state[name], p.array)
        return state

    # -- parameter groups ------------------------------------------------------------------------------------------
    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add a group, ``{"params": tensors, **options}``; options left out have the optimiser's defaults.

        Raises
        ------
        TypeError, ValueError
            As for the optimiser itself, or there is an option that it does not have.
        """
        owner = type(self).__name__
        if not isinstance(group, Mapping) or "params" not in group:
            raise TypeError(
                f'{owner}(params): a group is a dict such as {{"params": [...], "lr": 0.01}}, got {group!r}'
            )
        options = {name: _plain(value) for name, value in group.items() if name != "params"}
        unknown = sorted(set(options) - set(self.defaults))
        if unknown:
            raise ValueError(f"{owner}(params): no option {unknown[0]!r}; a group may set {', '.join(self.defaults)}")
        made = {**self.defaults, **options}
        self.check(made)
        names, tensors = named_tensors(group["params"], owner, self.param_groups)
        made["params"] = tensors
        if names:
            made["param_names"] = names
        self.param_groups.append(made)

    def _parameters(self) -> Iterator[tuple[Group, Tensor]]:
        return ((group, p) for group in self.param_groups for p in group["params"])

    def _labels(self) -> dict[Tensor, str]:
        """What to call each parameter: its name, or its number."""
        names = [name for group in self.param_groups for name in group.get("param_names", [])]
        tensors = [p for _, p in self._parameters()]
        return dict(zip(tensors, names or map(str, range(len(tensors))), strict=True))

    def _range(self, options: Group, name: str, low: float, high: float) -> None:
        """Refuse ``options[name]`` outside [low, high)."""
        value = options[name]
        if not is_real(value) or not low <= value < high:
            limit = "" if high == math.inf else f" and below {high}"
            raise ValueError(
                f"{type(self).__name__}({name}): expected a finite number of at least {low}{limit}, got {value!r}"
            )

    def _check_betas(self, options: Group) -> None:
        betas = options["betas"]
        if (
            not isinstance(betas, tuple)
            or len(betas) != 2
            or not all(is_real(beta) and 0 <= beta < 1 for beta in betas)
        ):
            raise ValueError(
                f"{type(self).__name__}(betas): expected two numbers of at least 0 and below 1, got {betas!r}"
            )

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__}("]
        for i, group in enumerate(self.param_groups):
            options = ", ".join(f"{name}={group[name]!r}" for name in self.defaults)
            entries = sum(p.size for p in group["params"])
            lines.append(f"  group {i}: {len(group['params'])} parameters, {entries:,} entries; {options}")
        return "\n".join([*lines, ")"])

    # -- saving and restoring --------------------------------------------------------------------------------------
    def state_dict(self) -> dict[str, Any]:
        """All that a later run needs to go on exactly: plain numbers and copies of the arrays.

        Returns
        -------
        dict
            ``{"optimizer": class name, "state": {i: {"step": int, "exp_avg": array, ...}},
            "groups": [{"lr": ..., "params": [i, ...]}]}``; parameters are numbered through all groups.
        """
        numbered = {p: i for i, (_, p) in enumerate(self._parameters())}
        state: dict[int, dict[str, Any]] = {}
        for group, p in self._parameters():
            if p in self.state:
                own = self._state_of(p, group)
                arrays = {name: on_host(own[name]) for name in self.slots(group)}
                state[numbered[p]] = {name: own[name] for name in self.numbers} | arrays
        groups = [{**group, "params": [numbered[p] for p in group["params"]]} for group in self.param_groups]
        return {"optimizer": type(self).__name__, "state": state, "groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the state and the options of a run of the same optimiser over the same parameters.

        Raises
        ------
        ValueError
            It does not fit; the message lists what differs. Nothing has been changed then.
        """
        from .restoring import differences  # only a resumed run needs it

        wrong = differences(self, state_dict)
        if wrong:
            shown = wrong[:10] + ([f"and {len(wrong) - 10} more"] if len(wrong) > 10 else [])
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: the state does not fit this optimiser:\n  "
                + "\n  ".join(shown)
            )
        for group, stored in zip(self.param_groups, state_dict["groups"], strict=True):
            group.update({name: _plain(stored[name]) for name in self.defaults})
        tensors = [p for _, p in self._parameters()]
        self.state.clear()
        for index, stored in state_dict["state"].items():
            self.state[tensors[index]] = {
                name: copy_like(value, tensors[index].array) if hasattr(value, "shape") else value
                for name, value in stored.items()
            }

    def state_arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """The arrays of `state_dict` by "parameter.slot": "stem.conv.weight.exp_avg", or "0.exp_avg" without names."""
        labels = list(self._labels().values())
        return {
            f"{labels[i]}.{name}": value
            for i, state in self.state_dict()["state"].items()
            for name, value in state.items()
            if name not in self.numbers
        }

    def state_values(self) -> dict[str, Any]:
        """The rest of `state_dict`, fit for JSON: "optimizer", "groups", and "numbers" by parameter."""
        labels = self._labels()
        return {
            "optimizer": type(self).__name__,
            "groups": [
                {name: list(x) if isinstance(x, tuple) else x for name, x in group.items() if name != "params"}
                | {"params": [labels[p] for p in group["params"]]}
                for group in self.param_groups
            ],
            "numbers": {
                labels[p]: {name: self.state[p][name] for name in self.numbers}
                for _, p in self._parameters()
                if p in self.state
            },
        }

    def load(self, arrays: Mapping[str, np.ndarray[Any, Any]], values: Mapping[str, Any]) -> None:
        """Restore what `state_arrays` and `state_values` gave, to the last bit.

        Raises
        ------
        ValueError
            They do not fit; the message lists what differs. Nothing has been changed then.
        """
        from .restoring import joined

        self.load_state_dict(joined(self, arrays, values))


def is_real(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _plain(value: Any) -> Any:
    """Options as Python numbers: a NumPy float64 would turn float32 arithmetic into float64, and JSON knows neither."""
    if isinstance(value, (list, tuple)):
        return tuple(_plain(v) for v in value)
    return value.item() if isinstance(value, np.generic) else value
