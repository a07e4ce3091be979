"""Showing how a run goes: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from tqdm import tqdm

from .history import EpochRecord


class Progress:
    """One epoch's bar, or, where the stream is no terminal, a line now and then.

    Parameters
    ----------
    epochs : int
        How many there will be.
    stream : text file
        Where to write; standard output by default.
    interval : float
        Seconds between plain lines.
    """

    def __init__(self, epochs: int, stream: TextIO | None = None, interval: float = 30.0) -> None:
        self.epochs, self.stream, self.interval = epochs, stream or sys.stdout, interval
        self.is_terminal = self.stream.isatty()
        self._bar: tqdm | None = None
        self._told = 0.0

    def say(self, text: str) -> None:
        """A line of its own, above the bar if there is one."""
        if self._bar is not None:
            self._bar.write(text, file=self.stream)
        else:
            print(text, file=self.stream, flush=True)

    def decoded(self, done: int, total: int) -> None:
        """While pictures are decoded for the cache."""
        now = time.monotonic()
        if done == total or now - self._told >= self.interval:
            self._told = now
            self.say(f"decoded {done} of {total} pictures for the cache")

    def start(self, epoch: int, batches: int, done: int, later: float | None = None) -> None:
        """Begin epoch number ``epoch`` (from 1) of ``batches`` batches, of which some may be done.

        ``later`` is the work of all epochs after it, where its own is 1; left out, they are all alike.
        """
        self._epoch, self._batches = epoch, batches
        self._later = self.epochs - epoch if later is None else later
        self._first, self._began = done, time.monotonic()
        self._shown, self._images = self._began, 0
        if self.is_terminal:
            self._bar = tqdm(
                total=batches,
                initial=done,
                desc=f"epoch {epoch}/{self.epochs}",
                unit="batch",
                leave=False,
                file=self.stream,
            )

    def batch(self, done: int, images: int, loss: float) -> None:
        """After a batch: how many are done, how many images it held, and the epoch's mean loss so far."""
        self._images += images
        now = time.monotonic()
        rate = self._images / max(now - self._began, 1e-9)
        if self._bar is not None:
            self._bar.set_postfix_str(
                f"loss {loss:.3f}, {rate:.0f} images/s, {self._left(done, now)} left in all", refresh=False
            )
            self._bar.update(1)
        elif now - self._shown >= self.interval:
            self._shown = now
            self.say(
                f"epoch {self._epoch}/{self.epochs}  batch {done}/{self._batches}  loss {loss:.3f}  "
                f"{rate:.0f} images/s  {self._left(done, now)} left in all"
            )

    def _left(self, done: int, now: float) -> str:
        """Estimate for the whole run, from this epoch's batches."""
        remaining = (1 + self._later) * self._batches - done
        return duration((now - self._began) / max(done - self._first, 1) * remaining)

    def finish(self) -> None:
        """End the epoch's bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def epoch(self, record: EpochRecord, best: bool) -> None:
        """The line of a finished epoch."""
        r = record
        self.say(
            f"epoch {r.epoch:>{len(str(self.epochs))}}/{self.epochs}  train loss {r.train_loss:.3f} F1 "
            f"{r.train_f1:.3f}  "
            f"validation loss {r.val_loss:.3f} F1 {r.val_f1:.3f} accuracy {r.val_accuracy:.3f}  "
            f"{r.images_per_second:.0f} images/s  {duration(r.seconds)}" + ("  best so far" if best else "")
        )


def duration(seconds: float) -> str:
    """Seconds as 45s, 3m20s or 2h05m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"
