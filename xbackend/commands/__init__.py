"""The command line, one file a command: its options, one call of the API, what it prints.

Others use `main`.
"""
