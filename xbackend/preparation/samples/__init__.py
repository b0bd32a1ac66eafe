"""Samples: what is given in files or by a function, or made up to fit a model's inputs.

Others use `axes`, `choice`, `given`, `input_set`, `kinds`, `made`.
"""
