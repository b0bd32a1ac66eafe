"""Runs and arrays that come from elsewhere or go there, with all that is known of them.

Others use `array_export`, `arrays`, `importing`.
"""
