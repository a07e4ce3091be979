from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from tinygrad_effnet.training import Predictions


class Colours:
    """Nine pictures of three classes, each of one colour. A class and a file have names that HTML must not read."""

    def __init__(self) -> None:
        self.class_names = ["</script><b>van", "estate", "saloon"]
        self.labels = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2], np.int64)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int):
        return np.full((20, 30, 3), 25 * index, np.uint8), int(self.labels[index])

    def source(self, index: int) -> str:
        return f"<img src=x>{index}.jpg"

    def describe(self) -> str:
        return "nine <i>colours</i>"


@dataclass
class Case:
    dataset: Colours
    predictions: Predictions


@pytest.fixture
def case() -> Case:
    """Picture 3 is taken for class 0 surely, 4 for class 0 hardly, 8 for class 1; the others are right."""
    probabilities = np.full((9, 3), 0.1)
    predicted = [0, 0, 0, 0, 0, 1, 2, 2, 1]
    probabilities[np.arange(9), predicted] = 0.8
    probabilities[3] = [0.98, 0.01, 0.01]
    probabilities[4] = [0.5, 0.4, 0.1]
    dataset = Colours()
    return Case(dataset, Predictions(probabilities, dataset.labels))
