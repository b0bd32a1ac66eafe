"""Importers, a published collection of runs each, and how its files and paths are read."""
