"""Before a long run: can the network learn at all, and at which rate."""

from .lr_find import LearningRates, find_learning_rate, plot_learning_rates
from .overfit import Overfit, overfit_one_batch

__all__ = ["LearningRates", "Overfit", "find_learning_rate", "overfit_one_batch", "plot_learning_rates"]
