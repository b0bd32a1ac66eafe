"""Records and objects on disk, and finding them.

Others use `artifact_files`, `check`, `cohort`, `escaping`, `files`, `index`, `packed_results`,
`query`, `record_schema`, `records`, `schema`, `store`.
"""
