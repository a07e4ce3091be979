"""Checks for operations and for what is built from them; public, as `numpy.testing` is."""

from . import window_samples  # noqa: F401 - enters its samples
from .gradcheck import GradcheckError, gradcheck, gradgradcheck
from .samples import Sample, samples, samples_of

__all__ = ["GradcheckError", "Sample", "gradcheck", "gradgradcheck", "samples", "samples_of"]
