"""Reports, a format in each file: the layout of a comparison, no arithmetic.

`wording/` turns facts into words and `sections/` into tables, for every format; `results/` lays out
what other commands return, `plots/` draws.
"""
