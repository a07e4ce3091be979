"""Epochs for TensorBoard, behind the extra ``tensorboard``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Board:
    """Scalars of a run for TensorBoard, in ``folder/tensorboard``; look at them with ``tensorboard --logdir runs``.

    Raises
    ------
    ImportError
        tensorboardX is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ImportError(
                'tensorboard: it needs tensorboardX; run pip install "tinygrad_effnet[tensorboard]", or leave it out'
            ) from error
        self._writer = SummaryWriter(str(folder / "tensorboard"))

    def write(self, values: Mapping[str, Any]) -> None:
        """Add an epoch: every number of it but "epoch", as "train/loss", "val/f1" and so on."""
        for name, value in values.items():
            if name != "epoch" and isinstance(value, int | float) and not isinstance(value, bool):
                part, _, rest = name.partition("_")
                tag = f"{part}/{rest}" if part in ("train", "val") else f"run/{name}"
                self._writer.add_scalar(tag, value, values["epoch"])
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
