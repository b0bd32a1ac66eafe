"""Where a worker runs, and how far an emulator can be trusted.

Others use `arm`, `cpu_switches`, `emulated`, `emulation_doubt`, `emulation_taint`, `inventory`,
`parse`, `platform`, `setup_arm`, `sysroot`, `trust`.
"""
