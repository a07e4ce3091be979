"""This package and PyTorch learning side by side: same weights at first, same batches, same optimiser."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import optim
from ..data import DataLoader
from ..training import Tally, TrainConfig, Trainer
from ..training.build import make_loaders, make_model, make_optimizer, open_split
from ..training.progress import Progress

CURVES = ("train_loss", "val_loss", "train_f1", "val_f1")


@dataclass(slots=True)
class Course:
    """How one of the two learnt: the loss of each step (nats an image), and the four curves, one number an epoch."""

    losses: list[float] = field(default_factory=list)
    curves: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in CURVES})

    def note(self, train: Tally, val: Tally) -> None:
        """Add an epoch."""
        for name, value in zip(CURVES, (train.loss, val.loss, train.f1, val.f1), strict=True):
            self.curves[name].append(value)


@dataclass(frozen=True, slots=True)
class Pair:
    """Both courses of one seed, and perhaps PyTorch's from weights that were one rounding away."""

    seed: int
    ours: Course
    pytorch: Course
    control: Course | None = None

    def differences(self, of: Course | None = None) -> np.ndarray:
        """Relative difference from PyTorch's loss at each step; of our losses, or those of ``of``."""
        a, b = np.array((self.ours if of is None else of).losses), np.array(self.pytorch.losses)
        return np.abs(a - b) / np.abs(b)

    def difference(self, steps: int = 50, of: Course | None = None) -> float:
        """Largest of `differences` over the first ``steps`` steps."""
        return float(self.differences(of)[:steps].max())


def learn_side_by_side(
    config: TrainConfig, precision: str = "float32", told: Callable[[str], object] = print, control: bool = False
) -> Pair:
    """Train both on the same batches for ``config.epochs`` epochs.

    Dropout and stochastic depth are off, since the two draw other random numbers; everything else is the
    configuration's. Batches and their augmentation are ours for both.

    Training amplifies rounding: two float32 programs that add in another order part after some dozens of steps. In
    float64 they stay together longer, which tells rounding from a mistake.

    Parameters
    ----------
    config
        The run.
    precision
        "float32" or "float64", of both.
    told
        Called with a line after each epoch.
    control
        Let PyTorch learn once more, from weights each of which is moved to a neighbouring number. How far it then is
        from itself is what rounding alone does.

    Raises
    ------
    ValueError
        Another precision.
    ImportError
        PyTorch is not installed.
    """
    config = config.changed(
        dropout=0.0, stochastic_depth=0.0, ema=0.0, max_grad_norm=0.0, accumulate=1, progressive=None
    )
    if precision not in ("float32", "float64"):
        raise ValueError(f"precision: got {precision!r}, expected 'float32' or 'float64'")
    data = open_split(config)
    train_loader, val_loader = make_loaders(data, config, Progress(config.epochs))
    classes = len(data.class_names)
    model = make_model(config, classes).to(precision)
    others = [_PyTorch(model, config, classes, precision)]
    if control:
        others.append(_PyTorch(model, config, classes, precision))
        others[1].nudge(config.seed)
    optimizer = make_optimizer(model, config)
    batches = len(train_loader) if config.limit_batches is None else min(len(train_loader), config.limit_batches)
    steps = batches * config.epochs
    schedule = optim.WarmupCosine(optimizer, round(config.warmup * steps), steps)
    trainer = Trainer(model, optimizer, schedule, classes, config.label_smoothing)
    ours, courses = Course(), [Course() for _ in others]
    for epoch in range(config.epochs):
        model.train()
        trainer.tally, tallies = Tally(classes), [Tally(classes) for _ in others]
        for images, labels in itertools.islice(train_loader.epoch(epoch), batches):
            rates = [group["lr"] for group in optimizer.param_groups]
            images = images.astype(precision, copy=False)
            ours.losses.append(trainer.train_step(images, labels))
            for other, course, tally in zip(others, courses, tallies, strict=True):
                course.losses.append(other.train_step(images, labels, rates, tally))
        checked = _Cast(val_loader, precision)
        ours.note(trainer.tally, trainer.evaluate(checked, config.limit_batches))
        for other, course, tally in zip(others, courses, tallies, strict=True):
            course.note(tally, other.evaluate(checked, config.limit_batches))
        told(
            f"seed {config.seed}, epoch {epoch + 1}/{config.epochs}: validation F1 {ours.curves['val_f1'][-1]:.4f}, "
            f"PyTorch {' and '.join(format(course.curves['val_f1'][-1], '.4f') for course in courses)}"
        )
    train_loader.close()
    val_loader.close()
    return Pair(config.seed, ours, *courses)


class _Cast:
    """A loader's batches in another precision."""

    def __init__(self, loader: DataLoader, precision: str) -> None:
        self._loader, self._precision = loader, precision

    def epoch(self, epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for images, labels in self._loader.epoch(epoch):
            yield images.astype(self._precision, copy=False), labels


class _PyTorch:
    """The same network, weights and optimiser there."""

    def __init__(self, model: Any, config: TrainConfig, classes: int, precision: str) -> None:
        # Waiting threads of PyTorch's would spin on the cores that ours compute with.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        try:
            import torch

            from .torch_twin import twin_with_weights
        except ImportError as error:
            raise ImportError(
                "PyTorch is not installed, so there is nothing to compare with: pip install torch"
            ) from error
        self.torch, self.classes, self.smoothing = torch, classes, config.label_smoothing
        # The weights began as float32, so that nothing is lost on the way.
        self.model: Any = twin_with_weights(model).to(getattr(torch, precision))
        theirs = dict(self.model.named_parameters())
        names = {id(p): name for name, p in model.named_parameters()}
        groups = [
            {"params": [theirs[names[id(p)]] for p in group["params"]], "weight_decay": group["weight_decay"]}
            for group in make_optimizer(model, config).param_groups
        ]
        kinds: dict[str, Callable[..., Any]] = {
            "nadam": lambda: torch.optim.NAdam(groups, lr=1.0, decoupled_weight_decay=True),
            "adam": lambda: torch.optim.Adam(groups, lr=1.0),
            "adamw": lambda: torch.optim.AdamW(groups, lr=1.0),
            "sgd": lambda: torch.optim.SGD(groups, lr=1.0, momentum=0.9, nesterov=True),
        }
        self.optimizer = kinds[config.optimizer]()

    def nudge(self, seed: int) -> None:
        """Move every weight to the number above or below it."""
        torch = self.torch
        chance = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in self.model.parameters():
                up = torch.rand(weight.shape, generator=chance) < 0.5
                weight.copy_(torch.nextafter(weight, torch.where(up, torch.inf, -torch.inf).to(weight.dtype)))

    def train_step(self, images: np.ndarray, labels: np.ndarray, rates: list[float], tally: Tally) -> float:
        """One step with these rates; returns its loss."""
        torch = self.torch
        self.model.train()
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self.optimizer.zero_grad()
        logits = self.model(torch.from_numpy(images))
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels), label_smoothing=self.smoothing)
        loss.backward()
        self.optimizer.step()
        value = loss.item()
        tally.update(value, logits.detach().numpy(), labels if labels.ndim == 1 else labels.argmax(axis=1))
        return value

    def evaluate(self, loader: _Cast, limit: int | None) -> Tally:
        """Over ``loader``, in eval mode."""
        torch = self.torch
        self.model.eval()
        tally = Tally(self.classes)
        with torch.no_grad():
            for images, labels in itertools.islice(loader.epoch(0), limit):
                logits = self.model(torch.from_numpy(images))
                loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels))
                tally.update(float(loss), logits.numpy(), labels)
        return tally
