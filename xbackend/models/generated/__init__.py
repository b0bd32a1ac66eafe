"""Networks that are made from seeds: the same weights on every machine.

Others use `network`, `numbers`, `variants`.
"""
