"""Checks for operations and for what is built from them; public, as `numpy.testing` is."""

from . import fused_samples, window_samples  # noqa: F401 - enter their samples
from .complex_step import complex_step
from .differences import Finding, GradientReport
from .gradcheck import GradcheckError, KinkError, gradcheck, gradgradcheck, gradient_report
from .samples import Sample, samples, samples_of

__all__ = [
    "Finding",
    "GradcheckError",
    "GradientReport",
    "KinkError",
    "Sample",
    "complex_step",
    "gradcheck",
    "gradgradcheck",
    "gradient_report",
    "samples",
    "samples_of",
]
