"""What removes a difference, and what it costs: tried, measured, searched.

Others use `compare_trials`, `consistency`, `evaluate`, `recommend`, `results`, `search`, `trials`.
"""
