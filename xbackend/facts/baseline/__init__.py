"""The known classes of outputs on a fleet of machines, kept as a file, and what is held to it.

Others use `collect`, `entries`, `file`, `judge`, `verdicts`.
"""
