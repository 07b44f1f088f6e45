"""Anomaly detection: backward errors name the forward line, NaN gradients raise."""
from .. import _C


class detect_anomaly:
    """Context manager; slow: each recorded op keeps its Python stack."""

    _on = True

    def __init__(self, check_nan=True):
        self._before = _C.is_anomaly_enabled()

    def __enter__(self):
        _C._set_anomaly(True)

    def __exit__(self, *error):
        _C._set_anomaly(self._before)


class set_detect_anomaly:
    """Function and context manager that switches anomaly detection."""

    def __init__(self, mode, check_nan=True):
        self._before = _C.is_anomaly_enabled()
        _C._set_anomaly(bool(mode))

    def __enter__(self):
        pass

    def __exit__(self, *error):
        _C._set_anomaly(self._before)
