"""Starts a small training run again and again, kills each at a random moment, and lets the last one end.

Run by test_stop_and_go.py in a process of its own: ``python killed_run.py FOLDER KILLS``. Each life is a fork of this
process, which has imported everything and started no threads, so that a hundred lives take seconds. The run is a whole
one, of `training.train` and `training.resume`; only its network is small and its pictures of curves are left out.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"

from tinygrad_effnet import nn, training
from tinygrad_effnet.ops import manual_seed
from tinygrad_effnet.training import TrainConfig, build, run

EPOCHS = 25
CONFIG = TrainConfig(
    size=32, batch_size=16, epochs=EPOCHS, limit_batches=3, backend="numpy", ema=0.9, checkpoint_minutes=1e-9
)


def small_network(config: TrainConfig, classes: int) -> nn.Sequential:
    manual_seed(config.seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=4), nn.BatchNorm2d(8), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Dropout(0.1), nn.Linear(8, classes),
    )  # fmt: skip


def live(out: Path) -> None:
    """A whole life, in a child: ends the process."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        if (out / "killed" / "config.json").exists():
            training.resume(out / "killed")
        else:
            # killed before it had begun; a user would start it again
            if (out / "killed").exists():
                (out / "killed").rename(out / f"unborn-{os.getpid()}")
            training.train(CONFIG, out, "killed")
    os._exit(0)


def main(out: Path, kills: int) -> None:
    run.make_model = small_network
    run.plot_curves = run.plot_accuracy = run.plot_confusion_matrix = lambda *rest, **options: None
    run._Run.write_report = lambda self: None
    training.train(CONFIG, out, "straight")
    build.open_split(CONFIG)  # whatever is imported late is imported now, before the forks
    began = time.monotonic()
    chance = random.Random(0)
    killed = 0
    while True:
        child = os.fork()
        if child == 0:
            try:
                live(out)
            finally:
                os._exit(1)
        if killed < kills:
            time.sleep(chance.uniform(0.0, 0.2))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            killed += 1
            continue
        if status:
            sys.exit(f"life {killed + 1} failed")
        break
    print(f"killed {killed} times in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
