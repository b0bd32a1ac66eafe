"""The half that is shipped to a platform: standard library, NumPy, Python 3.8.

Others use `artifact`, `contract`, `cpuid`, `fingerprint`, `flat`, `geometry`, `graph`, `job`,
`main`, `objects`, `onednn`, `sandbox`, `scratch`, `script_statements`, `tensor`, `version`.
"""
