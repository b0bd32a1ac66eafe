"""Runs models again, whole or cut apart, to say where a difference comes from and whose it is.

Others use `certificate`, `cut_graph`, `isolation`, `isolation_pairs`, `reference`,
`reference_comparison`, `rerun`, `saturation_run`.
"""
