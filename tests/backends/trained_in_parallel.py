"""A program that test_numba_threads.py runs: trains in two threads, then in a forked and in a spawned process.

It prints the threading library, then a line for each use: "works" where the weights are those of training alone, to the
bit, or the first words of the Python error.
"""

from __future__ import annotations

import multiprocessing
import threading
import warnings
from multiprocessing.connection import Connection

import numpy as np

import tinygrad_effnet as tg
from tinygrad_effnet import nn, optim
from tinygrad_effnet.backends.numba import threading_layer

warnings.simplefilter("ignore")  # Python's remark on forking with threads about, which the test is there to judge


def train(steps: int = 6) -> np.ndarray:
    """The weights of a small network after some steps; the products are large enough to be split among threads."""
    rng = np.random.default_rng(0)
    with tg.use_backend("numba"):
        model = nn.Sequential(
            nn.Conv2d(3, 24, 3, padding=1, bias=False),
            nn.BatchNorm2d(24),
            nn.SiLU(),
            nn.Conv2d(24, 24, 3, padding=1, groups=24, bias=False),
            nn.Conv2d(24, 48, 1),
            nn.SiLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(48, 5),
        )
        with tg.no_grad():  # not by the library's generator, from which both threads would draw
            for parameter in model.parameters():
                parameter[...] = 0.3 * rng.standard_normal(parameter.shape)
        optimizer = optim.NAdam(model.parameters(), lr=0.01)
        for _ in range(steps):
            x = tg.Tensor(rng.standard_normal((4, 3, 32, 32)), dtype="float32")
            loss = tg.cross_entropy(model(x), tg.Tensor(rng.integers(0, 5, 4)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return np.concatenate([p.numpy().ravel() for p in model.parameters()])


def outcome(expected: np.ndarray) -> str:
    """What became of training here."""
    try:
        weights = train()
    except RuntimeError as error:
        return str(error).partition(":")[0]
    return "works" if weights.tobytes() == expected.tobytes() else "other numbers"


def in_threads(expected: np.ndarray) -> str:
    found: list[str] = []
    users = [threading.Thread(target=lambda: found.append(outcome(expected))) for _ in range(2)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    return ", ".join(sorted(set(found))) if len(found) == 2 else "a thread gave up"


def report(connection: Connection, expected: np.ndarray) -> None:
    connection.send(outcome(expected))


def in_process(expected: np.ndarray, method: str) -> str:
    context = multiprocessing.get_context(method)
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=report, args=(sender, expected))
    child.start()
    sender.close()
    try:
        found = str(receiver.recv())
    except EOFError:  # it ended without a word
        found = "no answer"
    child.join()
    return f"{found}, exit code {child.exitcode}" if child.exitcode else found


if __name__ == "__main__":
    alone = train()
    print("layer", threading_layer(), flush=True)
    print("threads", in_threads(alone), flush=True)
    for method in ("fork", "spawn"):
        if method in multiprocessing.get_all_start_methods():
            print(method, in_process(alone, method), flush=True)
