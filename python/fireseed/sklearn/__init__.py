"""Networks as scikit-learn estimators: MLPClassifier and MLPRegressor (pip install fireseed[sklearn])."""
try:
    import sklearn as _package  # noqa: F401
except ImportError as error:
    raise ImportError("fireseed.sklearn needs scikit-learn: pip install fireseed[sklearn]") from error

from ._mlp import MLPClassifier, MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
