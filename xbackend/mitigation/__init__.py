"""What removes a difference, and what it costs: tried, measured, searched.

Others use `advice`, `consistency`, `nearness`, `results`, `search`, `trials`.
"""
