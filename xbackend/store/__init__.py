"""Records and objects on disk, and finding them.

Others use `cohort`, `packed_results`, `records`, `query`, `store`.
"""
