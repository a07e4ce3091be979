"""EMA: a running average of a model's weights and buffers, which often tests better than the weights themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import versions
from ..backends import Array, backend_of
from ..backends.device import array_like, copy_like, device_of, explaining_shortage, on_host
from ..tensor import Tensor
from .arrays import blocks
from .optimizer import is_real

ModelState = Mapping[str, Tensor | Array]


class EMA:
    """Exponential moving average of everything in a model's state (Polyak & Juditsky 1992).

    EfficientNet's published accuracies are those of such averages.

    At update n, counted from 0, with x the model's numbers::

        d = min(decay, (1 + n) / (10 + n))        without warm-up: d = decay
        average = d average + (1 - d) x

    The warm-up is TensorFlow's ``num_updates``: a young average does not remember the random weights it began with.
    Running statistics of batch norm are averaged as the weights are, since they belong to them. Integers (counters) are
    copied.

    Parameters
    ----------
    model_state : mapping of str to Tensor or array
        The live model: parameters and buffers by name, as ``module.state_dict()`` gives them.
        The average starts as a copy.
    decay : float
        At least 0 and below 1; the average looks back over some 1 / (1 - decay) updates.
    warmup : bool
        Forget faster at first.

    Attributes
    ----------
    average : dict of str to array
        Where the average lies; shape and dtype of each as in the model.
    updates : int
        Number of updates so far.

    Raises
    ------
    TypeError, ValueError
        The model has no state, or the decay is out of its range.

    Examples
    --------
    >>> from tinygrad_effnet import Tensor
    >>> weights = {"w": Tensor([0.0, 0.0])}
    >>> ema = EMA(weights, decay=0.5, warmup=False)
    >>> weights["w"].array[:] = 8.0
    >>> ema.update()
    >>> with ema.applied():
    ...     print(weights["w"])
    Tensor([4., 4.])
    >>> weights["w"]
    Tensor([8., 8.])
    """

    @explaining_shortage("EMA")
    def __init__(self, model_state: ModelState, decay: float = 0.9999, warmup: bool = True) -> None:
        if not is_real(decay) or not 0 <= decay < 1:
            raise ValueError(f"EMA(decay): expected a number of at least 0 and below 1, got {decay!r}")
        if not isinstance(model_state, Mapping) or not model_state:
            came = "an empty one" if isinstance(model_state, Mapping) else f"a {type(model_state).__name__}"
            raise TypeError(
                f"EMA(model_state): expected a mapping of names to tensors, as state_dict() gives it, got {came}"
            )
        self.decay, self.warmup, self.updates = float(decay), warmup, 0
        self._model_state = model_state
        self._applied = False
        self.average: dict[str, Array] = {name: array.copy() for name, array in _arrays(model_state).items()}

    def update(self, model_state: ModelState | None = None) -> None:
        """Move the average towards the model; call it after each step of the optimiser.

        Parameters
        ----------
        model_state : mapping of str to Tensor or array, optional
            The model as it is now; only needed where it has put new tensors in place of those given at first.

        Raises
        ------
        ValueError
            The state has other names, shapes or dtypes than the average.
        RuntimeError
            Called inside `applied`, where the model *is* the average.
        """
        if self._applied:
            raise RuntimeError("EMA.update: the averaged weights are in the model now; leave the applied() block first")
        now = self._matching(self._model_state if model_state is None else model_state, "update(model_state)")
        d = min(self.decay, (1 + self.updates) / (10 + self.updates)) if self.warmup else self.decay
        self._follow(now)
        together: dict[int, tuple[Any, list[Array], list[Array]]] = {}
        for name, average in self.average.items():
            updates = backend_of([average]).updates_of(average)
            if average.dtype.kind != "f":
                average[...] = now[name]
            elif updates is not None:
                _, averages, arrays = together.setdefault(id(updates), (updates, [], []))
                averages.append(average)
                arrays.append(now[name])
            else:
                for a, x in blocks(average, now[name]):
                    a += (1 - d) * (x - a)
        for updates, averages, arrays in together.values():
            updates.ema(averages, arrays, 1 - d)
        self.updates += 1

    @contextmanager
    def applied(self, model_state: ModelState | None = None) -> Iterator[None]:
        """Put the average into the model for a ``with`` block; afterwards, errors or not, what was there before.

        Parameters
        ----------
        model_state : mapping of str to Tensor or array, optional
            As for `update`.

        Raises
        ------
        ValueError
            The state has other names, shapes or dtypes than the average, or is read-only.
        RuntimeError
            It is applied already.
        """
        if self._applied:
            raise RuntimeError(
                "EMA.applied: the averaged weights are in the model already; leave the other applied() block first"
            )
        model_state = self._model_state if model_state is None else model_state
        targets = self._matching(model_state, "applied(model_state)")
        locked = [
            name for name, array in targets.items() if isinstance(array, np.ndarray) and not array.flags.writeable
        ]
        if locked:
            raise ValueError(
                f"EMA.applied(model_state): {locked[0]!r} is read-only; pass the model's tensors, not their .numpy()"
            )
        self._follow(targets)
        originals = {name: array.copy() for name, array in targets.items()}
        self._applied = True
        try:
            versions.wrote("EMA.applied()", *targets.values())
            for name, array in targets.items():
                array[...] = self.average[name]
            yield
        finally:
            versions.wrote("EMA.applied(), at its end,", *targets.values())
            for name, array in targets.items():
                array[...] = originals[name]
                if isinstance(holder := model_state[name], Tensor):
                    holder.array = array  # the block may have put another array there
            self._applied = False

    # -- saving and restoring --------------------------------------------------------------------------------------
    def state_arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """Copies of the average, by the model's names: a state that the model itself can load."""
        return {name: on_host(array) for name, array in self.average.items()}

    def state_values(self) -> dict[str, Any]:
        """``{"updates": int}``, fit for JSON."""
        return {"updates": self.updates}

    def load(self, arrays: Mapping[str, np.ndarray[Any, Any]], values: Mapping[str, Any]) -> None:
        """Restore what `state_arrays` and `state_values` gave, to the last bit.

        Raises
        ------
        ValueError
            They do not fit; the message says what differs. Nothing has been changed then.
        """
        updates = values.get("updates")
        if type(updates) is not int or updates < 0:
            raise ValueError(f'EMA.load(values): expected {{"updates": a whole number}}, got {dict(values)!r}')
        stored = self._matching(arrays, "load(arrays)")
        for name, average in self.average.items():
            self.average[name] = copy_like(stored[name], average)  # to where the model lies
        self.updates = updates

    def _follow(self, arrays: Mapping[str, Array]) -> None:
        """Move the average to where the model lies now."""
        for name, average in self.average.items():
            if device_of(average) != device_of(arrays[name]):
                self.average[name] = array_like(average, arrays[name])

    def _matching(self, model_state: ModelState, argument: str) -> dict[str, Array]:
        """The arrays of a state that has the average's names, shapes and dtypes."""
        arrays = _arrays(model_state)
        wrong = [f"{name!r} is missing" for name in self.average if name not in arrays]
        wrong += [f"{name!r} is not known" for name in arrays if name not in self.average]
        for name, average in self.average.items():
            array = arrays[name] if name in arrays else average
            if (array.shape, array.dtype) != (average.shape, average.dtype):
                wrong.append(
                    f"{name!r} is {array.dtype} of shape {array.shape}, not {average.dtype} of shape {average.shape}"
                )
        if wrong:
            more = f"; and {len(wrong) - 10} more" if len(wrong) > 10 else ""
            raise ValueError(f"EMA.{argument}: not the state that is averaged: {'; '.join(wrong[:10])}{more}")
        return arrays


def _arrays(model_state: ModelState) -> dict[str, Array]:
    for name, x in model_state.items():
        if not isinstance(x, Tensor) and not hasattr(x, "shape"):
            raise TypeError(f"EMA: {name!r} is a {type(x).__name__}; expected a Tensor or an array")
    return {name: x.array if isinstance(x, Tensor) else x for name, x in model_state.items()}
