"""From what a user names to what a backend eats: models, inputs, conversions.

Others use `conversion`, `converter_options`, `export_notes`, `inputs`, `labelled_samples`, `model`,
`model_objects`, `rewrite`, `saturation`, `weights`.
"""
