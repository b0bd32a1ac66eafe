"""The one schema of records: its checks, the published JSON Schema, older records brought to it.

Others use `kinds`, `migration`, `record`.
"""
