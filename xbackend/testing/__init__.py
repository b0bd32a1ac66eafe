"""What authors of backends test against: the contract, and the public ONNX tests.

Others use `artifacts`, `contract`, `expected_failures`, `onnx_suite`, `operators`,
`random_comparisons`, `random_nets`, `random_nodes`, `record_suite`, `small_models`,
`spec_contract`, `store_builder`, `suite_cases`.
"""
