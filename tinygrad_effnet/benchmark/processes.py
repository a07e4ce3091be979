"""The side that sends requests: a process for each contestant."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO, cast

PACKAGE = __package__ or "tinygrad_effnet.benchmark"
ROOT = Path(__file__).parents[2]


class ContestantError(RuntimeError):
    """A contestant cannot go on; the message is fit for a table."""


class Process:
    """A running `worker`. Use it as a context manager: leaving the block ends the process.

    Parameters
    ----------
    threads : int
        Told to every library that reads its number of threads from the environment.
    worker : str
        The module that answers, inside this package.
    more : mapping, optional
        Further variables of its environment.
    """

    def __init__(self, threads: int, worker: str = "worker", more: Mapping[str, str] | None = None) -> None:
        names = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        environment = os.environ | dict.fromkeys(names, str(threads)) | dict(more or {})
        path = [str(ROOT), *filter(None, [environment.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(path)  # run from a source tree, installed or not
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
        self._process = subprocess.Popen(  # noqa: S603 - this program, and nothing of the user's
            [sys.executable, "-m", f"{PACKAGE}.{worker}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            encoding="utf-8",
            env=environment,
        )
        self._requests, self._answers = cast(TextIO, self._process.stdin), cast(TextIO, self._process.stdout)

    def ask(self, do: str, timeout: float | None = None, **arguments: Any) -> dict[str, Any]:
        """Send a request and wait for its answer, ``timeout`` seconds at most; the process ends with them.

        Raises
        ------
        ContestantError
            The request failed, or took too long, or the process ended.
        """
        late = threading.Event()
        timer = None if timeout is None else threading.Timer(timeout, self._give_up, [late])
        try:
            if timer is not None:
                timer.start()
            print(json.dumps({"do": do, **arguments}), file=self._requests, flush=True)
            line = self._answers.readline()
        except BrokenPipeError:
            line = ""
        finally:
            if timer is not None:
                timer.cancel()
        if late.is_set():
            raise ContestantError(f"it was given up after {timeout:.0f} s")
        if not line:
            raise ContestantError(f"its process ended: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ContestantError(answer["error"])
        return answer

    def _give_up(self, late: threading.Event) -> None:
        late.set()
        self._process.kill()

    def _last_words(self) -> str:
        code = self._process.wait()
        self._log.seek(0)
        lines = self._log.read().strip().splitlines()
        return lines[-1] if lines else f"exit status {code}" + (" (out of memory?)" if code == -9 else "")

    def close(self) -> None:
        with suppress(BrokenPipeError):
            self._requests.close()
        self._answers.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
