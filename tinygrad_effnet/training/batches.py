"""From what a loader gives to what a network takes, where the network lies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from ..backends import device
from ..data import ByteBatch
from ..nn import Module
from ..tensor import Tensor, from_numpy, wrap

Images = np.ndarray[Any, Any] | ByteBatch
Batch = tuple[Images, np.ndarray[Any, Any]]
Item = TypeVar("Item")


def carried(batch: Images, place: str) -> Tensor:
    """Images or labels in the memory of that name. Bytes are made images where they arrive.

    Raises
    ------
    DeviceMemoryError
        They do not fit into a device's memory.
    """
    if not isinstance(batch, ByteBatch):
        return from_numpy(batch).to(place)
    if place == device.HOST:
        return from_numpy(batch.finished())
    with device.chosen(place), device.explaining_shortage("a batch of pictures", (len(batch), 3, *batch.size)):
        return wrap(_finished(batch))


def one_late(items: Iterable[Item]) -> Iterator[Item]:
    """The items, each after the one behind it has been made."""
    before: list[Item] = []
    for item in items:
        yield from before
        before = [item]
    yield from before


class Ahead:
    """Batches, each sent to where a network lies while the step before is computed; on the host, just batches.

    Parameters
    ----------
    batches : iterator of (images, labels)
        Asked for a batch one step before it is given.
    place : str
        Where the network lies.
    count : int, optional
        End after so many.
    """

    def __init__(self, batches: Iterator[Batch], place: str, count: int | None = None) -> None:
        self._batches, self._place, self._count = batches, place, count
        self._feed: Any = None
        self._sent: list[tuple[Batch, Any]] = []  # with the parcel of each
        self._labels: tuple[Any, Tensor] | None = None  # what came with images that were taken
        if place != device.HOST:
            from ..backends.cupy.feed import Feed

            with device.chosen(place):
                self._feed = Feed()

    def __iter__(self) -> Iterator[Batch]:
        batches = islice(self._batches, self._count)
        return batches if self._feed is None else one_late(map(self._send, batches))

    def _send(self, batch: Batch) -> Batch:
        """Begin to carry it over. Where there is no room for one more, it will be carried when it is asked for."""
        with suppress(MemoryError), device.chosen(self._place):
            parcel = self._feed.send([*_parts(batch[0]), batch[1]])
            self._sent = [*self._sent[-1:], (batch, parcel)]
        return batch

    def carried(self, part: Images) -> Tensor:
        """Images, or then the labels that came with them, where the network lies: what was sent, or sent now.

        Raises
        ------
        DeviceMemoryError
            They do not fit into a device's memory.
        """
        labels, self._labels = self._labels, None
        if labels is not None and labels[0] is part:
            return labels[1]
        for i, (batch, parcel) in enumerate(self._sent):
            if batch[0] is part:
                del self._sent[i]
                return self._taken(batch, parcel)
        return carried(part, self._place)

    def _taken(self, batch: Batch, parcel: Any) -> Tensor:
        images, labels = batch
        shape = (len(images), 3, *images.size) if isinstance(images, ByteBatch) else images.shape
        with device.chosen(self._place), device.explaining_shortage("a batch of pictures", shape):
            with parcel.opened() as (*there, labels_there):
                made = _finished(images, there) if isinstance(images, ByteBatch) else there[0].copy()
                self._labels = labels, wrap(labels_there.copy())
        return wrap(made)

    def close(self) -> None:
        """Stop the loader's threads now, not when the iterator happens to be collected, and give memory back."""
        close = getattr(self._batches, "close", None)
        if close is not None:
            close()
        self._sent, self._labels = [], None
        if self._feed is not None:
            with device.chosen(self._place):
                self._feed.close()


def _parts(images: Images) -> list[np.ndarray[Any, Any]]:
    """The arrays that are sent for images."""
    if not isinstance(images, ByteBatch):
        return [images]
    from ..backends.cupy.images import parts

    b = images
    return parts(b.pixels, b.places, b.boxes, b.colours, b.scale, b.offset)


def _finished(batch: ByteBatch, there: Any = None) -> Any:
    """Images on the current device, an array."""
    from ..backends.cupy.images import finished

    b = batch
    return finished(b.pixels, b.places, b.boxes, b.colours, b.size, b.scale, b.offset, there=there)


def logits_of(model: Module, images: Tensor, mirror: bool = False) -> Tensor:
    """What a network says of images (N, 3, H, W): logits (N, K).

    With ``mirror`` it is shown each image's mirror image as well, and the mean of both logits counts. They complement
    each other more than one would think: a padded convolution of stride 2 on an even number of columns has its windows
    centred half a pixel to the left of the image's middle, and after the five of an EfficientNet that has become
    0.5 + 1 + 2 + 4 + 8 = 15.5 pixels, which the mirror image puts on the other side.
    """
    logits = model(images)
    if not mirror:
        return logits
    return (logits + model(images[..., ::-1])) / 2
