"""Records and objects on disk, and finding them.

Others use `cohort`, `compact`, `records`, `selection`, `store`.
"""
