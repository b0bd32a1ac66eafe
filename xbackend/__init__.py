"""xbackend: does a neural network compute the same bits everywhere?"""

from xbackend.worker.version import VERSION as __version__

__all__ = ["__version__"]
