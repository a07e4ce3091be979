#!/usr/bin/env python3
"""Draw images/augmentation.jpg: what each augmentation does to synthetic cars. Run it again when one changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from tinygrad_effnet import data

SIDE, COLUMNS = 96, 8


def main() -> None:
    cars = data.SyntheticCars("train", 1, SIDE, seed=3)
    chains: dict[str, data.transforms.Transform] = {
        "crop": data.RandomResizedCrop(SIDE, (0.4, 1.0)),
        "rotate 15°": data.RandomAffine(degrees=15),
        "shear 15°": data.RandomAffine(shear=15),
        "jitter 0.3": data.ColorJitter(0.3, 0.3, 0.3),
        "erasing": data.RandomErasing(1.0),
        "RandAugment 9": data.RandAugment(2, 9),
    }
    rows = []
    for number, chain in enumerate(chains.values()):
        rng = np.random.default_rng(1)
        rows.append(np.concatenate([chain(cars[number][0], rng) for _ in range(COLUMNS)], axis=1))
    batch = np.stack([cars[i][0] for i in range(COLUMNS)]).transpose(0, 3, 1, 2).astype(np.float32)
    for alphas in ({"mixup": 1.0}, {"cutmix": 1.0}):
        mixed, _ = data.MixBatch(10, **alphas)(batch, np.arange(COLUMNS), np.random.default_rng(2))
        rows.append(np.concatenate(list(mixed.transpose(0, 2, 3, 1).astype(np.uint8)), axis=1))

    names = [*chains, "mixup", "CutMix"]
    figure = Figure(figsize=(9, 8))
    axes = figure.add_axes((0.15, 0, 0.85, 1))
    axes.imshow(np.concatenate(rows))
    axes.set_yticks([SIDE * (i + 0.5) for i in range(len(names))], names)
    axes.tick_params(length=0)
    axes.set_xticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    figure.savefig(Path(__file__).parent / "images" / "augmentation.jpg", dpi=80, pil_kwargs={"quality": 88})


if __name__ == "__main__":
    main()
