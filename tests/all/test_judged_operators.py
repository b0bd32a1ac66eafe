"""No operator that a backend computes is left without a bound unless that was decided."""

from __future__ import annotations

import pytest

from xbackend.numerics.bounds.rules import RULES, WITHOUT_BOUND, reason_against, rule_for


def known_operators() -> dict[str, set[tuple[str, str]]]:
    """Return what each executor computes, by domain and name."""
    fixed = pytest.importorskip("xbackend.backends.fixed.operators")
    torch = pytest.importorskip("xbackend.backends.torch.operators")
    tf = pytest.importorskip("xbackend.backends.tf.operators")
    spelled = pytest.importorskip("xbackend.converters.onnx.functions")
    names = {*spelled.FUNCTIONS, *spelled.SCHEMA_FUNCTIONS}
    return {
        "spelled out": {(name.rpartition(".")[0], name.rpartition(".")[2]) for name in names},
        "fixed": set(fixed.OPERATORS),
        "torch": {("", name) for name in torch.TABLE},
        "tf": {("", name) for name in tf.OPERATORS},
    }


def test_every_operator_that_an_executor_computes_has_a_bound_or_a_reason() -> None:
    for word, known in known_operators().items():
        assert len(known) > (20 if word == "spelled out" else 100)
        bare = {key for key in known if rule_for(key[1], key[0]) is None}
        assert bare - set(WITHOUT_BOUND) == set(), word


def test_what_has_a_reason_against_it_has_no_bound() -> None:
    assert [key for key in WITHOUT_BOUND if rule_for(key[1], key[0]) is not None] == []
    assert all(reason_against(name, domain) == why for (domain, name), why in WITHOUT_BOUND.items())
    assert {"Attention", "LSTM", "GRU", "RNN"} <= set(RULES)
