"""History: what a training run measured, epoch by epoch; drawn with plot(), read with diagnosis()."""
import math
import textwrap


class History:
    """The figures of a run: history["loss"], history["val_accuracy"], ... are lists with one number an epoch.

    `stopped`: why the run ended ("finished", "early stopping ...", "interrupted"); `best_epoch`: counted from 1, set
    by EarlyStopping; `epochs`: how many epochs were completed.
    """

    def __init__(self):
        self.values = {}
        self.stopped = None
        self.best_epoch = None

    def append(self, logs):
        """Adds one epoch: a dict of numbers."""
        for name, value in logs.items():
            self.values.setdefault(name, []).append(float(value))

    @property
    def epochs(self):
        """The number of completed epochs."""
        return max((len(v) for v in self.values.values()), default=0)

    def state_dict(self):
        """What a checkpoint keeps of it."""
        return {"values": {name: list(values) for name, values in self.values.items()}, "best_epoch": self.best_epoch}

    def load_state_dict(self, state):
        """Takes over what `state_dict` gave."""
        self.values = {name: list(values) for name, values in state["values"].items()}
        self.best_epoch = state["best_epoch"]

    def __getitem__(self, name):
        return self.values[name]

    def __contains__(self, name):
        return name in self.values

    def __iter__(self):
        return iter(self.values)

    def __len__(self):
        return self.epochs

    def keys(self):
        """The names of the figures."""
        return self.values.keys()

    def __repr__(self):
        if not self.epochs:
            return "History(no epochs)"
        last = ", ".join(f"{name}={values[-1]:.4g}" for name, values in self.values.items() if values)
        return f"History({self.epochs} epochs, {self.stopped or 'running'}; {last})"

    def plot(self, path=None, title=None, diagnosis=False):
        """Draws training and validation curves, a panel each for loss and every metric; returns the figure.

        path: an image file to write (png, pdf, svg). diagnosis: write diagnosis() below the curves, and shade what
        comes after the lowest validation loss. Needs matplotlib, but no display.
        """
        from ._plot import new_figure
        names = [n for n in self.values if not n.startswith("val_") and n != "lr"]
        width = 5.2 * max(len(names), 1)
        figure = new_figure("History.plot", (width, 4.4 if diagnosis else 3.8))
        losses = [v if math.isfinite(v) else math.inf for v in self.values.get("val_loss", [])]
        turn = 1 + losses.index(min(losses)) if losses else None
        for i, name in enumerate(names):
            axes = figure.add_subplot(1, len(names), i + 1)
            x = range(1, len(self.values[name]) + 1)
            axes.plot(x, self.values[name], color="tab:blue", label="training")
            validation = self.values.get("val_" + name)
            if validation:
                axes.plot(range(1, len(validation) + 1), validation, color="tab:orange", label="validation")
            if self.best_epoch is not None:
                axes.axvline(self.best_epoch, color="0.6", linestyle="--", linewidth=1,
                             label=f"best (epoch {self.best_epoch})")
            if diagnosis and turn is not None and turn < self.epochs:
                axes.axvspan(turn, self.epochs, color="tab:red", alpha=0.08, linewidth=0,
                             label=f"after the lowest\nvalidation loss ({turn})")
            axes.set_xlabel("epoch")
            axes.set_ylabel(name)
            axes.set_title(name)
            axes.grid(alpha=0.3)
            axes.legend()
        if title:
            figure.suptitle(title)
        if diagnosis:
            figure.supxlabel(textwrap.fill(self.diagnosis(), int(12 * width)), fontsize="medium")
        if path is not None:
            figure.savefig(path, dpi=120)
        return figure

    def diagnosis(self, plot=None):
        """What the curves say, in a sentence or two: diverged, not learning, over- or underfitting, or fine.

        plot: an image file for the curves with these sentences below them.
        """
        if plot is not None:
            self.plot(plot, diagnosis=True)
        train, val = self.values.get("loss", []), self.values.get("val_loss", [])
        if len(train) < 3:
            return "Too few epochs to tell: train for at least 3."
        if not all(math.isfinite(v) for v in train + val):
            first = next(i for i, v in enumerate(train + val) if not math.isfinite(v))
            return (f"Diverged: the loss is not finite from epoch {first % len(train) + 1} on. Try a smaller "
                    "learning rate, "
                    "gradient clipping, or look for bad inputs.")
        best_train, start = min(train), train[0]
        if best_train > 0.98 * start:
            return ("Not learning: the training loss hardly moves. Try another learning rate, and check that "
                    "the optimizer "
                    "has all parameters and that inputs and targets belong together.")
        third = max(len(train) // 3, 1)
        falling = train[-1] < 0.97 * train[-third - 1]
        if val:
            low = min(range(len(val)), key=val.__getitem__)
            rise = val[-1] / max(val[low], 1e-12)
            if low < len(val) - max(3, third) and rise > 1.1 and train[-1] < train[low]:
                found = (f"the validation loss is lowest at epoch {low + 1} and {100 * (rise - 1):.0f} % higher at the "
                         "end, while the training loss still falls.")
                if self.best_epoch == low + 1 and str(self.stopped).startswith("early"):
                    return f"Overfitting, stopped early: {found} The weights of epoch {low + 1} are the ones to keep."
                return (f"Overfitting: {found} Stop there (EarlyStopping), or use more data, augmentation, dropout or "
                        "weight decay.")
            if val[-1] > 2 * train[-1] and val[-1] - train[-1] > 0.1 * start:
                return (f"A gap between training ({train[-1]:.3g}) and validation loss ({val[-1]:.3g}): the "
                        "network fits the "
                        "training data better than new data. More data, augmentation, dropout or weight decay "
                        "may help.")
        if best_train > 0.5 * start and not falling:
            return ("Underfitting: the training loss has settled high. Try a larger network, less "
                    "regularisation or another "
                    "learning rate.")
        settled = str(self.stopped).startswith("early") or (val and min(val[-third:]) > 0.98 * min(val[:-third]))
        if falling and not settled:
            return "Still improving: the losses were falling when the run ended. Train longer."
        return "Looks fine: the losses have settled, and validation follows training."
