"""What came of learning side by side: the curves of both in one picture, and the differences in words and numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..files import atomic_write
from ..training.plots import save_figure
from .side_by_side import CURVES, Pair

_TITLES = ("Training loss (nats)", "Validation loss (nats)", "Training macro F1", "Validation macro F1")


def draw(pairs: Sequence[Pair], path: Path, title: str) -> Path:
    """The four curves, ours solid and PyTorch's dashed, a line for each seed, and how the losses part step by step."""
    figure = Figure(figsize=(10, 10), layout="constrained", facecolor="white")
    grid = figure.add_gridspec(3, 2)
    places = (figure.add_subplot(grid[row, column]) for row in range(2) for column in range(2))
    for axes, name, heading in zip(places, CURVES, _TITLES, strict=True):
        for number, pair in enumerate(pairs):
            epochs = range(1, len(pair.ours.curves[name]) + 1)
            # one marker for each, so that what lies on top of each other is seen as two
            axes.plot(
                epochs, pair.ours.curves[name], "o-", color="#0072B2", markersize=6, fillstyle="none",
                label="tinygrad_effnet" if not number else None,
            )  # fmt: skip
            axes.plot(
                epochs, pair.pytorch.curves[name], "x--", color="#D55E00", markersize=5,
                label="PyTorch" if not number else None,
            )  # fmt: skip
        axes.set_ylim(bottom=0, top=1 if name.endswith("f1") else None)
        _plain(axes, heading, "epoch")
    figure.axes[0].legend(frameon=False)
    _draw_parting(figure.add_subplot(grid[2, :]), pairs)
    figure.suptitle(title, fontsize=13)
    return save_figure(figure, path)


def _draw_parting(axes: Axes, pairs: Sequence[Pair]) -> None:
    """Relative difference of the losses, ours from PyTorch's and PyTorch's from its own one rounding away."""
    for number, pair in enumerate(pairs):
        steps = range(1, len(pair.ours.losses) + 1)
        # equal losses have no logarithm; the smallest difference that float32 can have stands for them
        shown = [(pair.ours, "-", "#0072B2", "tinygrad_effnet from PyTorch")]
        if pair.control is not None:
            shown.append((pair.control, "--", "#D55E00", "PyTorch from PyTorch, first weights one rounding away"))
        for course, line, colour, label in shown:
            values = np.maximum(pair.differences(course), 2.0**-24)
            axes.semilogy(steps, values, line, color=colour, linewidth=1, label=label if not number else None)
    axes.axhline(1e-3, color="#888888", linewidth=0.8)
    axes.legend(frameon=False, loc="lower right")
    _plain(axes, "Relative difference of the training loss", "step")


def _plain(axes: Axes, heading: str, across: str) -> None:
    axes.set_title(heading, loc="left", fontsize=11)
    axes.set_xlabel(across)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color="#E6E6E6")
    axes.spines[["top", "right"]].set_visible(False)


def describe(pairs: Sequence[Pair], steps: int = 50) -> str:
    """Differences of each seed, and final F1 of both with their spread over seeds."""
    lines = [_parting(pair, steps) for pair in pairs]
    ours, theirs = (
        np.array([getattr(pair, side).curves["val_f1"][-1] for pair in pairs]) for side in ("ours", "pytorch")
    )
    lines.append(f"final validation macro F1: {_spread(ours)}; PyTorch {_spread(theirs)}")
    if len(pairs) > 1:
        noise = float(np.sqrt((ours.var(ddof=1) + theirs.var(ddof=1)) / 2))
        lines.append(
            f"mean difference {abs(ours.mean() - theirs.mean()):.4f}; one run differs from another of the same program "
            f"by {noise:.4f} (standard deviation)"
        )
    return "\n".join(lines)


def _parting(pair: Pair, steps: int) -> str:
    line = (
        f"seed {pair.seed}: losses differ by at most {pair.difference(steps):.1e} (relative) over the first "
        f"{min(steps, len(pair.ours.losses))} steps"
    )
    if pair.control is None:
        return line
    own = pair.difference(steps, pair.control)
    return f"{line}; PyTorch's from its own, begun one rounding away, by {own:.1e}"


def _spread(values: np.ndarray) -> str:
    return f"{values.mean():.4f}" + (f" ± {values.std(ddof=1):.4f}" if len(values) > 1 else "")


def write(pairs: Sequence[Pair], path: Path) -> Path:
    """Everything that was measured, as JSON."""
    text = json.dumps([asdict(pair) for pair in pairs], indent=1) + "\n"
    atomic_write(path, lambda file: file.write(text.encode()))
    return path
