"""The training loop: Trainer, callbacks, metrics, the linter, History."""
from ._lint import Finding, LintWarning, lint
from ._weights import loss_weight
from .callbacks import Callback, EarlyStopping, ModelCheckpoint
from .checkpoint import Checkpoint, load_state, save_state
from .history import History
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

__all__ = ["AUROC", "Accuracy", "Callback", "Checkpoint", "EarlyStopping", "F1", "Finding", "History", "LintWarning", "MAE", "MSE",
           "Metric", "ModelCheckpoint", "Precision", "R2", "RMSE", "Recall", "TopK", "Trainer", "accuracy", "l1_penalty",
           "l2_penalty", "lint", "load_state", "loss_weight", "mean_absolute_error", "mean_squared_error", "save_state"]
