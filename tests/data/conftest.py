from __future__ import annotations

import numpy as np
import pytest


class Counting:
    """Pictures of growing width that count how often they are made."""

    def __init__(self, count: int = 6) -> None:
        self.class_names = ["even", "odd"]
        self.labels = np.arange(count, dtype=np.int64) % 2
        self.made: list[int] = []

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        self.made.append(index)
        return np.full((20, 20 + 10 * index, 3), index, dtype=np.uint8), int(self.labels[index])

    def source(self, index: int) -> str:
        return f"number {index}"

    def describe(self) -> str:
        return "counting"


@pytest.fixture
def counting() -> type[Counting]:
    """The class, to be called."""
    return Counting
