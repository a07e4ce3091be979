"""Does a saved state fit an optimiser? Everything that differs is found before anything is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..tensor import Tensor
    from .optimizer import Optimizer


def differences(optimizer: Optimizer, state_dict: Mapping[str, Any]) -> list[str]:
    """What keeps ``state_dict`` from being loaded, a line each; empty where it fits."""
    if not isinstance(state_dict, Mapping) or not {"state", "groups"} <= set(state_dict):
        came = sorted(state_dict) if isinstance(state_dict, Mapping) else type(state_dict).__name__
        return [f'expected what state_dict() gives, a dict with "state" and "groups"; got {came}']
    return list(_differences(optimizer, state_dict))


def _differences(optimizer: Optimizer, state_dict: Mapping[str, Any]) -> Iterator[str]:
    made_by = state_dict.get("optimizer", type(optimizer).__name__)
    if made_by != type(optimizer).__name__:
        yield f"it was saved by {made_by}"
        return
    if len(state_dict["groups"]) != len(optimizer.param_groups):
        yield f"{len(state_dict['groups'])} groups were saved, here are {len(optimizer.param_groups)}"
        return
    first, fits = 0, True
    for i, (group, stored) in enumerate(zip(optimizer.param_groups, state_dict["groups"], strict=True)):
        here = list(range(first, first + len(group["params"])))
        first += len(here)
        for difference in _group_differences(optimizer, group, here, stored, f"groups[{i}]"):
            fits = False
            yield difference
    if not fits:  # which arrays to expect follows from the options
        return
    owners = [
        (stored, p)
        for group, stored in zip(optimizer.param_groups, state_dict["groups"], strict=True)
        for p in group["params"]
    ]
    labels = optimizer._labels()
    for index, stored in state_dict["state"].items():
        if index not in range(len(owners)):
            yield f"it has a parameter {index!r}; here they are numbered 0 to {len(owners) - 1}"
        else:
            group, p = owners[index]
            yield from _state_differences(optimizer, group, p, stored, f"parameter {labels[p]}")


def _group_differences(
    optimizer: Optimizer, group: dict[str, Any], here: list[int], stored: Mapping[str, Any], where: str
) -> Iterator[str]:
    if list(stored.get("params", [])) != here:
        yield f"{where}: its parameters are numbers {stored.get('params')}, here {here}"
    there, names = list(stored.get("param_names", [])), group.get("param_names", [])
    if there and names and there != names:
        saved, own = next(((a, b) for a, b in zip(there, names, strict=False) if a != b), (len(there), len(names)))
        yield f"{where}: where {saved!r} was saved, here is {own!r}"
    options = set(stored) - {"params", "param_names"}
    if options != set(optimizer.defaults):
        yield f"{where}: its options are {sorted(options)}, here {sorted(optimizer.defaults)}"
        return
    try:
        optimizer.check({name: tuple(x) if isinstance(x := stored[name], list) else x for name in optimizer.defaults})
    except ValueError as error:
        yield f"{where}: {error}"


def _state_differences(
    optimizer: Optimizer, group: Any, p: Tensor, stored: Mapping[str, Any], where: str
) -> Iterator[str]:
    expected = {*optimizer.numbers, *optimizer.slots(group)}
    yield from (f"{where}: {name} is missing" for name in sorted(expected - set(stored)))
    yield from (f"{where}: {name} is not known" for name in sorted(set(stored) - expected))
    for name, value in ((name, stored[name]) for name in stored if name in expected):
        if name in optimizer.numbers:
            if type(value) is not type(optimizer.numbers[name]):
                yield f"{where}: {name} is {value!r}, expected {type(optimizer.numbers[name]).__name__}"
        elif not hasattr(value, "shape"):
            yield f"{where}: {name} is a {type(value).__name__}, expected an array"
        elif value.shape != p.shape or value.dtype != p.dtype:
            yield f"{where}: {name} is {value.dtype} of shape {value.shape}, expected {p.dtype} of shape {p.shape}"


def joined(optimizer: Optimizer, arrays: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The ``state_dict`` that `Optimizer.state_arrays` and `Optimizer.state_values` came from.

    Parameters that the optimiser does not have keep their name as number, for `differences` to report.
    """
    if not isinstance(values, Mapping) or not {"groups", "numbers"} <= set(values):
        came = sorted(values) if isinstance(values, Mapping) else type(values).__name__
        raise ValueError(f'load(values): expected what state_values() gives, with "groups" and "numbers"; got {came}')
    indices = {label: i for i, label in enumerate(optimizer._labels().values())}
    state = {indices.get(label, label): dict(numbers) for label, numbers in values["numbers"].items()}
    for key, array in arrays.items():
        label, _, name = key.rpartition(".")
        state.setdefault(indices.get(label, label), {})[name] = array
    groups = [
        {**group, "params": [indices.get(label, label) for label in group["params"]]} for group in values["groups"]
    ]
    return {**{k: v for k, v in values.items() if k != "numbers"}, "state": state, "groups": groups}
