"""Runs that come from elsewhere: taken into a store with all that is known of them.

Others use `importing`.
"""
