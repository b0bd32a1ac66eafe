"""What was found in words, for every format: names, numbers, sentences, notes."""
