"""Training: fit a model, measure it, keep and show what came of it, stop and resume."""

from .checkpoint import CheckpointError, load_checkpoint, load_weights, save_checkpoint, save_weights
from .config import MODELS, OPTIMIZERS, ConfigError, TrainConfig
from .failures import DivergedError, OutOfMemoryError
from .finetune import fine_tune, fine_tuning, without_head_start
from .history import EpochRecord, History, HistoryError
from .inference import Classifier, Predictions, predict_all
from .metrics import ConfusionMatrix, RunningMean, accuracy, classification_report, macro_f1, top_k_accuracy
from .photographs import Answer, explain, look_at, photographs_in
from .run import EXPECTED_ERRORS, Result, resume, train
from .tally import Tally
from .trainer import Trainer

__all__ = [
    "EXPECTED_ERRORS",
    "MODELS",
    "OPTIMIZERS",
    "Answer",
    "CheckpointError",
    "Classifier",
    "ConfigError",
    "ConfusionMatrix",
    "DivergedError",
    "EpochRecord",
    "History",
    "HistoryError",
    "OutOfMemoryError",
    "Predictions",
    "Result",
    "RunningMean",
    "Tally",
    "TrainConfig",
    "Trainer",
    "accuracy",
    "classification_report",
    "explain",
    "fine_tune",
    "fine_tuning",
    "load_checkpoint",
    "load_weights",
    "look_at",
    "macro_f1",
    "photographs_in",
    "predict_all",
    "resume",
    "save_checkpoint",
    "save_weights",
    "top_k_accuracy",
    "train",
    "without_head_start",
]
