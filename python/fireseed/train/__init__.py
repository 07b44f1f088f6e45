"""The training loop: Trainer, callbacks, History."""
from .callbacks import Callback, EarlyStopping, ModelCheckpoint
from .checkpoint import Checkpoint, load_state, save_state
from .history import History
from .metrics import accuracy, mean_absolute_error, mean_squared_error
from .trainer import Trainer, l1_penalty, l2_penalty

__all__ = ["Callback", "Checkpoint", "EarlyStopping", "History", "ModelCheckpoint", "Trainer", "accuracy", "l1_penalty",
           "l2_penalty", "load_state", "mean_absolute_error", "mean_squared_error", "save_state"]
