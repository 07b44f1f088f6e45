"""The progress bar: tqdm in a terminal or notebook, one line an epoch elsewhere."""
import sys
import time


def _format(logs):
    return ", ".join(f"{name}={value:.4g}" for name, value in logs.items())


class Progress:
    """One bar an epoch. Redraws at most ten times a second, so that small steps stay cheap."""

    def __init__(self, enabled):
        self.bar, self.make = None, None
        self.enabled = enabled
        if not enabled:
            return
        notebook = "ipykernel" in sys.modules
        if notebook or sys.stderr.isatty():
            try:
                if notebook:
                    from tqdm.auto import tqdm
                else:
                    from tqdm import tqdm
                self.make = tqdm
            except ImportError:
                pass

    def start(self, epoch, epochs, batches):
        """A new epoch of `batches` batches (None: unknown)."""
        self.title, self.started, self.drawn, self.done = f"Epoch {epoch}/{epochs}", time.perf_counter(), 0.0, 0
        if self.make is not None:
            self.bar = self.make(total=batches, desc=self.title, unit="batch", leave=True, dynamic_ncols=True)

    def step(self, loss):
        """One batch is done; loss: its running mean."""
        if self.bar is None:
            return
        self.done += 1
        now = time.perf_counter()
        if now - self.drawn > 0.1:
            self.drawn = now
            self.bar.set_postfix_str(f"loss={loss:.4g}", refresh=False)
            self.bar.update(self.done)
            self.done = 0

    def finish(self, logs):
        """The epoch is done, with its figures."""
        if self.bar is not None:
            self.bar.bar_format = "{desc}: {n_fmt} batches in {elapsed}{postfix}"  # figures instead of the bar
            self.bar.set_postfix_str(_format({k: v for k, v in logs.items() if k != "lr"}), refresh=False)
            self.bar.update(self.done)
            self.bar.close()
            self.bar = None
        elif self.enabled:
            print(f"{self.title}: {_format(logs)} ({time.perf_counter() - self.started:.2f} s)", flush=True)

    def close(self):
        """Ends an unfinished bar."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
