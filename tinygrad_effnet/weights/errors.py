"""The one error that reading and writing weights raises."""

from __future__ import annotations


class WeightsError(ValueError):
    """A weights file cannot be used; the message names the file, what is wrong with it and what to do."""
