"""Bounds of operators of many steps, by running error analysis: attention, recurrent cells.

Others use `attention`, `chain`, `recurrent`, `tracked`.
"""
