"""Synthetic cars: fictional models, ten or as many as are asked for, drawn by Pillow from proportions in metres."""

from .cars import CLASS_NAMES, SyntheticCars
from .sheet import contact_sheet
from .stand_in import write_stanford_cars

__all__ = ["CLASS_NAMES", "SyntheticCars", "contact_sheet", "write_stanford_cars"]
