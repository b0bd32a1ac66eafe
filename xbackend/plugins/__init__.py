"""The only door to the wings: what is installed, by name, and the contracts that it keeps.

Others use `converter`, `importer`, `installed`, `inventory`, `mitigation`, `registry`.
"""
