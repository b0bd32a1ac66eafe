"""What authors of backends test against: the contract, and the public ONNX tests.

Others use `artifacts`, `bench`, `collect`, `contract`, `expected`, `onnx_suite`, `operators`,
`random_nets`, `random_nodes`, `small_models`, `spec_contract`, `suite_cases`.
"""
