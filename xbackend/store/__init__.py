"""Records and objects on disk, and finding them.

Others use `artifact_files`, `check`, `cohort`, `escaping`, `files`, `index`, `packed_results`,
`query`, `records`, `schema`, `store`, `upkeep`.
"""
