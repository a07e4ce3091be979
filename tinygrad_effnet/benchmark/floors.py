"""What a training step takes at the least on a GPU, reckoned from its data sheet: nothing here is measured.

An operation takes no less time than its bytes at the card's bandwidth, and no less than its floating-point operations
at the card's rate. Bytes and operations are counted as in profile.py, in steps of two images and of three, so that what
grows with the batch is told from what does not (weights).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .. import ops
from ..backends import use_backend
from ..tensor import from_numpy
from . import ours
from .machine import Roofs
from .profile import OPTIMIZER, Profile, operations_into
from .settings import Settings
from .tables import table

PRODUCTS = ("conv2d", "conv2d_input_grad", "conv2d_weight_grad", "matmul", "linear")  # cuBLAS computes these
BATCHES = (128, 256)
SMALL = 0.01  # share of the bytes below which an operation is counted among the others


class Card(NamedTuple):
    """A GPU by its data sheet: bytes a second, and dense floating-point operations a second."""

    name: str
    bandwidth: float
    float32: float
    tf32: float  # of products; float32's where it has none


CARDS = {
    "t4": Card("NVIDIA T4", 320e9, 8.1e12, 8.1e12),
    "a100": Card("NVIDIA A100 SXM 80 GB", 2039e9, 19.5e12, 156e12),
    "h100": Card("NVIDIA H100 SXM", 3350e9, 67e12, 494.5e12),
    "h200": Card("NVIDIA H200 SXM", 4800e9, 67e12, 494.5e12),
}


class Cost(NamedTuple):
    """What one kind of operation costs: so much an image, and so much a step besides."""

    name: str
    calls: int
    flops: int
    bytes: int
    fixed_flops: int
    fixed_bytes: int

    def seconds(self, card: Card, batch: int, tf32: bool) -> float:
        """The least time of all its calls in a step."""
        rate = card.tf32 if tf32 and self.name in PRODUCTS else card.float32
        moving = (self.fixed_bytes + batch * self.bytes) / card.bandwidth
        return max(moving, (self.fixed_flops + batch * self.flops) / rate)


def costs(settings: Settings) -> list[Cost]:
    """Every kind of operation of a fused training step, the costliest in bytes first; ``batch`` does not matter."""
    two, three = (_count(settings._replace(batch=batch)) for batch in (2, 3))
    found = []
    for name, more in three.entries.items():
        less = two.entries[name]
        flops, moved = more.flops - less.flops, more.bytes - less.bytes
        found.append(Cost(name, more.calls, flops, moved, less.flops - 2 * flops, less.bytes - 2 * moved))
    return sorted(found, key=lambda cost: -cost.bytes)


def _count(settings: Settings) -> Profile:
    found = Profile(Roofs(1.0, 1.0))  # its seconds are of no interest
    with use_backend("numpy"):
        model = ours.build(settings, fused=True).train()
        images, labels = from_numpy(settings.images()), settings.labels()
        with operations_into(found):
            ops.cross_entropy(model(images), labels).backward()
        parameters = sum(parameter.array.nbytes for parameter in model.parameters())
    found.add(OPTIMIZER, [], 0.0, 0, 7 * parameters)  # as in profile.py
    return found


def in_words(found: Sequence[Cost], card: Card, batches: Sequence[int]) -> str:
    """A table for a card: what each operation costs an image, and the least it takes at each batch."""
    whole = sum(cost.bytes for cost in found)
    large = [cost for cost in found if cost.bytes >= SMALL * whole or cost.name == OPTIMIZER]
    small = [cost for cost in found if cost not in large]
    names = {False: "float32", True: "TF32"}
    kinds = [(f"batch {batch}, {names[tf32]}, ms", batch, tf32) for batch in batches for tf32 in names]

    def row(name: str, group: Sequence[Cost]) -> list[str]:
        numbers = [f"{sum(cost.calls for cost in group)}", f"{sum(cost.flops for cost in group) / 1e6:.1f}"]
        numbers += [f"{sum(cost.bytes for cost in group) / 1e6:.2f}"]
        return [name, *numbers, *[f"{_least(group, card, batch, tf32) * 1e3:.2f}" for _, batch, tf32 in kinds]]

    rows = [row(cost.name, [cost]) for cost in large] + [row(f"{len(small)} others", small), row("together", found)]
    rates = [f"{batch / _least(found, card, batch, tf32):,.0f}" for _, batch, tf32 in kinds]
    head = ["operation", "calls", "MFLOP an image", "MB an image", *[kind for kind, _, _ in kinds]]
    return table(head, [*rows, ["images/s at most", "", "", "", *rates]])


def _least(group: Sequence[Cost], card: Card, batch: int, tf32: bool) -> float:
    return sum(cost.seconds(card, batch, tf32) for cost in group)
