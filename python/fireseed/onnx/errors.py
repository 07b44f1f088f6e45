"""What an export may raise."""


class OnnxExporterError(RuntimeError):
    """The model cannot be exported; the text says what is in the way and where."""


class UnsupportedOperatorError(OnnxExporterError):
    """An op without a counterpart in ONNX; `op` is its name, `where` the place of its call."""

    def __init__(self, op, where, reason=None):
        self.op, self.where = op, where
        super().__init__(f"onnx.export: the op '{op}' cannot be exported" + (f": {reason}" if reason else "")
                         + f". It was called {where}")
