"""Conversions: finds the arrows, runs each in a process of its own, keeps what they give.

Others use `convert`, `export_notes`, `flat_notes`, `launch`, `options`, `weights`.
"""
