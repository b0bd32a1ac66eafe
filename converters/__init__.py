"""Converters, one arrow between two model formats in each file.

What several of them share lies in a folder for each framework, and what they must know of other
libraries in `libraries/`; `importers/` reads runs that others published.
"""
