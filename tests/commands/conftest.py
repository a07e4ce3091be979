from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tinygrad_effnet import commands
from tinygrad_effnet.data import SyntheticCars


@pytest.fixture(scope="package")
def photographs(tmp_path_factory) -> Path:
    """A folder of class folders: four PNGs of each of three models."""
    root = tmp_path_factory.mktemp("photographs")
    cars = SyntheticCars("train", images_per_class=4, size=40)
    for i in range(len(cars)):
        picture, label = cars[i]
        if label < 3:
            folder = root / cars.class_names[label]
            folder.mkdir(exist_ok=True)
            Image.fromarray(picture).save(folder / f"{i}.png")
    return root


@pytest.fixture(scope="package")
def finished(photographs: Path, tmp_path_factory) -> Path:
    """A run of one epoch, begun by the command, with its settings from a TOML file."""
    out = tmp_path_factory.mktemp("runs")
    (out / "settings.toml").write_text(f'data = "{photographs.as_posix()}"\nsize = 32\nbatch_size = 4\nepochs = 9\n')
    flags = ["--config", str(out / "settings.toml"), "--epochs", "1", "--out", str(out), "--name", "run"]
    assert commands.main(["train", *flags]) == 0
    return out / "run"
