"""What the page shows, as plain values: from a comparison and its JSON report."""
