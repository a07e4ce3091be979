"""What a training run is told: one dataclass, checked when it is made, written beside the run as JSON."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from .. import nn
from ..files import atomic_write
from ..nn.efficientnet import VARIANTS

MODELS = tuple(nn.list_models())
BACKENDS = ("loops", "numpy", "numba", "cupy")
PRECISIONS = ("float32", "tf32", "bfloat16", "float16")
OPTIMIZERS = ("nadam", "adam", "adamw", "sgd")


class ConfigError(ValueError):
    """A setting makes no sense; the message names it, what came and what is expected."""


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a run. The defaults train the synthetic cars from scratch.

    Parameters
    ----------
    data : str, optional
        Folder of photographs in any form that `data.open_data` knows; None for the synthetic cars.
    crop_boxes : bool
        Cut pictures to the box around the car, where the data have boxes.
    strict : bool
        Refuse data with unreadable files instead of leaving those out.
    fraction : float
        Learn from this part of each class's training images only, for a quick try.
    model : str
        One of `MODELS`.
    size : int
        Side of the square images, pixels.
    progressive : int, optional
        Side of the training images of the first epochs, which grows to ``size``: see `training.progressive`.
    epochs, batch_size : int
    optimizer : "nadam", "adam", "adamw" or "sgd"
    lr : float, optional
        Highest learning rate; when left out 3e-3, or 0.1 for "sgd".
    weight_decay : float
        Decoupled, on weights of convolutions and linear layers only ("sgd": added to the gradient).
    warmup : float
        Share of all steps in which the learning rate rises from 0; after them it falls to 0 along a cosine.
    norm_momentum : float, optional
        Share of each batch in the running statistics of batch norm; None takes the variant's own, 0.1 for B0. Larger
        follows faster, which runs of a few hundred steps need.
    accumulate : int
        Batches that make one step together.
    weights : str, optional
        File to start from, such as another run's ``best.safetensors`` or any other that `weights.load` reads. A
        classifier for another number of classes begins anew. Normalisation, and padding and epsilon of the network,
        are then as that file wants them.
    freeze : str
        Beginnings of module names, separated by commas, whose weights and statistics stay as they are: "stem,stages.0",
        or "all", which is everything but the classifier.
    lr_scale : float
        Learning rate of everything but the classifier, as a share of ``lr``; for fine-tuning.
    lr_scales : str
        The same for modules by name, such as ``"stages.0=0.01,stages.1=0.1"``; of several that hold a parameter the
        longest name counts.
    label_smoothing, dropout, stochastic_depth : float
        As in `ops.cross_entropy` and `nn.EfficientNet`; ``dropout=None`` takes the variant's own.
    max_grad_norm : float
        Gradients are scaled down to this norm; 0 leaves them alone.
    ema : float
        Decay of the moving average of weights that is evaluated and kept; 0 switches it off.
    crop : float
        Least part of a picture's area that a training image shows.
    flip, erasing : float
        How often an image is mirrored, and a part of it covered.
    jitter : float
        Amount of change in brightness, contrast and saturation.
    rotate, shear : float
        Greatest angles by which images are turned and slanted, degrees.
    randaugment : float
        Magnitude of `data.RandAugment`, 0 to 30; 0 for none.
    mixup, cutmix : float
        As in `data.MixBatch`; 0 for none. Training F1 and accuracy then count an image as what it shows most of.
    mirror : bool
        In validation, and when the weights are used, show the network the mirror image as well: the mean of both logits
        counts, at twice the price. See `batches.logits_of`.
    seed : int
        Of order, augmentation, initialisation and dropout.
    data_seed : int
        Of what is held out, of ``fraction``, and of the synthetic cars; apart from ``seed``, so that runs which differ
        in that are measured on the same images.
    backend : str, optional
        As in `use_backend`, "cupy" for a GPU; None takes the fastest of the host.
    precision : "float32", "tf32", "bfloat16" or "float16"
        Of training on a GPU, see `precision.HalfTwin`. Weights, updates and validation are float32 in any case.
    workers : int
        Threads that prepare batches; 0 prepares them in line.
    processes : bool
        Prepare them in processes instead of threads.
    cache : str, optional
        Folder for a file of decoded pictures that later runs use as well; None keeps them in memory.
    tensorboard : bool
        Write the epochs for TensorBoard as well; needs ``pip install "tinygrad_effnet[tensorboard]"``.
    patience : int, optional
        Stop when validation macro F1 has not risen for so many epochs.
    checkpoint_minutes : float
        Write a checkpoint within an epoch when the last one is as old as this.
    limit_batches : int, optional
        At most so many batches an epoch, of training and of validation, for a quick try.
    minutes : float, optional
        Stop, resumable, after this time.

    Raises
    ------
    ConfigError
        A setting is out of its range.
    """

    data: str | None = None
    crop_boxes: bool = False
    strict: bool = False
    fraction: float = 1.0
    model: str = "efficientnet_b0"
    size: int = 96
    progressive: int | None = None
    epochs: int = 14
    batch_size: int = 16
    optimizer: str = "nadam"
    lr: float | None = None
    weight_decay: float = 1e-2
    warmup: float = 0.1
    norm_momentum: float | None = None
    accumulate: int = 1
    weights: str | None = None
    freeze: str = ""
    lr_scale: float = 1.0
    lr_scales: str = ""
    label_smoothing: float = 0.0
    dropout: float | None = 0.1
    stochastic_depth: float = 0.1
    max_grad_norm: float = 0.0
    ema: float = 0.0
    crop: float = 0.8
    flip: float = 0.5
    jitter: float = 0.1
    rotate: float = 0.0
    shear: float = 0.0
    erasing: float = 0.0
    randaugment: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    mirror: bool = False
    seed: int = 0
    data_seed: int = 0
    backend: str | None = None
    precision: str = "float32"
    workers: int = 0
    processes: bool = False
    cache: str | None = None
    tensorboard: bool = False
    patience: int | None = None
    checkpoint_minutes: float = 10.0
    limit_batches: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        if self.model in VARIANTS:
            object.__setattr__(self, "model", f"efficientnet_{self.model}")
        self._require("model", self.model in MODELS, f"one of {', '.join(MODELS)}")
        self._require("optimizer", self.optimizer in OPTIMIZERS, f"one of {', '.join(OPTIMIZERS)}")
        self._require("backend", self.backend is None or self.backend in BACKENDS, f"one of {', '.join(BACKENDS)}")
        self._require("precision", self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}")
        self._require("size", self.size >= 32, "at least 32 pixels, since the network halves the image five times")
        self._require(
            "progressive",
            self.progressive is None or 32 <= self.progressive <= self.size,
            f"at least 32 pixels and at most size, {self.size}",
        )
        for name in ("epochs", "batch_size", "accumulate"):
            self._require(name, getattr(self, name) >= 1, "at least 1")
        for name in ("seed", "data_seed", "workers", "weight_decay", "max_grad_norm", "mixup", "cutmix"):
            self._require(name, getattr(self, name) >= 0, "0 or more")
        for name in ("warmup", "label_smoothing", "stochastic_depth", "ema"):
            self._require(name, 0 <= getattr(self, name) < 1, "at least 0 and less than 1")
        for name in ("flip", "jitter", "erasing"):
            self._require(name, 0 <= getattr(self, name) <= 1, "a number from 0 to 1")
        for name, most in (("rotate", 180), ("shear", 60), ("randaugment", 30)):
            self._require(name, 0 <= getattr(self, name) <= most, f"a number from 0 to {most}")
        self._require("crop", 0 < self.crop <= 1, "more than 0 and at most 1")
        self._require("processes", not self.processes or self.workers > 0, "workers of at least 1 with it")
        self._require("fraction", 0 < self.fraction <= 1, "more than 0 and at most 1")
        self._require("dropout", self.dropout is None or 0 <= self.dropout < 1, "at least 0 and less than 1")
        self._require(
            "norm_momentum", self.norm_momentum is None or 0 < self.norm_momentum <= 1, "more than 0 and at most 1"
        )
        self._require("lr_scale", 0 < self.lr_scale <= 1, "more than 0 and at most 1")
        right = all(math.isfinite(share) and share > 0 for share in self.shares_by_module.values())
        self._require("lr_scales", right, "shares above 0")
        self._require("patience", self.patience is None or self.patience >= 1, "at least 1")
        self._require("checkpoint_minutes", self.checkpoint_minutes > 0, "more than 0")
        self._require("lr", self.lr is None or self.lr > 0, "more than 0")
        self._require("limit_batches", self.limit_batches is None or self.limit_batches >= 1, "at least 1")
        self._require("minutes", self.minutes is None or self.minutes > 0, "more than 0")

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise ConfigError(f"{name}: got {getattr(self, name)!r}, expected {expected}")

    @property
    def learning_rate(self) -> float:
        """The highest learning rate: ``lr``, or the optimiser's default."""
        return self.lr if self.lr is not None else 0.1 if self.optimizer == "sgd" else 3e-3

    @property
    def shares_by_module(self) -> dict[str, float]:
        """What ``lr_scales`` asks for."""
        try:
            pairs = [part.split("=") for part in self.lr_scales.split(",") if part.strip()]
            return {name.strip(): float(share) for name, share in pairs}
        except ValueError:
            raise ConfigError(f'lr_scales: got {self.lr_scales!r}, expected "MODULE=SHARE,..."') from None

    def changed(self, **settings: Any) -> TrainConfig:
        """The same settings but for these."""
        return replace(self, **settings)

    def save(self, path: Path) -> None:
        """Write the settings as JSON, atomically."""
        text = json.dumps(asdict(self), indent=2) + "\n"
        atomic_write(path, lambda file: file.write(text.encode()))

    @classmethod
    def load(cls, path: Path) -> TrainConfig:
        """Read settings that `save` wrote, or, from a file whose name ends in .toml, the same by hand.

        Raises
        ------
        ConfigError
            The file is missing, is not JSON, or holds a setting of another name, type or range.
        """
        kind = "TOML" if path.suffix == ".toml" else "JSON"
        try:
            text = path.read_text(encoding="utf-8")
            values = tomllib.loads(text) if kind == "TOML" else json.loads(text)
        except FileNotFoundError:
            raise ConfigError(
                f"{path}: there is no such file; give the folder of a run, which holds a config.json"
            ) from None
        except ValueError as error:
            raise ConfigError(
                f"{path}: not readable as {kind} ({error}); restore it from the run's log or begin a new run"
            ) from None
        known = {field.name: _TYPES[str(field.type)] for field in fields(cls)}
        if not isinstance(values, dict) or set(values) - set(known):
            unknown = sorted(set(values) - set(known)) if isinstance(values, dict) else [type(values).__name__]
            raise ConfigError(f"{path}: it holds {', '.join(unknown)}; expected settings among {', '.join(known)}")
        for name, value in values.items():
            if not known[name](value):
                raise ConfigError(f"{path}: {name} is {value!r}, which is not of the right type")
        return cls(**values)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_TYPES: dict[str, Callable[[Any], bool]] = {
    "str": lambda value: isinstance(value, str),
    "str | None": lambda value: value is None or isinstance(value, str),
    "bool": lambda value: isinstance(value, bool),
    "int": _is_int,
    "int | None": lambda value: value is None or _is_int(value),
    "float": _is_number,
    "float | None": lambda value: value is None or _is_number(value),
}
