"""Looks ahead that leave no trace: the learning-rate range test, and learning one batch by heart."""
import contextlib
import math

from ._plot import new_figure
from ._snapshot import Snapshot


class LRFinding:
    """What lr_find saw: `lrs`, `losses` (smoothed), `raw` losses, and `suggestion`, a rate or None.

    Note [Learning-rate range test]. Training starts with a tiny rate that grows by a factor with every step (Smith
    2017, "Cyclical learning rates"). The loss falls where the rate is useful and explodes beyond. Suggested is the
    rate at which the smoothed loss is half the way down, but at most a tenth of the rate of its minimum; none where the
    fall is within the noise.
    """

    def __init__(self, lrs, raw, stopped):
        self.lrs, self.raw, self.stopped = lrs, raw, stopped
        self.losses, mean = [], 0.0
        for i, loss in enumerate(raw):  # an exponential mean, corrected for its start
            mean = 0.9 * mean + 0.1 * loss
            self.losses.append(mean / (1 - 0.9 ** (i + 1)))
        self.suggestion = self._suggest()

    def _suggest(self):
        usable = [i for i, loss in enumerate(self.losses) if math.isfinite(loss)][5:]  # the first means are of too few
        if len(usable) < 10:
            return None
        calm = self.raw[:max(len(self.raw) // 4, 10)]  # where the rate is too small to change anything
        begin = sum(calm) / len(calm)
        noise = (sum((loss - begin) ** 2 for loss in calm) / len(calm) * 0.1 / 1.9) ** 0.5  # of the exponential mean
        low = min(usable, key=self.losses.__getitem__)
        if begin - self.losses[low] < max(0.03 * abs(begin), 4 * noise):
            return None
        middle = (begin + self.losses[low]) / 2
        above = [i for i in usable if i < low and self.losses[i] >= middle]
        return min(self.lrs[above[-1]] if above else self.lrs[low], self.lrs[low] / 10)

    def __repr__(self):
        if self.suggestion is None:
            return (f"LRFinding({len(self.lrs)} steps; no suggestion: the loss does not fall anywhere between "
                    f"{self.lrs[0]:.1g} and {self.lrs[-1]:.1g})")
        return f"LRFinding({len(self.lrs)} steps; suggestion {self.suggestion:.2g})"

    def __str__(self):
        """A drawing in characters, with the suggestion."""
        width, height = 60, 12
        finite = [loss for loss in self.losses if math.isfinite(loss)]
        if not finite:
            return repr(self)
        top, bottom = min(max(finite), 1.5 * finite[0] if finite[0] > 0 else max(finite)), min(finite)
        span = top - bottom or 1.0
        rows = [[" "] * width for _ in range(height)]
        for i, loss in enumerate(self.losses):
            if math.isfinite(loss):
                column = i * (width - 1) // max(len(self.losses) - 1, 1)
                row = round((top - min(loss, top)) / span * (height - 1))
                rows[row][column] = "*"
        if self.suggestion is not None:
            at = min(range(len(self.lrs)), key=lambda i: abs(math.log(self.lrs[i] / self.suggestion)))
            column = at * (width - 1) // max(len(self.losses) - 1, 1)
            for row in rows:
                row[column] = "|" if row[column] == " " else row[column]
        lines = ["".join(row).rstrip() for row in rows]
        lines[0] = f"{top:10.4g} {lines[0]}"
        lines[1:-1] = [" " * 11 + line for line in lines[1:-1]]
        lines[-1] = f"{bottom:10.4g} {lines[-1]}"
        scale = f"{self.lrs[0]:.1g}"
        end = f"{self.lrs[-1]:.1g}"
        lines.append(" " * 11 + scale + end.rjust(width - len(scale)) + "  lr")
        found = "no suggestion" if self.suggestion is None else f"suggestion (|): {self.suggestion:.2g}"
        return "\n".join([*lines, f"loss over learning rate; {found}"])

    def plot(self, path=None):
        """Draws the losses over the rates (log), with the suggestion; returns the figure. Needs matplotlib."""
        figure = new_figure("LRFinding.plot", (6.4, 4.2))
        axes = figure.add_subplot()
        axes.plot(self.lrs, self.raw, color="tab:blue", alpha=0.3, linewidth=1, label="loss of each step")
        axes.plot(self.lrs, self.losses, color="tab:blue", label="smoothed")
        if self.suggestion is not None:
            axes.axvline(self.suggestion, color="tab:red", linestyle="--", label=f"suggestion {self.suggestion:.2g}")
        axes.set_xscale("log")
        finite = [loss for loss in self.losses if math.isfinite(loss)]
        if finite:
            low, high = min(finite), min(max(finite), 2 * max(finite[: max(len(finite) // 2, 1)]))
            margin = 0.08 * (high - low or 1.0)
            axes.set_ylim(low - margin, high + margin)
        axes.set_xlabel("learning rate")
        axes.set_ylabel("loss")
        axes.set_title("Learning-rate range test")
        axes.grid(alpha=0.3)
        axes.legend()
        if path is not None:
            figure.savefig(path, dpi=120)
        return figure


class Overfitting:
    """What overfit_batch saw: `losses` of all steps, `first`, `last`, `learned` (True or False) and `message`."""

    def __init__(self, losses, floor):
        self.losses, self.first, self.last = losses, losses[0], losses[-1]
        best = min((loss for loss in losses if math.isfinite(loss)), default=math.inf)
        moved = math.isfinite(self.last) and best < 0.5 * self.first
        self.learned = math.isfinite(self.last) and (self.last <= floor or self.last < 0.05 * self.first)
        at = f"from {self.first:.4g} to {self.last:.4g} in {len(losses)} steps"
        if self.learned:
            self.message = f"Fine: the network learns one batch by heart ({at})."
        elif not math.isfinite(self.last):
            self.message = f"Diverged ({at}): try a smaller learning rate."
        elif self.last > 0.99 * self.first:
            self.message = (f"Nothing is learned ({at}): check that the optimizer has the parameters, that the loss "
                            "fits the outputs, and the learning rate.")
        else:
            self.message = (f"Learning, but not by heart ({at}): " + (
                "more steps or a larger learning rate may do." if moved else "a larger network, less dropout and weight "
                "decay, or another learning rate; or some inputs are equal with different targets."))

    def __repr__(self):
        return f"Overfitting({self.message})"


def lr_find(trainer, data, start, end, steps, stop_at):
    """See Trainer.lr_find."""
    if not 0 < start < end:
        raise ValueError(f"lr_find: expected 0 < start < end, got {start} and {end}")
    if steps < 10:
        raise ValueError(f"lr_find: steps must be at least 10, got {steps}")
    optimizer, factor = trainer.optimizer, (end / start) ** (1 / (steps - 1))
    lrs, raw, best = [], [], math.inf
    with _undone(trainer, data), trainer._steps():
        groups = optimizer.param_groups
        base = float(groups[0]["lr"]) or 1.0
        shares = [float(group["lr"]) / base for group in groups]  # other groups keep their proportion
        for loss in _losses(trainer, data, steps, lambda i: [
                _set_lr(group, start * factor ** i * share) for group, share in zip(groups, shares)]):
            lrs.append(start * factor ** len(lrs))
            raw.append(loss)
            mean = sum(raw[-5:]) / len(raw[-5:])
            if not math.isfinite(loss) or len(raw) > 10 and mean > stop_at * best:
                break
            best = min(best, mean)
    return LRFinding(lrs, raw, len(lrs) < steps)


def _set_lr(group, value):
    from .. import _C
    if isinstance(group["lr"], _C.Tensor):
        group["lr"].fill_(value)
    else:
        group["lr"] = value


def _losses(trainer, data, steps, before):
    """The losses of `steps` training steps on the data, begun anew as often as needed."""
    done = 0
    while done < steps:
        empty = True
        for batch in data:
            empty = False
            before(done)
            yield float(trainer._one_step(batch))
            done += 1
            if done == steps:
                return
        if empty:
            raise ValueError("the training data gave no batches")


def overfit_batch(trainer, batch, steps, floor, keep):
    """See Trainer.overfit_batch."""
    if steps < 2:
        raise ValueError(f"overfit_batch: steps must be at least 2, got {steps}")
    data = batch if hasattr(batch, "dataset") else None  # a DataLoader: its first batch
    with contextlib.nullcontext() if keep else _undone(trainer, data), trainer._steps():
        if data is not None:
            batch = next(iter(data))
        return Overfitting(list(_losses(trainer, [batch], steps, lambda i: None)), floor)


class _undone(Snapshot):
    """A Snapshot of a trainer: also its counters and figures."""

    def __init__(self, trainer, data):
        super().__init__(trainer.model, trainer.optimizer, trainer.scaler, data)
        self.trainer = trainer

    def __enter__(self):
        self.counters = {name: value for name, value in vars(self.trainer).items()
                         if name in ("epoch", "batch", "step", "stop", "scheduler", "_lint_due")}
        self.trainer.scheduler = None  # it would change the rates
        return super().__enter__()

    def __exit__(self, *exc):
        super().__exit__(*exc)
        vars(self.trainer).update(self.counters)
