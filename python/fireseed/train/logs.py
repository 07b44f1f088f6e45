"""Logs of a run: CSV, JSON lines, TensorBoard; each is a callback."""
import json
import math
import os

from .callbacks import Callback


def _open_folder(path):
    folder = os.path.dirname(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    return os.fspath(path)


class CSVLogger(Callback):
    """Writes the figures of the epochs to a CSV file: a column `epoch`, then one a figure, 17 digits.

    The file always holds the whole history: a run that is continued or resumed keeps its earlier rows. Each row is on
    disk when the epoch ends. A figure that first comes in a later epoch gets a column; its earlier cells are empty.
    """

    def __init__(self, path):
        self.path = path

    def on_fit_start(self, trainer):
        self.columns = None
        _open_folder(self.path)

    def on_epoch_end(self, trainer, logs):
        if self.columns is None or any(name not in self.columns for name in logs):
            self._write(trainer.history)
        else:
            with open(self.path, "a", encoding="utf-8", newline="") as file:
                file.write(self._line(trainer.history.epochs, logs))

    def _line(self, epoch, logs):
        cells = ("" if logs.get(name) is None else repr(float(logs[name])) for name in self.columns)
        return ",".join([str(epoch), *cells]) + "\n"

    def _write(self, history):
        """The whole file, atomically."""
        self.columns = list(history.keys())
        temporary = f"{self.path}.tmp"
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            file.write(",".join(["epoch", *(_quoted(name) for name in self.columns)]) + "\n")
            for i in range(history.epochs):
                # A figure that came later has fewer values: they are those of the last epochs.
                row = {name: values[i - history.epochs + len(values)] for name, values in history.values.items()
                       if i >= history.epochs - len(values)}
                file.write(self._line(i + 1, row))
        os.replace(temporary, self.path)


def _quoted(name):
    return '"' + name.replace('"', '""') + '"' if any(c in name for c in ',"\n') else name


class JSONLLogger(Callback):
    """Appends JSON objects to a file, one a line: {"epoch": 1, "step": 40, "loss": ...} when an epoch ends and, with
    `every` (in optimizer steps), {"epoch": 1, "batch": 10, "step": 10, "loss": ..., "lr": ...} in between.

    What is not finite is null. A resumed run drops the lines after the point at which it goes on; other runs append to
    what is there.
    """

    def __init__(self, path, every=None):
        if every is not None and every < 1:
            raise ValueError(f"JSONLLogger: every must be at least 1, got {every}")
        self.path, self.every, self.file, self.resumed = path, every, None, None

    def on_fit_start(self, trainer):
        self.file, self.resumed, self.seen = None, None, trainer.step

    def state_dict(self):
        return {"lines": True}

    def load_state_dict(self, state):
        self.resumed = True

    def _put(self, record, trainer):
        if self.file is None:
            path = _open_folder(self.path)
            if self.resumed and os.path.exists(path):
                self._drop_after(path, record["step"])
            self.file = open(path, "a", encoding="utf-8")
        record = {k: v if not isinstance(v, float) or math.isfinite(v) else None for k, v in record.items()}
        self.file.write(json.dumps(record) + "\n")
        self.file.flush()

    @staticmethod
    def _drop_after(path, step):
        """Keeps the lines of steps before `step`, the first that is written again."""
        with open(path, encoding="utf-8") as file:
            lines = file.readlines()
        kept = []
        for line in lines:
            try:
                if json.loads(line)["step"] >= step:
                    break
            except (ValueError, KeyError, TypeError):  # a line that a crash cut off
                break
            kept.append(line)
        with open(f"{path}.tmp", "w", encoding="utf-8") as file:
            file.writelines(kept)
        os.replace(f"{path}.tmp", path)

    def on_batch_end(self, trainer, logs):
        if self.every is not None and trainer.step != self.seen and trainer.step % self.every == 0:
            self.seen = trainer.step
            rate = float(trainer.optimizer.param_groups[0]["lr"])
            self._put({"epoch": trainer.epoch, "batch": trainer.batch, "step": trainer.step, **logs, "lr": rate}, trainer)

    def on_epoch_end(self, trainer, logs):
        self._put({"epoch": trainer.epoch, "step": trainer.step, **logs}, trainer)

    def on_fit_end(self, trainer):
        if self.file is not None:
            self.file.close()
            self.file = None


class TensorBoardLogger(Callback):
    """Writes the figures to a folder that TensorBoard reads: "loss/training", "loss/validation", the same for every
    metric, and "lr", at the number of the epoch; with `every` (in optimizer steps) also "step/loss" and "step/lr".

    histograms: the distributions of all parameters at the end of each epoch. Needs tensorboardX.
    """

    def __init__(self, folder, every=None, histograms=False):
        if every is not None and every < 1:
            raise ValueError(f"TensorBoardLogger: every must be at least 1, got {every}")
        self.folder, self.every, self.histograms, self.writer = folder, every, histograms, None

    def on_fit_start(self, trainer):
        from ..utils.tensorboard import SummaryWriter
        self.writer, self.seen = SummaryWriter(self.folder), trainer.step

    def on_batch_end(self, trainer, logs):
        if self.every is not None and trainer.step != self.seen and trainer.step % self.every == 0:
            self.seen = trainer.step
            self.writer.add_scalar("step/loss", logs["loss"], trainer.step)
            self.writer.add_scalar("step/lr", float(trainer.optimizer.param_groups[0]["lr"]), trainer.step)

    def on_epoch_end(self, trainer, logs):
        for name, value in logs.items():
            if name == "lr":
                tag = "lr"
            else:
                tag = f"{name[4:]}/validation" if name.startswith("val_") else f"{name}/training"
            self.writer.add_scalar(tag, value, trainer.epoch)
        if self.histograms:
            for name, p in trainer.model.named_parameters():
                self.writer.add_histogram(name, p, trainer.epoch)
        self.writer.flush()

    def on_fit_end(self, trainer):
        if self.writer is not None:
            self.writer.close()
            self.writer = None
