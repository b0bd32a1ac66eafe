"""The built-in mitigations: data, found by the same entry points as a stranger's."""
