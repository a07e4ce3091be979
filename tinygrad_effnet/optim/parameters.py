"""What an optimiser is given to optimise: tensors, named tensors or groups of either, checked one by one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..backends.dtypes import is_floating
from ..tensor import Tensor

Group = dict[str, Any]
Params = Iterable[Tensor] | Iterable[tuple[str, Tensor]] | Iterable[Group]


def as_groups(params: Any, owner: str) -> list[Any]:
    """``params`` as a list of groups; what is no list of groups is one group. ``owner`` is named in errors."""
    if isinstance(params, (Tensor, Mapping, str, set)) or not isinstance(params, Iterable):
        raise TypeError(
            f"{owner}(params): expected an iterable of tensors, of (name, tensor) pairs or of groups, got a "
            f"{type(params).__name__}; put one tensor or group in a list, pass a dict's .items(), sort a set"
        )
    members = list(params)
    if not members:
        raise ValueError(
            f"{owner}(params): no parameters; an iterator may have been used up, so call parameters() anew"
        )
    return members if any([isinstance(member, Mapping) for member in members]) else [{"params": members}]


def named_tensors(params: Any, owner: str, others: Iterable[Group]) -> tuple[list[str], list[Tensor]]:
    """Names (none, or all) and tensors of a new group, none of which is in the ``others``."""
    if isinstance(params, (Mapping, str, set)) or not isinstance(params, Iterable):
        raise TypeError(
            f'{owner}(params): "params" of a group must be a list of tensors, got a {type(params).__name__}'
        )
    members: list[Any] = [params] if isinstance(params, Tensor) else list(params)
    if not members:
        raise ValueError(f"{owner}(params): a group without parameters; leave it out")
    names: list[str] = [member[0] for member in members if _is_pair(member)]
    tensors: list[Any] = [member[1] if _is_pair(member) else member for member in members]
    whole = {bool(group.get("param_names")) for group in others} | {bool(names)}
    if len(whole) > 1 or len(names) not in (0, len(tensors)):
        raise ValueError(f"{owner}(params): some parameters have names and some have none; name all or none")
    labels = [repr(name) for name in names] or [f"params[{i}]" for i in range(len(tensors))]
    taken = {x for group in others for x in [*group["params"], *group.get("param_names", [])]}
    for label, p, *name in zip(labels, tensors, *([names] if names else []), strict=True):
        _check(p, f"{owner}(params): {label}")
        if not taken.isdisjoint([p, *name]):
            raise ValueError(f"{owner}(params): {label} occurs twice; a parameter belongs to one group, once")
        taken.update([p, *name])
    return names, tensors


def _is_pair(member: Any) -> bool:
    return isinstance(member, tuple) and len(member) == 2 and isinstance(member[0], str)


def _check(p: Any, where: str) -> None:
    if not isinstance(p, Tensor):
        raise TypeError(f"{where} is a {type(p).__name__}; expected a Tensor")
    if not p.is_leaf:
        raise ValueError(
            f"{where} is the result of an operation ({p.node!r}), so changing it changes no parameter; "
            "pass the tensor that it was computed from, or its .detach().requires_grad_()"
        )
    if not p.requires_grad:
        raise ValueError(f"{where} does not require a gradient; leave it out, or set .requires_grad = True")
    if not is_floating(p.dtype) or p.dtype.kind == "c":
        raise TypeError(f"{where} is {p.dtype}; optimise its real and imaginary parts as two tensors")
