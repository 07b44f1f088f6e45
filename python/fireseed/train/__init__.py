"""The training loop: Trainer, callbacks, metrics, the linter, checkpoints, History."""
from ._lint import Finding, LintWarning, lint
from ._summary import Summary, summary
from ._tune import LRFinding, Overfitting
from ._weights import loss_weight
from .callbacks import Callback, EarlyStopping, ModelCheckpoint, StopOnNaN
from .checkpoint import Checkpoint, load_state, save_state
from .history import History
from .logs import CSVLogger, JSONLLogger, TensorBoardLogger
from .metrics import (
    AUROC,
    F1,
    MAE,
    MSE,
    R2,
    RMSE,
    Accuracy,
    Metric,
    Precision,
    Recall,
    TopK,
    accuracy,
    mean_absolute_error,
    mean_squared_error,
)
from .trainer import Trainer, l1_penalty, l2_penalty

__all__ = ["AUROC", "Accuracy", "CSVLogger", "Callback", "Checkpoint", "EarlyStopping", "F1", "Finding", "History",
           "JSONLLogger", "LRFinding", "LintWarning", "MAE", "MSE", "Metric", "ModelCheckpoint", "Overfitting", "Precision",
           "R2", "RMSE", "Recall", "StopOnNaN", "Summary", "TensorBoardLogger", "TopK", "Trainer", "accuracy", "l1_penalty",
           "l2_penalty", "lint", "load_state", "loss_weight", "mean_absolute_error", "mean_squared_error", "save_state",
           "summary"]
