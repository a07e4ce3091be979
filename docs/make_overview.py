"""Draw docs/images/overview.png: samples of the synthetic cars above the curves of a run.

python docs/make_overview.py runs/<name>
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent))

from tinygrad_effnet.data import SyntheticCars, contact_sheet
from tinygrad_effnet.files import atomic_write


class _Half:
    """Some classes of a data set, numbered from 0."""

    def __init__(self, cars: SyntheticCars, classes: range) -> None:
        self.class_names = [cars.class_names[i] for i in classes]
        self.indices = np.flatnonzero(np.isin(cars.labels, classes))
        self.cars, self.labels = cars, cars.labels[self.indices] - classes[0]

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        return self.cars[int(self.indices[index])][0], int(self.labels[index])


def main() -> None:
    cars = SyntheticCars("train", size=96)
    halves = [contact_sheet(_Half(cars, part), columns=6, tile=76) for part in (range(5), range(5, 10))]
    sheet = Image.new("RGB", (sum(half.width for half in halves), halves[0].height), "white")
    for i, half in enumerate(halves):
        sheet.paste(half, (i * halves[0].width, 0))
    with Image.open(Path(sys.argv[1]) / "curves.png") as picture:
        curves = picture.convert("RGB")
    curves = curves.resize((sheet.width, round(curves.height * sheet.width / curves.width)), Image.Resampling.LANCZOS)
    overview = Image.new("RGB", (sheet.width, sheet.height + curves.height), "white")
    overview.paste(sheet, (0, 0))
    overview.paste(curves, (0, sheet.height))
    data = io.BytesIO()
    overview.save(data, "PNG", optimize=True)
    target = Path(__file__).parent / "images" / "overview.png"
    target.parent.mkdir(exist_ok=True)
    atomic_write(target, lambda file: file.write(data.getvalue()))
    print(target, len(data.getvalue()), "bytes")


if __name__ == "__main__":
    main()
