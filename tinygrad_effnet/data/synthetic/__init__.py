"""Synthetic cars: ten fictional models, drawn by Pillow from proportions in metres."""

from .cars import CLASS_NAMES, SyntheticCars
from .sheet import contact_sheet

__all__ = ["CLASS_NAMES", "SyntheticCars", "contact_sheet"]
