"""`import torch` in a process that a script under fireseed.run started: fireseed takes the name."""
import sys

import fireseed

del sys.modules[__name__]
fireseed.as_torch()
