#!/usr/bin/env python3
"""Write a stand-in for Stanford Cars: fictional car models, drawn by the program, in the files of that data set.

    python examples/draw_cars.py cars                                # 196 models, 30 pictures to learn from, 5 to check
    python examples/train_cars.py --data cars --crop-boxes --size 64

The pictures are synthetic and say nothing about photographs. They are there to try what so many classes ask of a
network, a machine and a recipe, for the photographs are no longer to be had from those who collected them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from a source tree, installed or not

from tinygrad_effnet.data import write_stanford_cars


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="DIR", help="where to; a new folder, or an empty one")
    add = parser.add_argument
    add("--models", type=int, default=196, metavar="N", help="classes (default: 196)")
    add("--images", type=int, default=30, metavar="N", help="pictures of each class to learn from (default: 30)")
    add("--test-images", type=int, default=5, metavar="N", help="and to check with (default: 5)")
    add("--size", type=int, default=128, metavar="PIXELS", help="side of the pictures (default: 128)")
    add("--seed", type=int, default=0, metavar="N", help="another one draws other pictures (default: 0)")
    given = parser.parse_args(arguments)
    counts = (given.images, given.test_images)
    print(f"drawing {given.models * sum(counts)} pictures, some hundred a second ...", flush=True)
    try:
        write_stanford_cars(given.folder, given.models, counts, given.size, given.seed)
    except (OSError, ValueError) as error:
        print(f"draw_cars: {error}", file=sys.stderr)
        return 1
    print(f"{given.models * sum(counts)} pictures of {given.models} models are in {given.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
