"""Which property, switch or part of a platform makes a class.

Others use `ablation`, `correlation`, `switching`.
"""
