"""Learning rate range test (Smith 2017, "Cyclical Learning Rates", section 3.3): raise the rate until it breaks."""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ... import optim
from ...backends import use_backend
from ...data import DataLoader
from ...files import atomic_write
from ..build import make_loaders, make_model, make_optimizer, open_split
from ..config import TrainConfig
from ..failures import DivergedError
from ..plots import save_figure
from ..precision import prepare
from ..progress import Progress
from ..trainer import Trainer


@dataclass(frozen=True, slots=True)
class LearningRates:
    """What was measured: rates, the loss of each step (nats an image), and the same smoothed."""

    rates: list[float]
    losses: list[float]
    smoothed: list[float]

    @property
    def suggestion(self) -> float | None:
        """The rate at which the smoothed loss falls fastest over the logarithm of the rate; None if it hardly falls.

        Looked for between a tenth of the steps, before which the average is young, and the lowest point.
        """
        first, lowest = len(self.rates) // 10, int(np.argmin(self.smoothed))
        if lowest - first < 3 or self.smoothed[lowest] > 0.95 * self.smoothed[first]:
            return None
        slopes = np.gradient(np.array(self.smoothed), np.log(self.rates))[first : lowest + 1]
        return self.rates[first + int(np.argmin(slopes))]

    def __str__(self) -> str:
        if self.suggestion is None:
            return (
                f"the loss hardly falls in {len(self.rates)} steps, from {self.rates[0]:.1e} to {self.rates[-1]:.1e}: "
                "a network that begins at random needs more of them (--lr-find 300), or a higher end"
            )
        return f"the loss falls fastest at {self.suggestion:.1e}; take about that as the highest rate (--lr)"


def find_learning_rate(
    config: TrainConfig,
    low: float = 1e-5,
    high: float = 1.0,
    steps: int = 200,
    told: Callable[[int, float, float], object] = lambda step, rate, loss: None,
) -> LearningRates:
    """Train for ``steps`` batches with a rate that rises from ``low`` to ``high`` by a constant factor.

    It ends early when the smoothed loss is four times its lowest, or no number.

    Parameters
    ----------
    config
        Data, network and optimiser; its rate and schedule are not used.
    low, high
        Rates, 0 < low < high.
    steps
        At least 10.
    told
        Called after each step with its number, from 1, its rate and its loss.

    Raises
    ------
    ValueError
        An argument is out of its range.
    ConfigError, DatasetError
        As a run.
    """
    if not 0 < low < high < math.inf:
        raise ValueError(f"low, high: got {low} and {high}, expected 0 < low < high")
    if steps < 10:
        raise ValueError(f"steps: got {steps}, expected at least 10")
    if config.backend is not None:
        use_backend(config.backend)
    config = config.changed(lr=low, accumulate=1)
    data = open_split(config)
    loader, _ = make_loaders(data, config, Progress(1))
    model = make_model(config, len(data.class_names))
    optimizer = make_optimizer(model, config)
    trainer = Trainer(
        model,
        optimizer,
        optim.Constant(optimizer),
        len(data.class_names),
        config.label_smoothing,
        config.max_grad_norm,
        half=prepare(config.precision, model),
    )
    shares = [group["lr"] / low for group in optimizer.param_groups]  # lr_scale
    found = LearningRates([], [], [])
    average = 0.0
    model.train()
    try:
        for step, (images, labels) in enumerate(itertools.islice(_endless(loader), steps), start=1):
            rate = low * (high / low) ** ((step - 1) / (steps - 1))
            for group, share in zip(optimizer.param_groups, shares, strict=True):
                group["lr"] = rate * share
            try:
                loss = trainer.train_step(images, labels)
            except DivergedError:
                break
            average = 0.9 * average + 0.1 * loss
            found.rates.append(rate)
            found.losses.append(loss)
            found.smoothed.append(average / (1 - 0.9**step))  # as Adam corrects its averages for their start at 0
            told(step, rate, loss)
            if found.smoothed[-1] > 4 * min(found.smoothed):
                break
    finally:
        loader.close()
    if len(found.rates) < 5:
        after = f"after {len(found.rates)} steps already"
        raise DivergedError(f"the loss broke {after}; begin with a lower rate than {low:g}")
    return found


def _endless(loader: DataLoader) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for epoch in itertools.count():
        yield from loader.epoch(epoch)


def plot_learning_rates(found: LearningRates, folder: Path) -> list[Path]:
    """Write ``lr_find.png`` and ``lr_find.csv`` (rate, loss, smoothed loss) into ``folder``."""
    figure = Figure(figsize=(7, 4.5), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    axes.plot(found.rates, found.losses, color="#56B4E9", linewidth=0.8, label="each batch")
    axes.plot(found.rates, found.smoothed, color="#0072B2", linewidth=2, label="smoothed")
    if found.suggestion is not None:
        axes.axvline(found.suggestion, color="#D55E00", linestyle="--", label=f"falls fastest: {found.suggestion:.1e}")
    axes.set_xscale("log")
    axes.set_ylim(bottom=0, top=1.6 * max(found.smoothed[0], min(found.smoothed)))
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss (nats)")
    axes.set_title("Learning rate range test")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("learning_rate", "loss", "smoothed_loss"))
    writer.writerows(zip(found.rates, found.losses, found.smoothed, strict=True))
    table = folder / "lr_find.csv"
    atomic_write(table, lambda file: file.write(text.getvalue().encode()))
    return [save_figure(figure, folder / "lr_find.png"), table]
