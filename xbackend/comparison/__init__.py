"""From records to classes, layers and trees of nearness: reads runs, never starts one.

Others use `across`, `activations`, `compare`, `comparison`, `dendrogram`, `export`, `findings`,
`layers`, `machines`, `measurement`, `summary`, `threads`.
"""
