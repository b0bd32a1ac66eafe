"""The version of xbackend, which the records of runs tell."""

VERSION = "0.1.0"
