"""What the first lines of an answer say: how far apart, with which tolerance, in which layers.

Others use `distances`, `notable`, `tolerance`.
"""
