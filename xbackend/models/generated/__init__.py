"""Networks that are made from seeds: the same weights on every machine.

Others use `model_cache`, `models`, `random_numbers`.
"""
