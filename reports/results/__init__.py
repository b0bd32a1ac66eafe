"""Lays out what commands other than compare return, a file each."""
