"""A whole training run: from settings to a folder with weights, history and pictures.

``runs/<name>/`` holds ``config.json`` (the settings), ``history.csv`` and ``history.jsonl``, the curves as PNG,
``best.safetensors`` and ``last.safetensors`` (weights), ``checkpoint.safetensors`` (to resume from) and, of the best
epoch, ``confusion_matrix.png`` and what `report.write_report` adds at the end.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from .. import optim
from ..backends import current_backend, use_backend
from ..backends.cupy.memory import DeviceMemoryError
from ..data import DataLoadingError, DatasetError
from ..weights import WeightsError, notes_of
from .build import augmentation, frozen_parts, make_loaders, make_model, make_optimizer, open_split, starting_point
from .checkpoint import CheckpointError, has_checkpoint, load_checkpoint, save_checkpoint, save_weights
from .config import ConfigError, TrainConfig
from .failures import DivergedError, OutOfMemoryError
from .files import FileNameError, StorageError, new_run_folder
from .history import EpochRecord, History, HistoryError
from .inference import Classifier, predict_all
from .metrics import classification_report
from .plots import plot_accuracy, plot_confusion_matrix, plot_curves
from .precision import prepare
from .progress import Progress, duration
from .progressive import epochs_to_come, image_side
from .report import append_line, confused_pairs, peak_memory, write_report
from .report.board import Board
from .tally import Tally
from .trainer import Trainer

# what a user can cause and mend: commands show the message alone, without a traceback
EXPECTED_ERRORS = (
    ConfigError,
    DatasetError,
    DataLoadingError,
    CheckpointError,
    WeightsError,
    HistoryError,
    FileNameError,
    DivergedError,
    OutOfMemoryError,
    DeviceMemoryError,
    OSError,
    ImportError,
)
# what --resume lets one set anew
RESUMABLE_CHANGES = frozenset(
    "epochs workers processes cache limit_batches minutes backend precision patience checkpoint_minutes".split()
)


@dataclass(frozen=True)
class Result:
    """How a run ended: its folder, its history, and whether it came to its end or was stopped before."""

    folder: Path
    history: History
    finished: bool


def train(config: TrainConfig, out: str | Path = "runs", name: str | None = None) -> Result:
    """Start a run in a new folder ``out/name``; without a name it is called after the model and numbered.

    Raises
    ------
    FileExistsError
        There is a run of that name.
    ConfigError, DatasetError, FileNotFoundError
        A setting or the data cannot be used; no folder is made then.
    """
    run = _Run(config)
    folder = new_run_folder(out, name, stem=config.model)
    config.save(folder / "config.json")
    return run.go(folder, History(folder / "history.csv"))


def resume(folder: str | Path, **changes: Any) -> Result:
    """Go on with the run in ``folder`` where it stopped, in the middle of an epoch if need be.

    A run that was ended before its first checkpoint begins again. ``changes`` may set what is in `RESUMABLE_CHANGES`
    anew.

    Raises
    ------
    ConfigError
        ``folder`` is not a run, or another setting is to be changed.
    CheckpointError
        There is nothing to resume from.
    """
    folder = Path(folder)
    refused = set(changes) - RESUMABLE_CHANGES
    if refused:
        raise ConfigError(
            f"resume: {', '.join(sorted(refused))} cannot change within a run; start a new one "
            f"(only {', '.join(sorted(RESUMABLE_CHANGES))} can)"
        )
    config = TrainConfig.load(folder / "config.json").changed(**{"minutes": None, **changes})
    run = _Run(config)
    if has_checkpoint(folder / "checkpoint.safetensors"):
        arrays, state = load_checkpoint(folder / "checkpoint.safetensors")
        run.trainer.load_state(arrays, state["trainer"])
        run.seconds_before = float(state["seconds"])
    epoch = run.trainer.epoch
    history = History.resume(folder / "history.csv", epoch) if epoch else _fresh_history(folder)
    config.save(folder / "config.json")
    return run.go(folder, history)


def _fresh_history(folder: Path) -> History:
    """Of a run that was stopped in its first epoch; an epoch that came after the checkpoint will be done again."""
    (folder / "history.csv").unlink(missing_ok=True)
    return History(folder / "history.csv")


class _Run:
    """Data, model and optimiser as a configuration asks for, and the loop over epochs."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        if config.backend is not None:
            use_backend(config.backend)
        self.progress = Progress(config.epochs)
        self.data = open_split(config)
        self.train_loader, self.val_loader = make_loaders(self.data, config, self.progress)
        self.start = starting_point(config)
        classes = len(self.data.class_names)
        model = make_model(config, classes)
        optimizer = make_optimizer(model, config)
        batches = len(self.train_loader)
        self.batches = batches if config.limit_batches is None else min(batches, config.limit_batches)
        steps = -(-self.batches // config.accumulate) * config.epochs
        schedule = optim.WarmupCosine(optimizer, round(config.warmup * steps), steps)
        ema = optim.EMA(model.state_dict(), config.ema) if config.ema else None
        self.trainer = Trainer(
            model,
            optimizer,
            schedule,
            classes,
            config.label_smoothing,
            config.max_grad_norm,
            ema,
            config.accumulate,
            frozen_parts(model, config),
            prepare(config.precision, model),
        )
        self.side = config.size  # of the training images
        self.seconds_before = 0.0  # spent on the current epoch before it was interrupted

    def go(self, folder: Path, history: History) -> Result:
        self.folder, self.history = folder, history
        self._introduce()
        self.started = self._saved = time.monotonic()
        self.board = Board(folder) if self.config.tensorboard else None
        with _interruptible() as interrupted:
            self.interrupted = interrupted
            try:
                while self.trainer.epoch < self.config.epochs and not self._is_stale():
                    if not self._epoch():
                        self._say_stopped()
                        return Result(folder, history, finished=False)
            finally:
                self.progress.finish()
                if self.board is not None:
                    self.board.close()
                self.train_loader.close()
                self.val_loader.close()
        self._conclude()
        return Result(folder, history, finished=True)

    def _epoch(self) -> bool:
        """One epoch with all that is kept of it; False if it was left before its end."""
        trainer, progress = self.trainer, self.progress
        began = time.monotonic() - self.seconds_before
        self._epoch_began = began
        self._choose_side()
        later = epochs_to_come(self.config, trainer.epoch)
        progress.start(trainer.epoch + 1, self.batches, trainer.batch, later)
        tally = trainer.train_epoch(self.train_loader, self.config.limit_batches, self._after_batch)
        progress.finish()
        if tally is None:
            with self._explaining_disk_errors():
                self._save_checkpoint(time.monotonic() - began)
            return False
        trained = time.monotonic() - began
        val = trainer.evaluate(self.val_loader, self.config.limit_batches, self.config.mirror)
        record = EpochRecord(
            epoch=trainer.epoch,
            train_loss=tally.loss,
            val_loss=val.loss,
            train_f1=tally.f1,
            val_f1=val.f1,
            train_accuracy=tally.accuracy,
            val_accuracy=val.accuracy,
            learning_rate=trainer.optimizer.param_groups[0]["lr"],
            seconds=time.monotonic() - began,
            images_per_second=tally.images / trained,
        )
        with self._explaining_disk_errors():
            self._keep(record, val)
        self.seconds_before = 0.0
        return trainer.epoch == self.config.epochs or self._is_stale() or not self._should_stop()

    def _choose_side(self) -> None:
        """The size of this epoch's training images; worker processes, which hold the old one, are started anew."""
        side = image_side(self.config, self.trainer.epoch)
        if side != self.side:
            self.side = side
            self.train_loader.use(augmentation(self.config, self.start.preprocessing.at(side)))
            self.progress.say(f"epoch {self.trainer.epoch + 1}: training images of {side}x{side} pixels from now on")

    def _is_stale(self) -> bool:
        """Whether ``patience`` is at its end."""
        best = self.history.best("val_f1")
        patience = self.config.patience
        return patience is not None and len(self.history) - (0 if best is None else best.epoch) >= patience

    def _after_batch(self, trainer: Trainer) -> bool:
        self.progress.batch(trainer.batch, self.config.batch_size * self.config.accumulate, trainer.tally.loss)
        if time.monotonic() - self._saved > self.config.checkpoint_minutes * 60:
            with self._explaining_disk_errors():
                self._save_checkpoint(time.monotonic() - self._epoch_began)
        return self._should_stop()

    def _should_stop(self) -> bool:
        out_of_time = self.config.minutes is not None and time.monotonic() - self.started > self.config.minutes * 60
        return self.interrupted.is_set() or out_of_time

    def _keep(self, record: EpochRecord, val: Tally) -> None:
        """Write everything an epoch leaves behind; the checkpoint last, so that it never runs ahead of the rest."""
        self.history.append(record)
        best = self.history.best("val_f1")
        is_best = best is not None and best.epoch == record.epoch
        metadata = self._metadata(record)
        weights = self.trainer.weights()
        save_weights(self.folder / "last.safetensors", weights, metadata)
        values = {**asdict(record), "best": is_best, "size": self.side, "peak_memory_bytes": peak_memory()}
        append_line(self.folder / "history.jsonl", values)
        if self.board is not None:
            self.board.write(values)
        if is_best:
            save_weights(self.folder / "best.safetensors", weights, metadata)
            plot_confusion_matrix(
                val.confusion,
                self.folder / "confusion_matrix.png",
                self.data.class_names,
                title=f"Validation, epoch {record.epoch}",
            )
        plot_curves(self.history, self.folder, title=f"{self.config.model} on {self._data_name}")
        plot_accuracy(self.history, self.folder)
        self._save_checkpoint(0.0)
        self.progress.epoch(record, is_best)

    def _save_checkpoint(self, seconds: float) -> None:
        arrays, state = self.trainer.state()
        save_checkpoint(self.folder, "checkpoint", arrays, {"trainer": state, "seconds": seconds})
        self._saved = time.monotonic()

    @contextmanager
    def _explaining_disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            saved = has_checkpoint(self.folder / "checkpoint.safetensors")
            raise StorageError(
                error.errno,
                f"results cannot be written to {self.folder} ({error.strerror or error}); "
                f"{'the last checkpoint is whole' if saved else 'there is no checkpoint yet'}. Make room there and go "
                f"on with --resume {self.folder}",
            ) from error

    def _metadata(self, record: EpochRecord) -> dict[str, str]:
        """What is needed to use the weights, and where they come from; safetensors keeps strings only."""
        return {
            **notes_of(self.config.model, self.data.class_names, self.start.preprocessing, self.start.settings),
            "epoch": str(record.epoch),
            "val_f1": repr(record.val_f1),
        }

    @property
    def _data_name(self) -> str:
        return "synthetic cars" if self.config.data is None else Path(self.config.data).resolve().name

    def _introduce(self) -> None:
        parameters = sum(p.size for p in self.trainer.model.parameters())
        self.progress.say(self.data.description)
        self.progress.say(
            f"{self.config.model}, {parameters:,} parameters, {self.config.size}x{self.config.size} pixels, "
            f"backend {current_backend().name}; results in {self.folder}"
        )

    def _say_stopped(self) -> None:
        t = self.trainer
        at = f"in epoch {t.epoch + 1}, after batch {t.batch}" if t.batch else f"after epoch {t.epoch}"
        self.progress.say(
            f"stopped {at}; everything is saved. To go on: python -m tinygrad_effnet train --resume {self.folder}"
        )

    def write_report(self) -> None:
        """Look at the validation images once more with the best weights: tables, sheets of mistakes, a page."""
        if not (self.folder / "best.safetensors").exists():
            return
        classifier = Classifier.load(self.folder)
        pictures = self.val_loader.dataset
        predictions = predict_all(classifier, pictures, self.config.batch_size, limit=self.config.limit_batches)
        title = f"{self.config.model} on {self._data_name}"
        settings = asdict(self.config)
        write_report(self.folder, title, predictions, pictures, self.history, settings, self.data.description)
        names = self.data.class_names
        self.progress.say("\n" + classification_report(predictions.confusion(), names))
        pairs = confused_pairs(predictions.confusion(), 5)
        if pairs:
            told = ", ".join(f"{names[p.label]} as {names[p.predicted]} ({p.count})" for p in pairs)
            self.progress.say(f"\nmost confused: {told}")

    def _conclude(self) -> None:
        best = self.history.best("val_f1")
        with self._explaining_disk_errors():
            self.write_report()
        if self._is_stale() and self.trainer.epoch < self.config.epochs:
            self.progress.say(f"stopped after epoch {self.trainer.epoch}: no better for {self.config.patience} epochs")
        if best is not None:
            self.progress.say(
                f"best: epoch {best.epoch}, validation macro F1 {best.val_f1:.4f}, accuracy {best.val_accuracy:.4f}; "
                f"all epochs took {duration(sum(self.history.column('seconds')))}"
            )
        self.progress.say(f"weights, history and pictures are in {self.folder}; look at {self.folder / 'report.html'}")


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Inside the block the first Ctrl-C sets the event, so that no step is torn apart; a second one acts as usual."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return

    def note(number: int, frame: FrameType | None) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)
