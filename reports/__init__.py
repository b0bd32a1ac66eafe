"""Reports: the layout of a comparison, no arithmetic."""
