#!/usr/bin/env python3
"""Let this package and PyTorch learn the same, step for step, and draw the curves of both in one picture.

    python examples/compare_pytorch.py                      # synthetic cars
    python examples/compare_pytorch.py --data DIR --epochs 5 --seeds 3

Both begin with the same weights and get the same batches, augmented the same, and NAdam changes them. Dropout and
stochastic depth are off, since the two draw other random numbers. Needs PyTorch.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from a source tree, installed or not

from tinygrad_effnet import training
from tinygrad_effnet.benchmark import side_by_side, side_by_side_report
from tinygrad_effnet.commands.flags import add_settings, settings_of
from tinygrad_effnet.training.files import new_run_folder


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="repeat with so many seeds (default: 1)")
    parser.add_argument("--out", default="runs", metavar="DIR", help="folder of all runs (default: runs)")
    parser.add_argument("--float64", action="store_true", help="compute in float64, which tells rounding from mistakes")
    parser.add_argument(
        "--control",
        action="store_true",
        help="let PyTorch learn a second time, its first weights one rounding away: what rounding alone does",
    )
    add_settings(parser)
    given = vars(parser.parse_args(arguments))
    try:
        config = training.TrainConfig(**{"epochs": 3, **settings_of(given)})
        folder = new_run_folder(given["out"], stem="compare_pytorch")
        seeds = range(config.seed, config.seed + max(1, given["seeds"]))
        precision = "float64" if given["float64"] else "float32"
        pairs = [
            side_by_side.learn_side_by_side(config.changed(seed=seed), precision, control=given["control"])
            for seed in seeds
        ]
        picture = side_by_side_report.draw(pairs, folder / "curves.png", f"{config.model}, {config.optimizer}")
        side_by_side_report.write(pairs, folder / "courses.json")
    except training.EXPECTED_ERRORS as error:
        print(f"compare_pytorch: {error}", file=sys.stderr)
        return 1
    print(f"{side_by_side_report.describe(pairs)}\ndrawn in {picture}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
