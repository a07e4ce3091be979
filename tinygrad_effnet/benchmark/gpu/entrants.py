"""Who takes part on a GPU, and in which processes: compiling is long, so that each compiled heat has one of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..contestants import Contestant, named
from .plan import Heat

ENTRANTS = (
    Contestant("cupy", "ours", {}, needs=("cupy",)),
    Contestant("cupy recorded", "ours", {"recorded": True}, ("inference",), ("cupy",)),
    Contestant("torch", "torch", {"channels_last": False, "compiled": False}, needs=("torch",)),
    Contestant("torch channels_last", "torch", {"channels_last": True, "compiled": False}, needs=("torch",)),
    Contestant("torch compiled", "torch", {"channels_last": True, "compiled": True}, needs=("torch",)),
    Contestant("onnxruntime", "onnxruntime", {}, ("inference",), ("onnxruntime", "torch", "onnxscript")),
)
ONNX_PRECISIONS = ("float32", "tf32")  # of the file that it reads


class Team(NamedTuple):
    """One process: an entrant, for the heats of one task in one precision, or for one heat."""

    entrant: Contestant
    heats: tuple[Heat, ...]


def choose(names: Sequence[str] | None) -> list[Contestant]:
    """The entrants of these names, in the table's order; all where there are no names.

    Raises
    ------
    ValueError
        There is no such entrant.
    """
    return list(ENTRANTS) if names is None else named(ENTRANTS, names, " on a GPU")


def takes_part(entrant: Contestant, heat: Heat) -> bool:
    """Whether this is something that the entrant does at all."""
    return heat.task in entrant.tasks and (entrant.kind != "onnxruntime" or heat.precision in ONNX_PRECISIONS)


def teams(entrants: Sequence[Contestant], heats: Sequence[Heat]) -> list[Team]:
    """The processes for these heats, those of the earliest heats first."""
    found: dict[tuple[object, ...], list[Heat]] = {}
    for entrant in entrants:
        for heat in heats:
            if takes_part(entrant, heat):
                alone = heat if entrant.options.get("compiled") else None
                found.setdefault((entrant.name, heat.task, heat.precision, alone), []).append(heat)
    by_name = {entrant.name: entrant for entrant in entrants}
    made = [Team(by_name[str(name)], tuple(own)) for (name, *_), own in found.items()]
    return sorted(made, key=lambda team: heats.index(team.heats[0]))
