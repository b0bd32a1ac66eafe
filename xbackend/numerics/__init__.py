"""Arrays as bits: formats, distances, classes and errors of tensors, without any store or run.

Others use `alignment`, `blocks`, `float64_error`, `floats`, `label_flips`, `metrics`,
`pair_metrics`, `partition`, `summation`, `zeroing`.
"""
