"""The progress bar: tqdm in a terminal or notebook, one line an epoch elsewhere."""
import os
import sys
import time


def _format(logs):
    return ", ".join(f"{name}={value:.4g}" for name, value in logs.items())


def _in_notebook():
    """Is there a Jupyter kernel that shows widgets? A console's IPython (TerminalInteractiveShell) is a terminal."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return type(shell).__name__ == "ZMQInteractiveShell"


def _find_bar():
    """tqdm's class for where we are; None where no bar can be drawn."""
    try:
        if _in_notebook():
            try:
                import ipywidgets  # noqa: F401
                from tqdm.notebook import tqdm
            except ImportError:  # without widgets, text
                from tqdm import tqdm
            return tqdm
        if sys.stderr.isatty():
            from tqdm import tqdm
            return tqdm
    except ImportError:
        pass
    return None


def _width():
    """The bar follows the terminal's width; one that says it has none (0 columns) gets 80."""
    try:
        known = os.get_terminal_size(sys.stderr.fileno()).columns > 0
    except (OSError, ValueError, AttributeError):
        known = True
    return {"dynamic_ncols": True} if known else {"ncols": 80}


class Progress:
    """One bar an epoch. Redraws at most ten times a second, so that small steps stay cheap."""

    def __init__(self, enabled):
        self.enabled, self.bar = enabled, None
        self.make = _find_bar() if enabled else None

    def start(self, epoch, epochs, batches, done=0):
        """A new epoch of `batches` batches (None: unknown), of which `done` were done before."""
        self.title, self.started, self.drawn, self.done = f"Epoch {epoch}/{epochs}", time.perf_counter(), 0.0, 0
        if self.make is not None:
            self.bar = self.make(total=batches, initial=done, desc=self.title, unit="batch", leave=True, **_width())

    def step(self, figures):
        """One batch is done; figures.loss(): its running mean."""
        self.done += 1
        now = time.perf_counter()
        if now - self.drawn > 0.1:
            self.drawn = now
            self.bar.set_postfix_str(f"loss={figures.loss():.4g}", refresh=False)
            self.bar.update(self.done)
            self.done = 0

    def finish(self, logs):
        """The epoch is done, with its figures."""
        if self.bar is not None:
            if not hasattr(self.bar, "container"):  # in a terminal figures instead of the bar; a widget keeps its layout
                self.bar.bar_format = "{desc}: {n_fmt} batches in {elapsed}{postfix}"
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
