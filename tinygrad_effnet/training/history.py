"""The record of a run, one row an epoch, in a `history.csv` that any spreadsheet opens."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from ..files import atomic_write

__all__ = ["EpochRecord", "History", "HistoryError"]


class HistoryError(ValueError):
    """A history file is damaged, or a record does not fit; the message says which line and what was expected."""


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What is written down after one epoch. Losses are means a sample, in nats; NaN where nothing was measured.

    Parameters
    ----------
    epoch
        Number of the epoch, counting from 1.
    train_loss, val_loss
        Mean loss over the training and validation samples.
    train_f1, val_f1
        Macro F1 over the whole set at once, 0..1.
    train_accuracy, val_accuracy
        Share of right predictions, 0..1.
    learning_rate
        At the end of the epoch.
    seconds
        Wall-clock time of the epoch, validation included.
    images_per_second
        Training throughput.

    Raises
    ------
    HistoryError
        If a value is not a number, a share is outside 0..1, or a count or time is negative.
    """

    epoch: int
    train_loss: float
    val_loss: float
    train_f1: float
    val_f1: float
    train_accuracy: float
    val_accuracy: float
    learning_rate: float
    seconds: float
    images_per_second: float

    def __post_init__(self) -> None:
        for name in COLUMNS:
            value = getattr(self, name)
            kind = int if name == "epoch" else float
            try:
                plain = kind(value)
            except (TypeError, ValueError, OverflowError):
                raise HistoryError(f"{name}: expected a number, got {value!r}.") from None
            if isinstance(value, bool | str) or (kind is int and plain != value):
                raise HistoryError(f"{name}: expected {'an integer' if kind is int else 'a number'}, got {value!r}.")
            # NumPy scalars become Python numbers, so that the file holds `0.5` and equality is plain.
            object.__setattr__(self, name, plain)
            if name == "epoch" and plain < 1:
                raise HistoryError(f"epoch: expected 1 or more, got {value!r}.")
            if name.endswith(("f1", "accuracy")) and not (math.isnan(plain) or 0 <= plain <= 1):
                raise HistoryError(f"{name}: expected a share in 0..1, got {value!r}. Is it in per cent?")
            if not name.endswith("loss") and plain < 0:
                raise HistoryError(f"{name}: expected 0 or more, got {value!r}.")


COLUMNS: tuple[str, ...] = tuple(field.name for field in fields(EpochRecord))


class History:
    """The epochs of one run, kept in memory and in a CSV file that is rewritten whole, atomically, at every epoch.

    Parameters
    ----------
    path
        The file to write, usually `<run folder>/history.csv`. It must not exist: `History.load` reads an existing one
        and `History.resume` goes on with it.

    Raises
    ------
    FileExistsError
        If `path` exists.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._records: list[EpochRecord] = []
        if self.path.exists():
            raise FileExistsError(
                f"path: {self.path} already exists and would be overwritten. Read it with History.load, go on with it "
                "with History.resume, or choose another run folder."
            )

    def __repr__(self) -> str:
        return f"History({str(self.path)!r}, epochs={len(self)})"

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[EpochRecord]:
        return iter(tuple(self._records))

    def __getitem__(self, index: int) -> EpochRecord:
        return self._records[index]

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> History:
        """Read a history file.

        Raises
        ------
        FileNotFoundError
            If there is none.
        HistoryError
            If it is damaged; the message names the line and the column.
        """
        source = Path(path)
        if not source.is_file():
            raise FileNotFoundError(f"path: there is no history at {source}. Give the history.csv of a run's folder.")
        history = cls.__new__(cls)
        history.path = source
        history._records = []
        for record in _parse(source):
            history._accept(record)
        return history

    @classmethod
    def resume(cls, path: str | os.PathLike[str], epoch: int) -> History:
        """Read a history file and drop what came after `epoch`, in the file too; the next row is `epoch + 1`.

        Raises
        ------
        FileNotFoundError, HistoryError
            As `load`; also if the file ends before `epoch`, since the curves would have a hole.
        """
        history = cls.load(path)
        last = history[-1].epoch if len(history) else 0
        if last < epoch:
            raise HistoryError(
                f"{history.path} ends at epoch {last}, but the run resumes after epoch {epoch}. Resume from a "
                "checkpoint of that epoch or earlier, or move the file away to begin a new one."
            )
        kept = [record for record in history if record.epoch <= epoch]
        if len(kept) < len(history):
            history._records = kept
            history._write()
        return history

    def append(self, record: EpochRecord) -> None:
        """Add an epoch and write the file.

        Raises
        ------
        HistoryError
            If `record` is not of the epoch after the last one.
        OSError
            If the file cannot be written; the record is not kept then.
        """
        if not isinstance(record, EpochRecord):
            raise TypeError(f"record: expected an EpochRecord, got {type(record).__name__}.")
        self._accept(record)
        try:
            self._write()
        except BaseException:
            self._records.pop()
            raise

    def column(self, name: str) -> list[float]:
        """Return one column's values, one an epoch. Raises KeyError for an unknown name."""
        if name not in COLUMNS:
            raise KeyError(f"name: no column {name!r}; there are {', '.join(COLUMNS)}.")
        return [getattr(record, name) for record in self._records]

    def best(self, metric: str = "val_f1") -> EpochRecord | None:
        """Return the best epoch: lowest for losses and seconds, highest otherwise; the earliest of equals.

        Epochs where the metric is NaN do not count; None if no epoch does.
        """
        values = self.column(metric)
        sign = -1 if metric.endswith("loss") or metric == "seconds" else 1
        counted = [index for index, value in enumerate(values) if not math.isnan(value)]
        return self._records[max(counted, key=lambda index: sign * values[index])] if counted else None

    def _accept(self, record: EpochRecord) -> None:
        if self._records and record.epoch != self._records[-1].epoch + 1:
            raise HistoryError(
                f"epoch: expected {self._records[-1].epoch + 1}, the one after the last, got {record.epoch} "
                f"({self.path}). To go back to an earlier epoch use History.resume."
            )
        self._records.append(record)

    def _write(self) -> None:
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        # repr is the shortest text that reads back as the same float.
        writer.writerows([repr(getattr(record, name)) for name in COLUMNS] for record in self._records)
        atomic_write(self.path, lambda file: file.write(text.getvalue().encode()))


def _parse(path: Path) -> Iterator[EpochRecord]:
    remedy = "Mend that line, or move the file away to begin a new history."
    try:
        rows = list(csv.reader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise HistoryError(f"{path} is not a CSV text file ({error}). {remedy}") from error
    if not rows or tuple(rows[0]) != COLUMNS:
        found = ",".join(rows[0]) if rows else "an empty file"
        raise HistoryError(f"{path}, line 1: expected the header {','.join(COLUMNS)}, found {found}. {remedy}")
    for line, row in enumerate(rows[1:], start=2):
        where = f"{path}, line {line}"
        if len(row) != len(COLUMNS):
            raise HistoryError(f"{where}: expected {len(COLUMNS)} values, found {len(row)}. {remedy}")
        values: dict[str, float] = {}
        for name, text in zip(COLUMNS, row, strict=True):
            try:
                values[name] = int(text) if name == "epoch" else float(text)
            except ValueError:
                raise HistoryError(f"{where}, {name}: expected a number, found {text!r}. {remedy}") from None
        try:
            yield EpochRecord(**values)  # type: ignore[arg-type]
        except HistoryError as error:
            raise HistoryError(f"{where}, {error} {remedy}") from None
