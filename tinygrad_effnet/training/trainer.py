"""Trainer: fits a model batch by batch, can stop after any of them, and go on from there as if it had not.

It knows no files and prints nothing; `training.run` gives it data, and keeps and shows what it finds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol

import numpy as np

from .. import ops, tape
from ..backends.device import explaining_shortage, reading
from ..data import DataLoader
from ..nn import Module
from ..nn.module import place_of
from ..optim import EMA, Optimizer, Schedule, clip_grad_norm_
from ..tensor import Tensor
from .batches import Ahead, Batch, Images, carried, logits_of, one_late
from .checkpoint import CheckpointError, restore_rng, rng_state
from .failures import DivergedError, OutOfMemoryError, explain_divergence, largest_batch, without_warnings
from .precision import HalfTwin
from .tally import Tally

Arrays = dict[str, np.ndarray]


class Batches(Protocol):
    """What is evaluated: a `DataLoader`, or anything else that gives an epoch's batches."""

    def epoch(self, epoch: int, /) -> Iterator[Batch]: ...


class Trainer:
    """Fits ``model`` with ``optimizer`` by cross-entropy.

    Parameters
    ----------
    model : Module
        Images (N, 3, H, W) -> logits (N, num_classes).
    optimizer : Optimizer
    schedule : Schedule
        Stepped after every step of the optimiser.
    num_classes : int
    label_smoothing : float
        In training; validation measures the plain loss.
    max_grad_norm : float
        Gradients are scaled down to this norm; 0 leaves them alone.
    ema : EMA, optional
        Updated after every step, and used in evaluation in place of the weights.
    accumulate : int
        Batches whose gradients make one step together, as one batch of their joint size would, but for batch norm,
        which sees each by itself.
    frozen : tuple of str
        Beginnings of module names, such as "stem" or "stages.0": these modules stay in eval mode, so that their
        batch statistics rest as their weights do.
    half : HalfTwin, optional
        Goes forward and back in the model's place, in 16 bits; see `precision`.

    Attributes
    ----------
    epoch, batch : int
        Epochs finished, and batches done of the next one.
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        schedule: Schedule,
        num_classes: int,
        label_smoothing: float = 0.0,
        max_grad_norm: float = 0.0,
        ema: EMA | None = None,
        accumulate: int = 1,
        frozen: tuple[str, ...] = (),
        half: HalfTwin | None = None,
    ) -> None:
        self.model, self.optimizer, self.schedule = model, optimizer, schedule
        self.num_classes, self.label_smoothing, self.max_grad_norm, self.ema = (
            num_classes,
            label_smoothing,
            max_grad_norm,
            ema,
        )
        self.accumulate, self.frozen, self.half = accumulate, frozen, half
        self.epoch, self.batch = 0, 0
        self.tally = Tally(num_classes)
        self._coming: Ahead | None = None  # the batches of the pass that is under way

    # -- training --------------------------------------------------------------------------------------------------
    def train_epoch(
        self,
        loader: DataLoader,
        limit: int | None = None,
        after_batch: Callable[[Trainer], bool] = lambda trainer: False,
    ) -> Tally | None:
        """The rest of the current epoch.

        Parameters
        ----------
        loader : DataLoader
        limit : int, optional
            End the epoch after so many batches.
        after_batch : callable
            Called after every step; when it returns True the epoch is left there, to be taken up again later.

        Returns
        -------
        Tally or None
            What was measured, in training mode, over the whole epoch; None if it was left before its end.

        Raises
        ------
        DivergedError
            The loss is no longer a finite number; the weights are as they were before that batch.
        OutOfMemoryError
            A batch does not fit into memory.
        """
        self._train_mode()
        last = len(loader) if limit is None else min(limit, len(loader))
        with self._ahead(loader.epoch(self.epoch, self.batch), last - self.batch) as batches:
            for images, labels in batches:
                first = self.batch - self.batch % self.accumulate
                if self.batch == first:
                    self.optimizer.zero_grad()
                group = min(self.accumulate, last - first)  # the last step of an epoch may have fewer batches
                self.train_batch(images, labels, share=1 / group)
                self.batch += 1
                # Between two batches of one step there are gradients that no checkpoint holds.
                if self.batch == first + group:
                    self._step()
                    if after_batch(self) and self.batch < last:
                        return None
        done, self.tally = self.tally, Tally(self.num_classes)
        self.epoch, self.batch = self.epoch + 1, 0
        return done

    def train_step(self, images: Images, labels: np.ndarray) -> float:
        """One step on one batch, labels (N,) or shares of classes (N, K); returns its loss."""
        self.optimizer.zero_grad()
        value = self.train_batch(images, labels)
        self._step()
        return value

    def train_batch(self, images: Images, labels: np.ndarray, share: float = 1.0) -> float:
        """Add ``share`` of one batch's gradients to what there is; returns its loss."""
        before = rng_state(ops.default_generator())
        full = ""
        try:
            value, scores = self._learn(images, labels, share)
        except MemoryError as error:
            full = str(error) or "no room"
        if full:  # not in the block above, where the error still holds what the step held
            raise OutOfMemoryError(self._where(), len(images), largest_batch(self, images, labels), full)
        if not math.isfinite(value):
            ops.default_generator().bit_generator.state = restore_rng(before).bit_generator.state
            self.optimizer.zero_grad()  # which are no numbers either
            raise DivergedError(f"the loss became {value} {self._where()}. {explain_divergence(self, images, labels)}")
        self.tally.update(value, scores, labels if labels.ndim == 1 else labels.argmax(axis=1))
        return value

    def _learn(self, images: Images, labels: np.ndarray, share: float) -> tuple[float, np.ndarray]:
        """Forward and back; the loss and the logits.

        They are all that a step reads from a device, and are waited for when the walk back has been asked for: the
        device goes on with that meanwhile, and has work until the host has asked for the update.
        """
        with without_warnings():
            logits = self.logits(images)
            loss = ops.cross_entropy(logits, self.carried(labels), label_smoothing=self.label_smoothing)
            read = reading(loss.array, logits.array)
            self.backward(loss if share == 1.0 else loss * share)
            value, scores = read()
        return float(value), scores

    def logits(self, images: Images) -> Tensor:
        """What the network says of images in training, with all that `backward` needs."""
        carried = self.carried(images)
        return self.model(carried) if self.half is None else self.half.logits(carried)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss of `logits` to those of the weights."""
        if self.half is None:
            loss.backward()
        else:
            self.half.backward(loss)

    def _step(self) -> None:
        with without_warnings():
            if self.half is None or self.half.may_step():
                if self.max_grad_norm:
                    clip_grad_norm_(self.model.parameters(), self.max_grad_norm)
                self.optimizer.step()
                if self.ema is not None:
                    self.ema.update(self.model.state_dict())
            self.schedule.step()

    def _where(self) -> str:
        return f"in epoch {self.epoch + 1}, batch {self.batch + 1}"

    def _train_mode(self) -> None:
        self.model.train()
        for name, module in self.model.named_modules():
            if any(name == part or name.startswith(part + ".") for part in self.frozen):
                module.eval()

    # -- where the model lies --------------------------------------------------------------------------------------
    @property
    def place(self) -> str:
        """Where the model lies: "cpu", or "cuda:0", ..."""
        return place_of(self.model)

    def carried(self, batch: Images) -> Tensor:
        """Images or labels where the model lies; see `batches.carried`. They may have been sent there before."""
        return carried(batch, self.place) if self._coming is None else self._coming.carried(batch)

    @contextmanager
    def _ahead(self, batches: Iterator[Batch], count: int | None) -> Iterator[Ahead]:
        """Batches that are carried to the model one step ahead, where that is worth it."""
        self._coming = ahead = Ahead(batches, self.place, count)
        try:
            yield ahead
        finally:
            self._coming = None
            ahead.close()

    # -- evaluation ------------------------------------------------------------------------------------------------
    def evaluate(self, loader: Batches, limit: int | None = None, mirror: bool = False) -> Tally:
        """Loss and confusion matrix over ``loader``, in eval mode, with the averaged weights if there are any.

        With ``mirror`` each image is judged together with its mirror image; see `batches.logits_of`.

        Raises
        ------
        DeviceMemoryError
            A batch does not fit into a device's memory beside the weights.
        """
        self.model.eval()
        tally = Tally(self.num_classes)
        averaged = nullcontext() if self.ema is None else self.ema.applied(self.model.state_dict())
        with (
            explaining_shortage("evaluate()"),
            tape.no_grad(),
            averaged,
            without_warnings(),
            self._ahead(loader.epoch(0), limit) as batches,
        ):
            judged = (self._judged(images, labels, mirror) for images, labels in batches)
            for read, labels in one_late(judged):  # so that a device computes with the next while the host reads
                loss, logits = read()
                tally.update(float(loss), logits, labels)
        return tally

    def _judged(self, images: Images, labels: np.ndarray, mirror: bool) -> tuple[Callable[[], list[np.ndarray]], Any]:
        """What reads the loss and the logits of a batch; its labels."""
        logits = logits_of(self.model, self.carried(images), mirror)
        return reading(ops.cross_entropy(logits, self.carried(labels)).array, logits.array), labels

    def weights(self) -> Arrays:
        """The weights that `evaluate` used, as arrays of their own."""
        averaged = nullcontext() if self.ema is None else self.ema.applied(self.model.state_dict())
        with averaged:
            return _copies(self.model)

    # -- stop and go -----------------------------------------------------------------------------------------------
    def state(self) -> tuple[dict[str, Arrays], dict[str, Any]]:
        """Everything that the rest of the run depends on: arrays in groups, and plain values."""
        arrays = {"model": _copies(self.model), "optimizer": self.optimizer.state_arrays()}
        if self.ema is not None:
            arrays["ema"] = self.ema.state_arrays()
        values = {
            "epoch": self.epoch,
            "batch": self.batch,
            "optimizer": self.optimizer.state_values(),
            "schedule": self.schedule.state_dict(),
            "generator": rng_state(ops.default_generator()),
            "tally": self.tally.state(),
            "ema": None if self.ema is None else self.ema.state_values(),
            "half": None if self.half is None else self.half.state(),
        }
        return arrays, values

    def load_state(self, arrays: dict[str, Arrays], values: dict[str, Any]) -> None:
        """Take up what `state` gave.

        Raises
        ------
        CheckpointError
            It does not fit this model and optimiser.
        """
        try:
            self.model.load_state_dict(arrays["model"])
            self.optimizer.load(arrays["optimizer"], values["optimizer"])
            if self.ema is not None:
                self.ema.load(arrays["ema"], values["ema"])
            if self.half is not None and values.get("half") is not None:
                self.half.load_state(values["half"])
            self.schedule.load_state_dict(values["schedule"])
            self.tally = Tally.restored(values["tally"])
            self.epoch, self.batch = int(values["epoch"]), int(values["batch"])
            ops.default_generator().bit_generator.state = restore_rng(values["generator"]).bit_generator.state
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"the checkpoint does not fit this run: {error}") from error


def _copies(model: Module) -> Arrays:
    return {name: tensor.cpu().numpy().copy() for name, tensor in model.state_dict().items()}
