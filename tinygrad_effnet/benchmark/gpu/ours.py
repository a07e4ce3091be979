"""The workload in this package, on the current GPU."""

from __future__ import annotations

from typing import Any, cast

from ... import nn, ops, optim, tape
from ...backends.cupy.availability import require_device
from ...tensor import Tensor, from_numpy
from ...training import precision as precisions
from .. import ours
from ..settings import Settings


class Ours:
    """See `workload.Workload`.

    ``precision`` is as `TrainConfig` has it; in use 16 bits are the weights' own. ``recorded``: use is a replay of
    launches (`nn.Recorded`).
    """

    def __init__(self, settings: Settings, task: str, precision: str, recorded: bool = False) -> None:
        self.cupy = require_device("benchmark")
        self.task, self.precision = task, precision
        self.model = ours.build(settings).to("cupy").train(task == "training")
        self.half = None
        if task == "training":
            self.half = precisions.prepare(precision, self.model)
            self.optimizer = optim.NAdam(self.model.parameters(), lr=1e-3)
        else:
            precisions.prepare("tf32" if precision == "tf32" else "float32", self.model)
            if precision in ("bfloat16", "float16"):
                self.model.to(precision)
        self.replayed = nn.Recorded(self.model) if recorded else None
        self._batch = settings.images(), settings.labels()
        self.images: Tensor | None = None
        self.labels: Tensor | None = None

    def wake(self) -> None:
        images, labels = map(from_numpy, self._batch)
        if self.task == "inference" and self.precision in ("bfloat16", "float16"):
            images = images.to("cupy").to(self.precision)
        self.images, self.labels = images.to("cupy"), labels.to("cupy")

    def step(self) -> Tensor:
        return self._train() if self.task == "training" else self._infer()

    def _train(self) -> Tensor:
        """As `Trainer` does a step: forward, cross-entropy, backward, NAdam; but nothing is read in between."""
        self.optimizer.zero_grad()
        images = cast(Tensor, self.images)
        logits = self.model(images) if self.half is None else self.half.logits(images)
        loss: Tensor = ops.cross_entropy(logits, self.labels)
        if self.half is None:
            loss.backward()
        else:
            self.half.backward(loss)
        if self.half is None or self.half.may_step():
            self.optimizer.step()
        return loss.detach()

    def _infer(self) -> Tensor:
        images = cast(Tensor, self.images)
        with tape.no_grad():
            logits: Tensor = self.model(images) if self.replayed is None else self.replayed(images)
        if self.replayed is not None and self.replayed.reason:
            raise RuntimeError(f"it was not replayed: {self.replayed.reason}")
        return logits

    def read(self, result: Tensor) -> float:
        return float(result.reshape((-1,))[0].float().item())

    def wait(self) -> None:
        self.cupy.cuda.Device().synchronize()

    def held(self) -> int:
        return int(self.cupy.get_default_memory_pool().total_bytes())

    def rest(self) -> None:
        self.images = self.labels = None
        if self.task == "training":
            self.optimizer.zero_grad()
        self.cupy.get_default_memory_pool().free_all_blocks()


def prepare(settings: Settings, task: str, precision: str, **options: Any) -> Ours:
    """As each entrant's file has it."""
    return Ours(settings, task, precision, **options)
