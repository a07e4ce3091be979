"""Run: the steps of a recording, to be searched, explained, replayed and shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from . import replay
from .embedded import Embedded, embed
from .explain import explained
from .steps import PHASES, Step


class Run:
    """What was recorded, step by step.

    Attributes
    ----------
    steps : list of Step
        In the order in which they happened: forward, then the backward pass in the order of the tape, then the
        optimiser's updates; and again, if the block went on.
    """

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> Step:
        return self.steps[index]

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def explain(self, k: int) -> str:
        """Step ``k`` in words and numbers, for a terminal: ``print(run.explain(3))``.

        Raises
        ------
        IndexError
            There is no such step.
        """
        if not -len(self.steps) <= k < len(self.steps):
            raise IndexError(f"explain(k): k is {k}; this run has the steps 0 to {len(self.steps) - 1}")
        return explained(self.steps, self.steps[k])

    def until(
        self,
        op: str | None = None,
        *,
        module: str | None = None,
        phase: str | None = None,
        nan: bool = False,
        zero_gradient: bool = False,
        start: int = 0,
    ) -> int | None:
        """Breakpoint: the first step from ``start`` on that fits everything asked for, or None.

        Parameters
        ----------
        op : str, optional
            The operation: "conv2d", "leaf", "NAdam".
        module : str, optional
            The module, or one that it lies in: "stages.3" takes in "stages.3.0.squeeze_excite".
        phase : "forward", "backward" or "update", optional
        nan : bool
            A NaN or an infinity came out.
        zero_gradient : bool
            The step gave a gradient of zeros alone.
        start : int
            Where to begin; after a breakpoint ``k``, go on with ``start=k + 1``.

        Raises
        ------
        ValueError
            Nothing was asked for, or the phase or operation is none of this run's.

        Examples
        --------
        >>> import tinygrad_effnet as tg
        >>> x = tg.Tensor([-1.0, -2.0], requires_grad=True)
        >>> with tg.stepper.record() as run:
        ...     tg.relu(x).sum().backward()
        >>> run.until(zero_gradient=True), run.until(op="sum", phase="backward")
        (3, 2)
        """
        if op is None and module is None and phase is None and not nan and not zero_gradient:
            raise ValueError(
                'until(): say what to stop at: op="conv2d", module=..., phase=..., nan=True or zero_gradient=True'
            )
        if phase is not None and phase not in PHASES:
            raise ValueError(f"until(phase): {phase!r}; choose one of {', '.join(PHASES)}")
        names = {step.op for step in self.steps}
        if op is not None and op not in names:
            raise ValueError(f"until(op): no step of this run is a {op!r}; there are {', '.join(sorted(names))}")
        for step in self.steps[max(0, start) :]:
            if (
                (op is None or step.op == op)
                and (module is None or step.module == module or step.module.startswith(f"{module}."))
                and (phase is None or step.phase == phase)
                and (not nan or step.has_bad)
                and (not zero_gradient or step.has_zero_gradient)
            ):
                return step.index
        return None

    def replay(self) -> replay.Replay:
        """Compute every step anew, from the inputs that were kept, and compare with what was kept of its results.

        On the host the bits are the same. Call it under the backend of the recording; parameters are not changed.
        """
        return replay.compare(self.steps)

    def page(self, path: str | Path, title: str = "", most_bytes: int = 5_000_000) -> Path:
        """Write the run as one HTML file that steps through it, and needs neither network nor server.

        Parameters
        ----------
        path : str or Path
            Where to; written whole or not at all.
        title : str
        most_bytes : int
            Of large arrays fewer entries are shown until the page is no larger.

        Raises
        ------
        ValueError
            Nothing was recorded, or even the least page would be larger.
        """
        from .page import write  # only who wants a page needs to lay it out

        return write(self.steps, Path(path), title, most_bytes)

    def embed(
        self,
        height: int = 640,
        title: str = "",
        *,
        start: int = 0,
        path: str | Path | None = None,
        most_bytes: int = 1_000_000,
    ) -> Embedded:
        """The page as part of a notebook: make it the last line of a cell, and step through the run right there.

        Parameters
        ----------
        height : int
            Of the frame, in CSS pixels.
        title : str
            Of the frame, which readers of screens hear, and of the page.
        start : int
            The step to begin with; ``run.until(...)`` finds one.
        path : str or Path, optional
            Write the page to this file, show it from there, and link to it. Relative to the notebook, so that the
            notebook finds it when it is opened again. Without a path the whole page lies in the notebook's output.
        most_bytes : int
            Of large arrays fewer entries are shown until the page is no larger.

        Returns
        -------
        Embedded
            What Jupyter and MyST-NB show as a frame. The frame is sandboxed: the page's script runs, and can reach
            neither the notebook nor the network.

        Raises
        ------
        ValueError
            Nothing was recorded, or even the least page would be larger, or the height is none.
        IndexError
            There is no step ``start``.
        """
        return embed(self.steps, height, title, start, path, most_bytes)

    def __repr__(self) -> str:
        counts = ", ".join(f"{sum(step.phase == phase for step in self.steps)} {phase}" for phase in PHASES)
        return f"<Run of {len(self.steps)} steps: {counts}>"
