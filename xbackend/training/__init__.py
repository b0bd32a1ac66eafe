"""How the built-in models are trained from their official data.

Others use `fit`, `train`.
"""
