"""What removes a difference, and what it costs: tried, measured, searched.

Others use `compare_trials`, `consistency`, `evaluate`, `mixed_precision`, `recommend`,
`results`, `search`, `trials`.
"""
