"""Batches: the right pictures in the right order, augmented, made ahead of time by threads or processes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .byte_batch import ByteBatch
from .datasets import Dataset
from .processes import Job, WorkerError, Workers
from .transforms import Planner, Transform

Batch = tuple[Any, NDArray[Any]]  # images, an array or a ByteBatch, and labels
Mix = Callable[[NDArray[np.float32], NDArray[np.int64], np.random.Generator], Batch]

# Sub-streams of one seed: the order of an epoch, the augmentation of one picture in it, the mixing of one batch.
_ORDER, _AUGMENT, _MIX = 0, 1, 2


class DataLoadingError(RuntimeError):
    """A picture could not be made ready; the message names it, and the cause is chained."""


class DataLoader:
    """Batches of pictures and labels.

    Order and augmentation depend on (seed, epoch, position in the data set) alone: the number and kind of workers
    changes nothing, and an epoch can be taken up again at any batch.

    Parameters
    ----------
    dataset
        Pictures and labels; wrap it in :class:`~tinygrad_effnet.data.MemoryCache` to decode each picture once, or in
        :class:`~tinygrad_effnet.data.FileCache`, which worker processes share.
    batch_size
        Pictures in a batch.
    transform
        Maps (picture, generator) to (3, H, W) float32; all results of a batch must have one shape.
    shuffle
        A new order for every epoch; otherwise the order of the data set.
    seed
        Of order and augmentation.
    workers
        Threads or processes that make batches ahead; 0 makes them when asked.
    drop_last
        Leave out a last batch that is not full.
    prefetch
        Batches made ahead; default two for each worker.
    processes
        Let the workers be processes. They take a second to start, are kept between epochs and ended by ``close``.
        Pillow releases Python's lock while it decodes and resizes, so threads mostly do as well.
    mix
        Applied to whole batches: maps (images, labels, generator) to images and (N, K) labels, as
        :class:`~tinygrad_effnet.data.MixBatch` does.
    as_bytes
        Give images as :class:`~tinygrad_effnet.data.ByteBatch`, whose last steps a device does. They are drawn from the
        same random numbers, so these are the same images. Not with ``processes`` or ``mix``, which need finished ones.

    Raises
    ------
    ValueError
        If an argument is out of its range or does not go with another, or no batch would remain.

    Examples
    --------
    >>> from tinygrad_effnet.data import SyntheticCars, eval_transform
    >>> loader = DataLoader(SyntheticCars("val", images_per_class=1, size=32), 5, eval_transform(32))
    >>> for images, labels in loader.epoch(0):
    ...     print(images.shape, labels)
    (5, 3, 32, 32) [0 1 2 3 4]
    (5, 3, 32, 32) [5 6 7 8 9]
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        transform: Transform,
        shuffle: bool = False,
        seed: int = 0,
        workers: int = 0,
        drop_last: bool = False,
        prefetch: int | None = None,
        processes: bool = False,
        mix: Mix | None = None,
        as_bytes: bool = False,
    ) -> None:
        ahead = max(1, 2 * workers) if prefetch is None else prefetch
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("seed", seed, 0),
            ("workers", workers, 0),
            ("prefetch", ahead, 1),
        ):
            if value < least:
                raise ValueError(f"{name}: got {value}, expected at least {least}")
        if not len(dataset):
            raise ValueError("dataset: it has no pictures; expected at least one")
        if drop_last and len(dataset) < batch_size:
            raise ValueError(
                f"batch_size: {batch_size} is more than the {len(dataset)} pictures, so drop_last leaves no batch; "
                "make batches smaller or pass drop_last=False"
            )
        if as_bytes and (processes or mix is not None):
            raise ValueError("as_bytes: it does not go with processes or mix; leave one of them out")
        if as_bytes:
            Planner(transform)  # refuses what cannot be planned
        self.dataset = dataset
        self.batch_size = batch_size
        self.transform = transform
        self.as_bytes = as_bytes
        self.shuffle = shuffle
        self.seed = seed
        self.workers = workers
        self.drop_last = drop_last
        self.prefetch = ahead
        self.processes = processes
        self.mix = mix
        self._epoch = 0
        self._pool: Workers | None = None

    def __len__(self) -> int:
        """Batches in an epoch."""
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + (1 if rest and not self.drop_last else 0)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that ``iter(loader)`` gives."""
        self._epoch = _at_least_zero("epoch", epoch)

    def __iter__(self) -> Iterator[Batch]:
        return self.epoch(self._epoch)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Positions in the data set, in the order in which ``epoch`` visits them."""
        _at_least_zero("epoch", epoch)
        if not self.shuffle:
            return np.arange(len(self.dataset), dtype=np.int64)
        return self._rng(epoch, _ORDER).permutation(len(self.dataset)).astype(np.int64)

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[Batch]:
        """Batches of one epoch, from ``start_batch`` on.

        Parameters
        ----------
        epoch
            Number of the epoch, from 0.
        start_batch
            First batch to give, from 0 to ``len(loader)``; for resuming in the middle.

        Returns
        -------
        iterator of (images, labels)
            float32 (N, 3, H, W), C-contiguous, or `ByteBatch` if asked for; int64 (N,), or float32 (N, K) of a ``mix``.

        Raises
        ------
        ValueError
            If an argument is out of its range.
        DataLoadingError
            While iterating, if a picture cannot be read or transformed.
        """
        if not 0 <= start_batch <= len(self):
            raise ValueError(f"start_batch: got {start_batch}, expected 0 to {len(self)} (the batches of an epoch)")
        order = self.order(epoch)
        jobs = [
            (epoch, k, order[k * self.batch_size : (k + 1) * self.batch_size]) for k in range(start_batch, len(self))
        ]
        if not self.workers:
            return self._in_line(jobs)
        return self._by_processes(jobs) if self.processes else self._by_threads(jobs)

    def use(self, transform: Transform) -> None:
        """Transform pictures otherwise from the next epoch on. Worker processes, which hold the old way, are ended."""
        self.close()
        self.transform = transform

    def close(self) -> None:
        """End the worker processes, if there are any; the next epoch starts new ones."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _in_line(self, jobs: list[Job]) -> Iterator[Batch]:
        for job in jobs:
            yield self.make(*job)

    def _by_threads(self, jobs: list[Job]) -> Iterator[Batch]:
        stop = threading.Event()
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="data-loader")
        waiting: deque[Future[Batch]] = deque()
        try:
            for job in jobs:
                waiting.append(pool.submit(self.make, *job, stop))
                if len(waiting) > self.prefetch:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            # Reached as well when the consumer breaks off: nothing may go on in the background.
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)

    def _by_processes(self, jobs: list[Job]) -> Iterator[Batch]:
        if not jobs:
            return
        if self._pool is None or not self._pool.close.alive:
            sample, _ = self.make(0, 0, np.zeros(1, np.int64))  # shows the shape that the shared memory must hold
            shape = (self.batch_size, *sample.shape[1:])
            ahead = max(1, self.prefetch // self.workers)
            self._pool = Workers(self.make, self.workers, shape, ahead)
        try:
            yield from self._pool.run(jobs)
        except WorkerError as error:
            raise DataLoadingError(str(error)) from error

    def __getstate__(self) -> dict[str, Any]:
        """What a worker process gets: everything but the workers."""
        return {**self.__dict__, "_pool": None}

    def make(self, epoch: int, number: int, part: NDArray[np.int64], stop: threading.Event | None = None) -> Batch:
        """Batch ``number`` of ``epoch``, which holds the pictures at ``part``. Used by the workers.

        Raises
        ------
        DataLoadingError
            If a picture cannot be read or transformed, or ``stop`` is set.
        """
        prepare: Callable[..., Any] = Planner(self.transform) if self.as_bytes else self.transform
        ready: list[Any] = []
        labels = np.empty(len(part), dtype=np.int64)
        for row, index in enumerate(part.tolist()):
            if stop is not None and stop.is_set():
                raise DataLoadingError("stopped: the consumer has left the loop")
            try:
                picture, labels[row] = self.dataset[index]
                ready.append(prepare(picture, self._rng(epoch, _AUGMENT, index)))
                if ready[-1].shape != ready[0].shape:
                    raise ValueError(
                        f"the transform gave shape {ready[-1].shape}, but {ready[0].shape} for the first of the "
                        "batch; end it with a crop to one size"
                    )
            except Exception as error:
                raise DataLoadingError(f"{self._name(index)}: {error}") from error
        if self.as_bytes:
            return ByteBatch.of(ready), labels
        images = np.stack(ready).astype(np.float32, copy=False)
        return (images, labels) if self.mix is None else self.mix(images, labels, self._rng(epoch, _MIX, number))

    def _name(self, index: int) -> str:
        source = getattr(self.dataset, "source", None)
        return f"picture {index}" if source is None else f"picture {index}, {source(index)}"

    def _rng(self, *key: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))


def _at_least_zero(name: str, value: int) -> int:
    if value < 0:
        raise ValueError(f"{name}: got {value}, expected at least 0")
    return value
