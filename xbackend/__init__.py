"""xbackend: does a neural network compute the same bits everywhere?"""

__version__ = "0.1.0"
