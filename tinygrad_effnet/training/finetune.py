"""Fine-tuning: a network that has learnt something else learns other classes, first its classifier, then all of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .build import open_split
from .config import TrainConfig
from .run import Result, train

# Of weights that know photographs the early stages are kept: they see edges and colours, which are everywhere the same.
# From drawings it is a longer way, and everything must go it.
CLOSE = {"freeze": "stem", "lr_scale": 0.3, "lr_scales": "stages.0=0.03,stages.1=0.1,stages.2=0.1"}


def fine_tuning(settings: Mapping[str, Any]) -> TrainConfig:
    """Settings of `TrainConfig` with defaults that suit `fine_tune`; what is given counts for more.

    Raises
    ------
    ConfigError
        A setting makes no sense.
    """
    return TrainConfig(**{"epochs": 8, **(CLOSE if settings.get("weights") else {}), **settings})


def fine_tune(
    config: TrainConfig, first_epochs: int = 6, head_epochs: int = 3, out: str | Path = "runs"
) -> dict[str, Result]:
    """The runs, by what they are; each begins with the best weights of the one before.

    Parameters
    ----------
    config : TrainConfig
        Of the last run, in which everything learns. Without ``weights`` a run on the synthetic cars comes first.
    first_epochs, head_epochs : int
        Of that first run, and of the one in which only the classifier learns.
    out : str or Path
        Folder of all runs.

    Raises
    ------
    ConfigError, CheckpointError, WeightsError
        As `train`.
    """
    open_split(config)  # whoever mistypes the folder is told now, and not after the first run
    steps = {}
    start = config.weights
    if start is None:
        same = {name: getattr(config, name) for name in ("model", "size", "seed", "backend", "limit_batches")}
        steps["fictional cars"] = train(TrainConfig(**same, epochs=first_epochs), out)
        start = str(steps["fictional cars"].folder / "best.safetensors")
    # the network's body as it is; the classifier, for other classes, begins anew
    steps["classifier"] = train(config.changed(weights=start, freeze="all", epochs=head_epochs), out)
    start = str(steps["classifier"].folder / "best.safetensors")
    steps["everything"] = train(config.changed(weights=start), out)
    return steps


def without_head_start(config: TrainConfig, head_epochs: int = 3) -> TrainConfig:
    """The same settings from scratch, with as many epochs as `fine_tune` has on these photographs, to compare."""
    epochs = config.epochs + head_epochs
    return config.changed(weights=None, freeze="", lr_scale=1.0, lr_scales="", epochs=epochs)
