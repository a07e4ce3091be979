"""The one error that reading and writing weights raises, and the warning."""

from __future__ import annotations


class WeightsError(ValueError):
    """A weights file cannot be used; the message names the file, what is wrong with it and what to do."""


class WeightsWarning(UserWarning):
    """Weights fit a network that was built otherwise than the one they were trained in; the message says how."""
