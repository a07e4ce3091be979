"""What is measured on a GPU, in the order of what matters: where time runs out, the end of this list is left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...training.config import PRECISIONS
from ..settings import TASKS, Settings


class Heat(NamedTuple):
    """One workload, in one precision; images are (batch, 3, size, size)."""

    task: str
    model: str
    size: int
    batch: int
    precision: str

    @property
    def title(self) -> str:
        return f"{self.task}, {self.model.upper()}, {self.size} px, batch {self.batch}, {self.precision}"

    @property
    def is_latency(self) -> bool:
        """Whether each step is waited for: of a single image one wants to know how long it takes."""
        return self.task == "inference" and self.batch == 1

    def settings(self, threads: int) -> Settings:
        return Settings(self.model, self.size, self.batch, threads)


PLAN = (
    Heat("training", "b0", 224, 128, "tf32"),
    Heat("training", "b0", 224, 128, "bfloat16"),
    Heat("inference", "b0", 224, 256, "tf32"),
    Heat("inference", "b0", 224, 1, "tf32"),
    Heat("training", "b0", 224, 256, "tf32"),
    Heat("training", "b0", 224, 256, "bfloat16"),
    Heat("training", "b0", 224, 128, "float32"),
    Heat("training", "b0", 224, 128, "float16"),
    Heat("training", "b3", 300, 64, "tf32"),
    Heat("inference", "b0", 224, 256, "float16"),
    Heat("inference", "b0", 224, 1, "float16"),
    Heat("training", "b3", 300, 64, "bfloat16"),
    Heat("training", "b0", 224, 256, "float32"),
    Heat("training", "b0", 224, 256, "float16"),
)


def heats(
    model: str | None = None,
    size: int | None = None,
    batch: int | None = None,
    tasks: Sequence[str] | None = None,
    precisions: Sequence[str] | None = None,
) -> list[Heat]:
    """The plan, or that part of it which is asked for.

    Where a model, a size or a batch is named, that workload takes the place of the plan's.

    Raises
    ------
    ValueError
        There is no such model, a number makes no sense, or nothing of the plan is asked for.
    """
    wanted, kinds = list(tasks or TASKS), list(precisions or PRECISIONS)
    if (model, size, batch) == (None, None, None):
        found = [heat for heat in PLAN if heat.task in wanted and heat.precision in kinds]
        if not found:
            raise ValueError(
                f"--task {', '.join(wanted)} with --precision {', '.join(kinds)}: the plan has no such workload; "
                "name one with --model, --size or --batch"
            )
        return found
    own = Settings("b0" if model is None else model, 224 if size is None else size, 128 if batch is None else batch)
    own = own.checked()
    return [Heat(task, own.model, own.size, own.batch, kind) for task in wanted for kind in kinds]
