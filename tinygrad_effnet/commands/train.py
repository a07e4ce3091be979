"""``train``: begin or resume a run, or check beforehand whether one makes sense."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import training
from ..training import TrainConfig, checks
from ..training.files import new_run_folder
from .flags import add_settings, settings_of

DESCRIPTION = """Fit a network to photographs of cars, or, without --data, to ten fictional cars that the program draws.

Results go to a new folder below --out: weights, history, curves, confusion matrix, mistakes, report.html."""


def parser(prog: str = "python -m tinygrad_effnet train") -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog=prog, description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = made.add_argument
    add("--out", metavar="DIR", default="runs", help="folder of all runs (default: runs)")
    add("--name", default=None, help="name of this run (default: the model's, numbered)")
    add("--resume", metavar="RUN", default=None, help="folder of a run to go on with")
    add("--config", metavar="FILE", help="settings from a TOML file, or a run's config.json; flags count for more")
    add("--overfit-one-batch", action="store_true", help="instead: check that one batch can be learnt by heart")
    raises = "instead: raise the rate and see where the loss falls"
    add("--lr-find", type=int, nargs="?", const=200, metavar="STEPS", help=raises)
    add_settings(made)
    return made


def main(arguments: Sequence[str] | None = None, prog: str = "python -m tinygrad_effnet train") -> int:
    """Run the command; returns the exit status: 0, or 1 after a message."""
    given = vars(parser(prog).parse_args(arguments))
    try:
        if given["resume"] is not None:
            training.resume(given["resume"], **settings_of(given))
            return 0
        return _begin(_config(given), given)
    except training.EXPECTED_ERRORS as error:
        print(f"{prog.split()[-1]}: {error}", file=sys.stderr)
        return 1


def _config(given: dict[str, Any]) -> TrainConfig:
    read = {} if given["config"] is None else asdict(TrainConfig.load(Path(given["config"])))
    return TrainConfig(**{**read, **settings_of(given)})


def _begin(config: TrainConfig, given: dict[str, Any]) -> int:
    if given["overfit_one_batch"]:
        result = checks.overfit_one_batch(config)
        print(result)
        return 0 if result.learnt else 1
    if given["lr_find"] is not None:
        found = checks.find_learning_rate(config, steps=max(10, given["lr_find"]))
        folder = new_run_folder(given["out"], given["name"], stem=f"{config.model}-lr-find")
        config.save(folder / "config.json")
        picture, _ = checks.plot_learning_rates(found, folder)
        print(f"{found}\ndrawn in {picture}")
        return 0
    training.train(config, given["out"], given["name"])
    return 0
