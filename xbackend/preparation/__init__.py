"""From what a user names to what a backend eats: models, inputs, conversions.

Others use `archive`, `conversion`, `converter_launch`, `converter_options`, `export_notes`,
`inputs`, `labelled_samples`, `limits`, `model`, `model_objects`, `rewrite`, `saturation`,
`weights`.
"""
