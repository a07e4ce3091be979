"""What is counted while a pass over a data set goes on."""

from __future__ import annotations

from typing import Any

import numpy as np

from .metrics import ConfusionMatrix, RunningMean


class Tally:
    """Loss and confusion matrix of one pass over a data set."""

    def __init__(self, num_classes: int) -> None:
        self.mean_loss = RunningMean()
        self.confusion = ConfusionMatrix(num_classes)

    def update(self, loss: float, logits: np.ndarray, labels: np.ndarray) -> None:
        self.mean_loss.update(loss, len(labels))
        self.confusion.update(labels, logits.argmax(axis=1))

    @property
    def images(self) -> int:
        return self.mean_loss.count

    @property
    def loss(self) -> float:
        return self.mean_loss.mean

    @property
    def accuracy(self) -> float:
        return self.confusion.accuracy()

    @property
    def f1(self) -> float:
        """Macro F1 over the whole pass at once."""
        return self.confusion.macro_f1()

    def state(self) -> dict[str, Any]:
        return {
            "loss": self.loss if self.images else 0.0,
            "images": self.images,
            "matrix": self.confusion.matrix.tolist(),
        }

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Tally:
        tally = cls(len(state["matrix"]))
        if state["images"]:
            tally.mean_loss.update(state["loss"], state["images"])
        tally.confusion = ConfusionMatrix.from_matrix(np.asarray(state["matrix"], np.int64))
        return tally
