"""What to say when a batch cannot be learnt from: the loss is no number, or the memory is full."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import ops
from ..anomaly import detect_anomaly
from ..data import ByteBatch
from .batches import Images

if TYPE_CHECKING:
    from .trainer import Trainer


class DivergedError(ArithmeticError):
    """The loss became infinite or NaN; the message says where, which operation it came from, and what may help."""


class OutOfMemoryError(MemoryError):
    """A batch does not fit into memory; the message says which does."""

    def __init__(self, where: str, size: int, fits: int | None, said: str = "") -> None:
        self.size, self.fits = size, fits
        advice = (
            f"a batch of {fits} fits: start again with --batch-size {fits}, and with --accumulate "
            f"{-(-size // fits)} for steps of about the same size"
            if fits
            else "not even one image fits: take a smaller --size or --model, or end other programs"
        )
        said = f" ({said})" if "device" in said else ""  # the host says little of use
        super().__init__(f"out of memory {where} with {size} images a batch{said}; {advice}")


def without_warnings() -> np.errstate:
    """For a block whose numbers are looked at: a loss that is none ends training with a message that says where it
    came from, and NumPy's own warnings on the way there would only stand in front of it."""
    return np.errstate(over="ignore", invalid="ignore", divide="ignore")


def explain_divergence(trainer: Trainer, images: Images, labels: np.ndarray) -> str:
    """Where a NaN or infinity comes from: spoilt weights, or the first operation that gives one on this batch."""
    advice = "Try a lower --lr, a longer --warmup or --max-grad-norm 1."
    spoilt = [name for name, p in trainer.model.named_parameters() if not np.isfinite(p.cpu().numpy()).all()]
    if spoilt:
        more = f" and {len(spoilt) - 3} more" if len(spoilt) > 3 else ""
        return (
            f"The step before made weights infinite or NaN ({', '.join(spoilt[:3])}{more}): its gradients overflowed. "
            f"{advice}"
        )
    bad = None if isinstance(images, ByteBatch) else ~np.isfinite(images).all(axis=(1, 2, 3))
    if bad is not None and bad.any():
        return f"Image {bad.argmax()} of the batch is itself infinite or NaN; look at its transform."
    try:
        with detect_anomaly(), without_warnings():
            logits, goal = trainer.logits(images), trainer.carried(labels)
            loss = ops.cross_entropy(logits, goal, label_smoothing=trainer.label_smoothing)
            trainer.backward(loss)
    except FloatingPointError as error:
        return f"{error} {advice}"
    finally:
        trainer.optimizer.zero_grad()
    return f"Computed once more, the same batch gave a number. {advice}"


def largest_batch(trainer: Trainer, images: Images, labels: np.ndarray) -> int | None:
    """The largest half, quarter, ... of the batch whose gradients can be had; None if not even one image's."""
    size = len(images) // 2
    while size:
        trainer.optimizer.zero_grad()
        try:
            logits = trainer.logits(images[:size].copy())
            trainer.backward(ops.cross_entropy(logits, trainer.carried(labels[:size].copy())))
            return size
        except MemoryError:
            size //= 2
        finally:
            trainer.optimizer.zero_grad()
    return None
