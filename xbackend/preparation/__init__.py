"""From what a user names to what a backend eats: models, inputs, conversions.

Others use `conversion`, `inputs`, `labelled`, `model`, `options`, `rewrite`, `saturation`,
`weights`.
"""
