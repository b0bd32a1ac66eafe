"""The smallest model and input that still show a difference.

Others use `bug_report`, `ddmin`, `reduction`, `run_pair`, `shrink`, `summation`.
"""
