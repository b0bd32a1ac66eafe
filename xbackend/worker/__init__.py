"""The half that is shipped to a platform: standard library, NumPy, Python 3.8.

Others use `artifact`, `contract`, `control`, `flat`, `flow`, `geometry`, `graph`, `job`, `machine`,
`main`, `objects`, `sandbox`, `scratch`, `script_statements`, `subgraphs`, `tensor`,
`torch_functions`, `torch_state`, `version`.
"""
