"""Batches made by other processes: spawned, since forks and threads do not mix, with the pictures in shared memory.

Batch k is made by worker k mod W and lies in the next of that worker's slots, so that the order is fixed by
construction. Each worker has a pipe of its own: when the main process dies, however it does, the pipe breaks and the
worker ends.
"""

from __future__ import annotations

import multiprocessing
import signal
import traceback
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.shared_memory import SharedMemory
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Job = tuple[int, int, NDArray[np.int64]]  # epoch, number of the batch, positions in the data set


Answer = tuple[NDArray[np.float32], NDArray[Any]]  # pictures and labels


class BatchMaker(Protocol):
    """Makes one batch; sent to the workers, so it must be picklable."""

    def __call__(
        self, epoch: int, number: int, part: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[Any]]: ...


class WorkerError(RuntimeError):
    """A worker failed or died; the message says how."""


@dataclass(frozen=True, slots=True)
class _Worker:
    process: BaseProcess
    pipe: Connection


class Workers:
    """Processes that make batches ahead.

    Parameters
    ----------
    make
        What they run.
    count
        How many.
    shape
        (N, 3, H, W) of the largest batch.
    ahead
        Batches that each may be ahead, at least 1.

    Raises
    ------
    OSError
        If there is not enough shared memory.
    """

    def __init__(self, make: BatchMaker, count: int, shape: tuple[int, ...], ahead: int = 2) -> None:
        self._ahead, self._shape = ahead, shape
        self._slot_bytes = int(np.prod(shape)) * 4
        try:
            self._memory = SharedMemory(create=True, size=self._slot_bytes * count * ahead)
        except OSError as error:
            raise OSError(
                f"{self._slot_bytes * count * ahead:,} bytes of shared memory for {count} worker processes cannot be "
                f"had ({error}); take fewer workers or threads (processes=False)"
            ) from error
        context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        self._busy = False
        for number in range(count):
            ours, theirs = context.Pipe()
            slots = (self._memory.name, number * ahead, ahead, shape)
            process = context.Process(
                target=_work, args=(theirs, make, slots), daemon=True, name=f"data-loader-{number}"
            )
            process.start()
            theirs.close()
            self._workers.append(_Worker(process, ours))
        self.close = weakref.finalize(self, _end, self._workers, self._memory)

    def run(self, jobs: list[Job]) -> Iterator[Answer]:
        """The batches of ``jobs``, in their order, as arrays of their own.

        Raises
        ------
        WorkerError
            If a picture cannot be made ready, or a worker dies.
        """
        if self._busy:
            raise WorkerError("these workers are in the middle of an epoch; end it first, or make another loader")
        count, sent, received = len(self._workers), 0, 0
        self._busy = True
        try:
            while received < len(jobs):
                while sent < len(jobs) and sent < received + count * self._ahead:
                    self._send(sent, jobs[sent])
                    sent += 1
                answer = self._receive(received)
                received += 1
                yield answer
        except WorkerError:
            self.close()  # what the others are doing is of no use now
            raise
        finally:
            # Left before the end: what is under way is waited for, so that the next epoch finds the pipes empty.
            while self.close.alive and received < sent:
                try:
                    self._receive(received)
                except WorkerError:
                    self.close()
                received += 1
            self._busy = False

    def _place(self, number: int) -> tuple[int, int]:
        return number % len(self._workers), (number // len(self._workers)) % self._ahead

    def _send(self, number: int, job: Job) -> None:
        worker, slot = self._place(number)
        try:
            self._workers[worker].pipe.send((slot, *job))
        except OSError as error:
            raise self._died(worker) from error

    def _receive(self, number: int) -> Answer:
        worker, slot = self._place(number)
        try:
            count, labels = self._workers[worker].pipe.recv()
        except (EOFError, OSError) as error:
            raise self._died(worker) from error
        if count < 0:
            raise WorkerError(labels)
        start = (worker * self._ahead + slot) * self._slot_bytes
        shape = (count, *self._shape[1:])
        return np.ndarray(shape, np.float32, self._memory.buf, start).copy(), labels

    def _died(self, worker: int) -> WorkerError:
        process = self._workers[worker].process
        process.join(5)
        return WorkerError(
            f"worker process {worker} died (exit code {process.exitcode}); if the system ended it for want of memory, "
            "take fewer workers or a smaller batch, and see that a script which starts workers has its calls below "
            'if __name__ == "__main__":'
        )


def _end(workers: list[_Worker], memory: SharedMemory) -> None:
    for worker in workers:
        worker.pipe.close()
    for worker in workers:
        worker.process.join(2)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
    memory.close()
    memory.unlink()


def _work(pipe: Connection, make: BatchMaker, slots: tuple[str, int, int, tuple[int, ...]]) -> None:
    """A worker's life: until its pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all of a terminal's processes; the main one decides
    name, first, ahead, shape = slots
    memory = SharedMemory(name=name)
    room = np.ndarray((first + ahead, *shape), np.float32, memory.buf)
    try:
        while True:
            slot, epoch, number, part = pipe.recv()
            try:
                images, labels = make(epoch, number, part)
                room[first + slot, : len(images)] = images
                pipe.send((len(images), labels))
            except Exception as error:
                # The traceback would be lost on the way, and an exception may not survive it.
                pipe.send((-1, str(error) or traceback.format_exc()))
    except (EOFError, OSError):
        pass
    finally:
        del room
        memory.close()
