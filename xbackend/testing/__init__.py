"""What authors of backends test against."""
