"""What scripts see as torchvision under as_torch(): its data sets and transforms are fireseed.datasets'; no models."""
from .. import datasets
from ..datasets import transforms
from . import utils

__all__ = ["datasets", "transforms", "utils"]
__version__ = "0.28.0+fireseed"


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(f"module 'torchvision' has no attribute '{name}'")
    from .._namespaces import MissingError
    from .._torch_support import missing
    raise MissingError(missing(f"torchvision.{name}"))
