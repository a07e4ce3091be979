"""A pinhole camera that stands on the road and looks at one car.

World axes, in metres: x runs along the car from its front (0) to its rear, y points up from the road, z points away
from the camera with the car's centre line at 0. The picture plane stays vertical whatever the camera's height (a
"shifted lens", as in pictures of buildings), so uprights stay upright and the horizon is one picture row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Camera:
    """Projection from metres to picture positions.

    Parameters
    ----------
    yaw
        Turn of the car about its upright axis, radians; positive shows the front, negative the rear.
    height, distance
        Of the lens above the road and before the car's centre, metres.
    pivot
        The x about which the car turns (its middle), metres.
    stretch
        Factors on x, y, z of the car: two cars of one kind differ a little in their proportions.
    roll
        Turn of the car in the picture plane about the point straight ahead, radians: a sloping road.
    focal
        Focal length in picture pixels.
    centre
        Picture position (column, row) of the point straight ahead; its row is the horizon.
    """

    yaw: float
    height: float
    distance: float
    pivot: float
    stretch: tuple[float, float, float] = (1.0, 1.0, 1.0)
    roll: float = 0.0
    focal: float = 1.0
    centre: tuple[float, float] = (0.0, 0.0)

    @cached_property
    def _view(self) -> tuple[Points, Points]:
        """Matrix (3, 3) and offset (3,) from world points to right, up, ahead of the lens, metres."""
        cos, sin = np.cos(self.yaw), np.sin(self.yaw)
        turn = np.array([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]])
        matrix = np.array(self.stretch)[:, None] * turn
        offset = np.array([0.0, -self.height, self.distance]) - self.pivot * matrix[0]
        return matrix, offset

    @cached_property
    def _projection(self) -> tuple[Points, Points]:
        """Matrix (3, 3) and offset (3,) from world points to homogeneous picture positions."""
        matrix, offset = self._view
        cos, sin = np.cos(self.roll), np.sin(self.roll)
        lens = np.array(
            [
                [self.focal * cos, self.focal * sin, 0.0],
                [self.focal * sin, -self.focal * cos, 0.0],
                [self.centre[0], self.centre[1], 1.0],
            ]
        )
        return matrix @ lens, offset @ lens

    def depth(self, points: Points) -> NDArray[np.float64]:
        """Distance ahead of the lens of world points (N, 3), metres."""
        matrix, offset = self._view
        ahead: Points = points @ matrix[:, 2] + offset[2]
        return ahead

    def project(self, points: Points) -> Points:
        """Picture positions (N, 2), column and row in pixels, of world points (N, 3)."""
        matrix, offset = self._projection
        flat = points @ matrix + offset
        return flat[:, :2] / flat[:, 2:]

    def framed(self, points: Points, canvas: int, fill: float, centre: tuple[float, float]) -> Camera:
        """The same view, zoomed so that ``points`` fill a part of a square picture and lie about ``centre``.

        Parameters
        ----------
        points
            World points (N, 3) that bound the car.
        canvas
            Side of the picture, pixels.
        fill
            Part of the picture's side that the larger extent of the car takes.
        centre
            Where the middle of the car's extent goes, as parts of the picture's side.
        """
        flat = replace(self, focal=1.0, centre=(0.0, 0.0)).project(points)
        low, high = flat.min(axis=0), flat.max(axis=0)
        focal = fill * canvas / float((high - low).max())
        middle = (low + high) / 2 * focal
        shift = (centre[0] * canvas - float(middle[0]), centre[1] * canvas - float(middle[1]))
        return replace(self, focal=focal, centre=shift)
