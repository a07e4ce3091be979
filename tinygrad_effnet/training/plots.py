"""Pictures of a run: loss and F1 curves, and the confusion matrix, as PNG files written atomically.

Drawn through matplotlib's objects and the Agg canvas, never through pyplot: no window system, no global state, safe in
threads. Colours are Okabe and Ito's (2008, "Color Universal Design"), told apart by colour-blind readers too.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from tinygrad_effnet.files import atomic_write
from tinygrad_effnet.training.history import History
from tinygrad_effnet.training.metrics import ConfusionMatrix

__all__ = ["plot_accuracy", "plot_confusion_matrix", "plot_curves", "save_figure"]

_TRAIN, _VALIDATION = "#0072B2", "#D55E00"
_INK, _GREY, _ABSENT = "#222222", "#666666", "#E6E6E6"
_DPI = 150
_ANNOTATED = 20  # classes up to which every cell shows its count
_SPIKE = 2.5  # a loss so many times all others is left off the scale
_NAMED = 250  # classes up to which every one is named: beyond, the picture would not open in common viewers

_SINGLE = {
    "train_loss": ("Training loss", "loss (nats)", _TRAIN),
    "val_loss": ("Validation loss", "loss (nats)", _VALIDATION),
    "train_f1": ("Training F1", "macro F1", _TRAIN),
    "val_f1": ("Validation F1", "macro F1", _VALIDATION),
}


def plot_curves(history: History, folder: str | os.PathLike[str], *, title: str | None = None) -> list[Path]:
    """Draw the four curves of a run and one picture of all four.

    Parameters
    ----------
    history
        The run's record; at least one epoch. NaN and infinite values leave gaps.
    folder
        An existing folder; receives `train_loss.png`, `val_loss.png`, `train_f1.png`, `val_f1.png` (900 by 600 pixels)
        and `curves.png` (1650 by 675 pixels, loss on the left, F1 on the right).
    title
        Heading of `curves.png`, such as the model and the data set.

    Returns
    -------
    list of Path
        The files written, in that order.

    Raises
    ------
    ValueError
        If the history is empty.
    OSError
        If a file cannot be written.
    """
    if not len(history):
        raise ValueError("history: it holds no epoch yet, so there is no curve. Plot after the first epoch.")
    target = Path(folder)
    epochs = [int(epoch) for epoch in history.column("epoch")]
    written = []
    for name, (heading, unit, colour) in _SINGLE.items():
        figure = _figure(6.0, 4.0)
        _draw_panel(figure.add_subplot(), epochs, {"": (history.column(name), colour)}, heading, unit, _mark(name))
        written.append(save_figure(figure, target / f"{name}.png"))

    figure = _figure(11.0, 4.5)
    left, right = figure.subplots(1, 2)
    for axes, kind, heading, unit in ((left, "loss", "Loss", "loss (nats)"), (right, "f1", "Macro F1", "macro F1")):
        curves = {
            "train": (history.column(f"train_{kind}"), _TRAIN),
            "validation": (history.column(f"val_{kind}"), _VALIDATION),
        }
        _draw_panel(axes, epochs, curves, heading, unit, _mark(f"val_{kind}"))
    if title:
        _literal(figure.suptitle(title, fontsize=13, color=_INK))
    written.append(save_figure(figure, target / "curves.png"))
    return written


def plot_accuracy(history: History, folder: str | os.PathLike[str]) -> Path:
    """Draw `accuracy.png`, training and validation, as `plot_curves` draws the others."""
    if not len(history):
        raise ValueError("history: it holds no epoch yet, so there is no curve. Plot after the first epoch.")
    figure = _figure(6.0, 4.0)
    epochs = [int(epoch) for epoch in history.column("epoch")]
    curves = {
        "train": (history.column("train_accuracy"), _TRAIN),
        "validation": (history.column("val_accuracy"), _VALIDATION),
    }
    _draw_panel(figure.add_subplot(), epochs, curves, "Accuracy", "share of right answers", "highest")
    return save_figure(figure, Path(folder) / "accuracy.png")


def plot_confusion_matrix(
    confusion: ConfusionMatrix,
    path: str | os.PathLike[str],
    class_names: Sequence[str] | None = None,
    *,
    title: str = "Confusion matrix",
) -> Path:
    """Draw a confusion matrix: true classes down, predictions across, colour the share of the true class.

    Parameters
    ----------
    confusion
        The counts; at least one sample.
    path
        The PNG file to write; its folder must exist.
    class_names
        One name a class, in index order; the indices themselves when not given. Names stand on both axes up to 250
        classes, counts in the cells up to 20. A true class without samples is a grey row.
    title
        Heading; accuracy, macro F1 and the number of samples stand below it.

    Raises
    ------
    ValueError
        If the number of names is not the number of classes, or no sample has been counted.
    OSError
        If the file cannot be written.
    """
    classes = confusion.num_classes
    names = [str(i) for i in range(classes)] if class_names is None else [str(name) for name in class_names]
    if len(names) != classes:
        raise ValueError(f"class_names: expected {classes} names, one a class, got {len(names)}.")
    scores = f"accuracy {confusion.accuracy():.3f}, macro F1 {confusion.macro_f1():.3f}, {confusion.total:,} images"

    counts, support = confusion.matrix, confusion.support
    shares = np.full(counts.shape, np.nan)
    np.divide(counts, support[:, None], out=shares, where=support[:, None] > 0)

    # The cell size fixes the picture's size, so that names keep a readable pitch however many there are.
    cell = 0.62 if classes <= _ANNOTATED else 0.14
    side = max(classes * cell, 3.4) if classes <= _NAMED else 20.0
    figure = Figure(figsize=(side, side), facecolor="white")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_facecolor(_ABSENT)
    # Without counts to read, single errors among many classes must still be seen: the square root lifts them.
    scale = PowerNorm(1.0 if classes <= _ANNOTATED else 0.5, vmin=0.0, vmax=1.0)
    image = axes.imshow(shares, cmap="Blues", norm=scale, interpolation="nearest")
    font = 11.0 if classes <= _ANNOTATED else float(np.clip(72 * side / classes * 0.72, 6.5, 9.0))
    _name_classes(axes, names, font)
    if classes <= _ANNOTATED:
        _annotate(axes, counts, shares, 72 * side / classes)

    # The colour bar and the heading keep their size in inches on a small picture and on a large one.
    large = 1.0 + 0.06 * side
    bar = figure.add_axes((1.0 + 0.22 / side, 0.0, 0.16 * large / side, min(1.0, 0.35 + 1.5 / side)))
    colours = figure.colorbar(image, cax=bar)
    colours.set_label("share of the true class", fontsize=10 * large, color=_INK)
    colours.ax.tick_params(labelsize=9 * large, colors=_INK)
    colours.outline.set_visible(False)
    axes.set_xlabel("predicted class", fontsize=11 * large, color=_INK, labelpad=6 * large)
    axes.set_ylabel("true class", fontsize=11 * large, color=_INK, labelpad=6 * large)
    small, big = 10 * large, 14 * large
    axes.annotate(
        scores, (0, 1), (0, 8), xycoords="axes fraction", textcoords="offset points", fontsize=small, color=_GREY
    )
    heading = axes.annotate(
        title, (0, 1), (0, 14 + small), xycoords="axes fraction", textcoords="offset points", fontsize=big, color=_INK
    )
    _literal(heading)
    return save_figure(figure, Path(path), tight=True)


def _figure(width: float, height: float) -> Figure:
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1, wspace=0.03)
    return Figure(figsize=(width, height), dpi=_DPI, layout=layout, facecolor="white")


def save_figure(figure: Figure, path: Path, *, tight: bool = False) -> Path:
    """Write ``figure`` as a PNG, atomically; ``tight`` cuts it to what is drawn."""
    FigureCanvasAgg(figure)

    def write(file: BinaryIO) -> None:
        # Without the version of matplotlib in it, the same run gives the same file.
        figure.savefig(
            file,
            format="png",
            dpi=_DPI,
            metadata={"Software": None},
            bbox_inches="tight" if tight else None,
            pad_inches=0.2,
        )

    atomic_write(path, write)
    return path


def _mark(name: str) -> str | None:
    """Which curve's best epoch is pointed out: only the validation curves', which choose the weights to keep."""
    if not name.startswith("val_"):
        return None
    return "lowest" if name.endswith("loss") else "highest"


def _literal(text: Text) -> Text:
    """Keep a user's dollar signs from being read as mathematics."""
    text.set_parse_math(False)
    return text


def _draw_panel(
    axes: Axes,
    epochs: Sequence[int],
    curves: Mapping[str, tuple[Sequence[float], str]],
    title: str,
    unit: str,
    mark: str | None,
) -> None:
    """Draw curves over epochs, each named at its end; the last one's best epoch is marked if `mark` says which."""
    finite = {label: np.where(np.isfinite(values), values, np.nan) for label, (values, _) in curves.items()}
    for label, (_, colour) in curves.items():
        # Dots show that a curve is made of epochs, until there are too many to tell apart; a point between two gaps
        # has nothing but its dot.
        dot = "o" if len(epochs) <= 40 or np.isnan(finite[label]).any() else ""
        axes.plot(epochs, finite[label], color=colour, linewidth=2, marker=dot, markersize=4.5, clip_on=False, zorder=3)
    _style(axes, epochs, title, unit)
    everything = np.concatenate(list(finite.values()))
    if np.isnan(everything).all():
        axes.text(0.5, 0.5, "no finite values", transform=axes.transAxes, ha="center", va="center", color=_GREY)
        axes.set_ylim(0, 1)
        return
    if unit == "macro F1":
        axes.set_ylim(0, 1)
    else:
        _scale_losses(axes, everything)
    if mark is not None and len(epochs) > 1:
        _mark_best(axes, epochs, list(finite.values())[-1], list(curves.values())[-1][1], mark)
    _name_ends(axes, {label: (finite[label], colour) for label, (_, colour) in curves.items() if label})


def _scale_losses(axes: Axes, values: NDArray[np.float64]) -> None:
    """From 0 to the highest value, but a single spike, such as an untrained network's, must not flatten the rest."""
    ordered = np.sort(values[~np.isnan(values)])
    highest = float(ordered[-1])
    if float(ordered[0]) < 0:
        axes.set_ylim(auto=True)
        return
    if len(ordered) > 3 and highest > _SPIKE * float(ordered[-2]) > 0:
        axes.set_ylim(0, float(ordered[-2]) * 1.25)
        for line in axes.lines:
            line.set_clip_on(True)
        note = f"off the scale: {_figure_text(highest)}"
        axes.text(0.02, 0.98, note, transform=axes.transAxes, va="top", fontsize=9, color=_GREY)
        return
    axes.set_ylim(0, max(highest * 1.06, 1e-6))


def _style(axes: Axes, epochs: Sequence[int], title: str, unit: str) -> None:
    axes.set_title(title, fontsize=13, color=_INK, loc="left", pad=12)
    axes.set_xlabel("epoch", fontsize=11, color=_INK)
    axes.set_ylabel(unit, fontsize=11, color=_INK)
    axes.tick_params(labelsize=10, colors=_INK, length=3)
    axes.grid(color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#999999")
    first, last = epochs[0], epochs[-1]
    if first == last:
        axes.set_xlim(first - 0.5, last + 0.5)
        axes.set_xticks([first])
        return
    axes.set_xlim(first, last)
    axes.xaxis.set_major_locator(
        MaxNLocator(nbins=12 if last < 100 else 8, integer=True, min_n_ticks=2, steps=[1, 2, 5, 10])
    )


def _mark_best(axes: Axes, epochs: Sequence[int], values: NDArray[np.float64], colour: str, mark: str) -> None:
    if np.isnan(values).all():
        return
    best = int(np.nanargmin(values) if mark == "lowest" else np.nanargmax(values))
    axes.plot(
        [epochs[best]], [values[best]], "o", markersize=9, markerfacecolor="white", markeredgecolor=colour,
        markeredgewidth=2.0, clip_on=False, zorder=4,
    )  # fmt: skip
    # Above the panel, where no curve can run through it.
    note = f"{mark} {_figure_text(float(values[best]))}, epoch {epochs[best]}"
    axes.set_title(note, fontsize=10, color=colour, loc="right", pad=12)


def _figure_text(value: float) -> str:
    return f"{value:.3f}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.2e}"


def _name_ends(axes: Axes, curves: Mapping[str, tuple[NDArray[np.float64], str]]) -> None:
    """Write each curve's name right of its last finite point, moved apart where two would overlap."""
    low, high = axes.get_ylim()
    ends: list[tuple[float, str, str]] = []
    for label, (values, colour) in curves.items():
        known = np.flatnonzero(~np.isnan(values))
        if known.size:
            ends.append(((float(values[known[-1]]) - low) / (high - low), label, colour))
    ends.sort()
    heights = [height for height, _, _ in ends]
    line = 0.065  # a line of text, as a share of the panel's height
    for upper in range(1, len(ends)):
        overlap = max(0.0, line - (heights[upper] - heights[upper - 1]))
        heights[upper - 1] -= overlap / 2
        heights[upper] += overlap / 2
    for height, (_, label, colour) in zip(heights, ends, strict=True):
        axes.annotate(
            label, (1.0, height), (8, 0), xycoords="axes fraction", textcoords="offset points", color=colour,
            fontsize=11, va="center", annotation_clip=False,
        )  # fmt: skip


def _name_classes(axes: Axes, names: Sequence[str], font: float) -> None:
    axes.tick_params(length=0, colors=_INK, labelsize=font)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if len(names) > _NAMED:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(nbins=20, integer=True, steps=[1, 2, 5, 10]))
        axes.tick_params(labelsize=20)
        return
    positions = range(len(names))
    short = all(len(name) <= 3 for name in names)
    slanted = len(names) <= _ANNOTATED
    axes.set_xticks(
        positions, names, rotation=0 if short else 45 if slanted else 90,
        ha="center" if short or not slanted else "right", rotation_mode="default" if short or not slanted else "anchor",
    )  # fmt: skip
    axes.set_yticks(positions, names)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        _literal(label)
    if len(names) > _ANNOTATED:
        # Thin lines between the classes, so that the eye keeps a row over its whole length.
        edges = np.arange(-0.5, len(names))
        axes.hlines(edges, -0.5, len(names) - 0.5, color="#EEEEEE", linewidth=0.4)
        axes.vlines(edges, -0.5, len(names) - 0.5, color="#EEEEEE", linewidth=0.4)


def _annotate(axes: Axes, counts: NDArray[np.int64], shares: NDArray[np.float64], cell_points: float) -> None:
    digits = max(1, int(math.log10(max(int(counts.max()), 1))) + 1)
    font = float(np.clip(cell_points / (0.75 * digits + 1.2), 6.0, 12.0))
    for row, column in np.ndindex(counts.shape):
        if counts[row, column]:
            colour = "white" if shares[row, column] > 0.55 else _INK
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=font, color=colour)
