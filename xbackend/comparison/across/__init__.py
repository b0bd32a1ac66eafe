"""Runs of different files of one model, brought under one set of names so that they compare.

Others use `files`, `sections`, `weights`.
"""
