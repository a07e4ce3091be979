"""Worker processes: the same batches, prompt ends, clear errors. Each start takes about a second, so few are made."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from tinygrad_effnet.data import (
    DataLoader,
    DataLoadingError,
    FileCache,
    MixBatch,
    SyntheticCars,
    eval_transform,
    train_transform,
)


class Breaking:
    """A transform that fails, or ends its process, at the picture of one colour."""

    def __init__(self, end: bool = False) -> None:
        self.end, self.transform = end, eval_transform(8)

    def __call__(self, picture, rng):
        if picture[0, 0, 0] == 3:
            if self.end:
                os.kill(os.getpid(), signal.SIGTERM)
            raise ValueError("no such colour")
        return self.transform(picture, rng)


class Plain:
    """Nine pictures, each of one colour."""

    class_names: list[str] = ["a"]
    labels = np.zeros(9, np.int64)

    def __len__(self):
        return 9

    def __getitem__(self, index):
        return np.full((8, 8, 3), index, np.uint8), 0

    def source(self, index):
        return f"number {index}"

    def describe(self):
        return "plain"


def test_processes_give_the_same_batches_in_any_epoch_and_from_any_batch(tmp_path: Path):
    cars = FileCache(SyntheticCars("train", 2, size=24), tmp_path)
    arguments = {
        "dataset": cars,
        "batch_size": 3,
        "transform": train_transform(16, erasing=0.5, rotate=10, randaugment=9),
        "shuffle": True,
        "seed": 5,
        "mix": MixBatch(10, 0.2, 1.0),
    }
    plain, ahead = DataLoader(**arguments), DataLoader(**arguments, workers=2, processes=True, prefetch=3)
    try:
        for epoch, start in ((0, 0), (3, 4), (1, 7)):
            pairs = zip(plain.epoch(epoch, start), ahead.epoch(epoch, start), strict=True)
            for (images, labels), (others, other_labels) in pairs:
                np.testing.assert_array_equal(images, others)
                np.testing.assert_array_equal(labels, other_labels)
        pids = [worker.process.pid for worker in ahead._pool._workers]
        left = ahead.epoch(2)
        next(left)
        left.close()  # broken off; the same processes go on with another epoch
        for (images, _), (others, _) in zip(plain.epoch(4), ahead.epoch(4), strict=True):
            np.testing.assert_array_equal(images, others)
        assert pids == [worker.process.pid for worker in ahead._pool._workers]
        first, second = ahead.epoch(0), ahead.epoch(1)
        next(first)
        with pytest.raises(DataLoadingError, match="in the middle of an epoch"):
            next(second)
        first.close()
    finally:
        ahead.close()
    assert all(not _alive(pid) for pid in pids)


def test_what_fails_in_a_worker_is_named_and_a_dead_worker_noticed():
    loader = DataLoader(Plain(), 2, Breaking(), workers=2, processes=True)
    with pytest.raises(DataLoadingError, match="picture 3, number 3: no such colour"):
        list(loader.epoch(0))
    loader = DataLoader(Plain(), 2, Breaking(end=True), workers=1, processes=True)
    with pytest.raises(DataLoadingError, match=r"worker process 0 died \(exit code -15\)"):
        list(loader.epoch(0))


@pytest.mark.skipif(os.name != "posix", reason="kills a process as only POSIX can")
def test_workers_and_shared_memory_go_when_the_main_process_is_killed(tmp_path: Path):
    script = tmp_path / "main.py"
    script.write_text(
        textwrap.dedent(
            """
            import time
            from tinygrad_effnet.data import DataLoader, SyntheticCars, eval_transform

            if __name__ == "__main__":
                loader = DataLoader(SyntheticCars("train", 2, 32), 2, eval_transform(32), workers=1, processes=True)
                batches = loader.epoch(0)
                next(batches)
                print(loader._pool._workers[0].process.pid, loader._pool._memory.name, flush=True)
                time.sleep(60)
            """
        )
    )
    main = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert main.stdout is not None
    pid, memory = main.stdout.readline().split()
    main.kill()
    main.wait()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and (_alive(int(pid)) or Path("/dev/shm", memory).exists()):
        time.sleep(0.05)
    assert not _alive(int(pid))
    assert not Path("/dev/shm", memory).exists()


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except OSError:
        return False
