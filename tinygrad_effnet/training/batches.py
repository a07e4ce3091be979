"""From what a loader gives to what a network takes, where the network lies."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backends import device
from ..data import ByteBatch
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
