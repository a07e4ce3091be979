"""A network in use on a GPU whose launches are recorded once and replayed as one."""

from __future__ import annotations

from typing import Any

from .. import op, tape, versions
from ..backends import Array
from ..backends.device import HOST, chosen, explaining_shortage
from ..tensor import Tensor, wrap
from .folding import Folded, kept_in
from .module import Module, place_of


class Recorded:
    """Calls ``model`` on images of one shape by replaying what it launched for the first of them (a CUDA graph).

    For few images, where a GPU waits for the host. Products are computed by kernels of our own, since CuPy lets cuBLAS
    not be recorded, so results differ from the model's by rounding; for many images the model itself is the faster.

    Where a call cannot be replayed the model is called as ever, and ``reason`` says why: it lies on the host, is in
    training mode, gradients are wanted, the images are others, somebody looks on, or an operation cannot be recorded.
    Where its weights were written to or put elsewhere since, it is recorded anew.

    Parameters
    ----------
    model : Module
        Images (N, C, H, W) -> Tensor, in eval mode. After giving it other modules or other modes make another
        ``Recorded``.

    Attributes
    ----------
    reason : str
        Why the last call was not replayed; empty where it was.

    Raises
    ------
    DeviceMemoryError
        From a call: the device has no room for the recording.

    Examples
    --------
    >>> from tinygrad_effnet import Tensor, nn, no_grad
    >>> import numpy as np
    >>> model = nn.Recorded(nn.Linear(3, 2).eval())
    >>> with no_grad():
    ...     print(model(Tensor(np.zeros((1, 3), np.float32))).shape)
    (1, 2)
    >>> model.reason
    'the network lies on the host, where no launches are recorded'
    """

    def __init__(self, model: Module) -> None:
        self.model = model
        self.reason = ""
        self._graph: Any = None
        self._like: tuple[Any, ...] = ()  # what was recorded: shape, dtype and place of the images
        self._weights: list[tuple[Tensor, Array]] = []  # what it reads
        self._folded: list[Folded] = []  # and what was made of that: modules forget it when they are trained
        self._time = 0  # by the clock of versions.py
        self._refused = ""  # why it cannot be recorded for such images

    def __call__(self, images: Tensor) -> Tensor:
        """What the model says of images (N, C, H, W)."""
        self.reason = self._obstacle(images)
        if not self.reason:
            self._prepare(images)
            self.reason = self._refused
        if self.reason:
            answer: Tensor = self.model(images)
            return answer
        with chosen(images.device), explaining_shortage("Recorded", tuple(images.shape)):
            return wrap(self._graph(images.array))

    def _obstacle(self, images: Tensor) -> str:
        place = place_of(self.model)
        if place == HOST:
            return "the network lies on the host, where no launches are recorded"
        if images.device != place:
            return f"the images lie on {images.device}, the network on {place}"
        if self.model.training:
            return "the network is in training mode; call eval()"
        if tape.is_grad_enabled():
            return "gradients are wanted; use it under no_grad()"
        if op.watch or op.around_forwards:
            return "somebody looks on at operations, which are not there in a replay"
        return ""

    def _prepare(self, images: Tensor) -> None:
        """Record, unless it has been done for such images and these weights, or was found impossible."""
        like = images.shape, images.dtype, images.device
        same = like == self._like and all([tensor.array is array for tensor, array in self._weights])
        if same and self._time != versions.clock:
            same = not any([versions.last_write(array, self._time) for _, array in self._weights])
        time = versions.clock  # before anything is read
        if not same:
            self._weights = [
                (tensor, tensor.array) for part in (self.model.parameters(), self.model.buffers()) for tensor in part
            ]
            self._record(images)
            self._like = like
        self._time = time

    def _record(self, images: Tensor) -> None:
        from ..backends.cupy.graph import Graph, RecordingError

        self._graph, self._folded, self._refused = None, [], ""  # which gives its memory back first
        if any([module.training for module in self.model.modules()]):
            self._refused = "a part of the network is in training mode; call eval()"
            return
        with chosen(images.device), explaining_shortage("Recorded", tuple(images.shape)):
            try:
                self._graph = Graph(lambda array: self.model(wrap(array)).array, images.array)
                self._folded = kept_in(self.model)
            except RecordingError as error:
                self._refused = str(error)
