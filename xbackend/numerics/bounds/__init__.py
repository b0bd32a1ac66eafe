"""How far rounding can move a layer's outputs: bounds for each operator, without any tolerance.

Others use `arithmetic`, `bound`, `integers`, `judge`, `judgement`, `movement`, `rules`,
`transformed`, `weights`.
"""
