"""Runs models again, whole or cut apart, to say where a difference comes from and whose it is.

Others use `against_reference`, `cut_graph`, `isolation`, `pairs`, `reference`, `rerun`.
"""
