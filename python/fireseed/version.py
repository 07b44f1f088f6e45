"""Version of the package; no CUDA in this build."""
from . import _C

__version__ = _C.__version__
cuda = None
hip = None
git_version = "unknown"
debug = False
