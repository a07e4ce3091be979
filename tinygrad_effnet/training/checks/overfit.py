"""The self-check that finds most mistakes: one batch must be learnt by heart."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ... import optim
from ...backends import use_backend
from ..build import make_loaders, make_model, make_optimizer, open_split
from ..config import TrainConfig
from ..precision import prepare
from ..progress import Progress
from ..tally import Tally
from ..trainer import Trainer


@dataclass(frozen=True, slots=True)
class Overfit:
    """Losses of the steps (nats an image), and whether the batch was learnt; ``str`` says it in a sentence."""

    losses: list[float]
    accuracy: float
    classes: int

    @property
    def learnt(self) -> bool:
        """All images right, with a loss below a tenth of a guess's, ln K."""
        return self.accuracy == 1.0 and self.losses[-1] < 0.1 * math.log(max(self.classes, 2))

    def __str__(self) -> str:
        first, last, guess = self.losses[0], self.losses[-1], math.log(self.classes)
        course = (
            f"one batch, {len(self.losses)} steps: loss {first:.3f} (a guess has {guess:.3f}) to {last:.4f}, accuracy "
            f"{self.accuracy:.3f}"
        )
        if self.learnt:
            return f"{course}. Learnt by heart: network, gradients and optimiser work."
        return (
            f"{course}. Not learnt by heart: try other learning rates (--lr-find), and look whether the labels belong "
            "to the images, before a long run"
        )


def overfit_one_batch(
    config: TrainConfig, steps: int = 60, told: Callable[[int, float], object] = lambda step, loss: None
) -> Overfit:
    """Train on the first batch alone, without augmentation, dropout or weight decay, at a constant rate.

    Parameters
    ----------
    config
        Data, network, optimiser and rate.
    steps
        Steps at most; it ends when the batch is learnt.
    told
        Called after each step with its number, from 1, and its loss.

    Raises
    ------
    ConfigError, DatasetError
        As a run.
    """
    plain = config.changed(
        dropout=0.0, stochastic_depth=0.0, label_smoothing=0.0, weight_decay=0.0, mixup=0.0, cutmix=0.0, accumulate=1,
        crop=1.0, flip=0.0, jitter=0.0, rotate=0.0, shear=0.0, erasing=0.0, randaugment=0.0, workers=0, processes=False,
    )  # fmt: skip
    if plain.backend is not None:
        use_backend(plain.backend)
    data = open_split(plain)
    loader, _ = make_loaders(data, plain, Progress(1))
    images, labels = next(loader.epoch(0))
    classes = len(data.class_names)
    model = make_model(plain, classes)
    optimizer = make_optimizer(model, plain)
    trainer = Trainer(
        model,
        optimizer,
        optim.Constant(optimizer, warmup_steps=5),
        classes,
        half=prepare(plain.precision, model),
    )
    losses: list[float] = []
    model.train()
    while True:
        trainer.tally = Tally(classes)
        losses.append(trainer.train_step(images, labels))
        told(len(losses), losses[-1])
        result = Overfit(losses, trainer.tally.accuracy, classes)
        if result.learnt or len(losses) == steps:
            return result
