"""What a worker tells of the machine and the software that it runs on.

Others use `cpuid`, `environment`, `fingerprint`, `onednn`.
"""
