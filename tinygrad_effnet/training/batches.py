"""From what a loader gives to what a network takes, where the network lies."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backends import device
from ..data import ByteBatch
from ..nn import Module
from ..tensor import Tensor, from_numpy, wrap

Images = np.ndarray[Any, Any] | ByteBatch


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
    from ..backends.cupy.images import finished

    b = batch
    with device.chosen(place), device.explaining_shortage("a batch of pictures", (len(b), 3, *b.size)):
        return wrap(finished(b.pixels, b.places, b.boxes, b.colours, b.size, b.scale, b.offset))


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
