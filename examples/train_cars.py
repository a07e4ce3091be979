#!/usr/bin/env python3
"""Train EfficientNet to tell car models apart.

    python examples/train_cars.py                          # ten fictional cars, drawn by the program
    python examples/train_cars.py --data DIR               # photographs, such as DIR/<class>/<image>
    python examples/train_cars.py --resume runs/<name>     # go on where a run stopped

The same as ``python -m tinygrad_effnet train``; ``--help`` names every setting. From Python it is

    training.train(training.TrainConfig(data="DIR"))
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from a source tree, installed or not

from tinygrad_effnet.commands import train


def main(arguments: list[str] | None = None) -> int:
    return train.main(arguments, prog="train_cars")


if __name__ == "__main__":
    sys.exit(main())
