"""What a network looked at: where in a picture its answer comes from, and which pixels change it."""

from .maps import grad_cam, input_gradient, last_maps
from .pictures import draw_explanation, enlarged

__all__ = ["draw_explanation", "enlarged", "grad_cam", "input_gradient", "last_maps"]
