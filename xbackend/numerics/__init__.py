"""Arrays as bits: formats, distances, classes and errors of tensors, without any store or run.

Others use `blocks`, `error`, `floats`, `labels`, `metrics`, `partition`, `zeroing`.
"""
