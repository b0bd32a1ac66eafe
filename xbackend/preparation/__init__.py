"""From what a user names to what a backend eats: models, inputs, conversions.

Others use `archive`, `conversion`, `inputs`, `labelled_samples`, `limits`, `model`,
`model_objects`, `numpy_file`, `rewrite`, `samples`, `saturation`.
"""
