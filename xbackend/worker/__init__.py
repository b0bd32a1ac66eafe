"""The half that is shipped to the platform: standard library and NumPy, Python 3.8 syntax."""
