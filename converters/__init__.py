"""Converters, one arrow between two model formats in each file."""
