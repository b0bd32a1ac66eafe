"""What the formats are put together from: tables and the sentences that stand beside them."""
