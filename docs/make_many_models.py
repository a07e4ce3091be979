#!/usr/bin/env python3
"""Draw images/many_models.jpg: hatchbacks among the drawn models. Run it again when one of them changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinygrad_effnet.data import SyntheticCars, contact_sheet

MODELS, EACH = 60, 8


class Hatchbacks:
    """Every tenth model has the body of the first."""

    def __init__(self, cars: SyntheticCars) -> None:
        self.cars, self.class_names = cars, cars.class_names[::10]
        self.indices = np.flatnonzero(cars.labels % 10 == 0)
        self.labels = cars.labels[self.indices] // 10

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        return self.cars[int(self.indices[index])][0], int(self.labels[index])


def main() -> None:
    sheet = contact_sheet(Hatchbacks(SyntheticCars("train", EACH, 96, models=MODELS)), EACH)
    sheet.save(Path(__file__).parent / "images" / "many_models.jpg", quality=85)


if __name__ == "__main__":
    main()
