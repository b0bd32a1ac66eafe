"""Which forms of a model run: its own source, the exported graph, or both."""

from __future__ import annotations

from pathlib import Path

import pytest

from xbackend.errors import StoreError
from xbackend.execution.model_forms import (
    check_copy,
    form_settings,
    source_refusal,
    travel_refusal,
)
from xbackend.platforms.platform import Platform
from xbackend.preparation.model import Model, file_digest
from xbackend.worker.artifact import Artifact
from xbackend.worker.contract import BackendSpec, graph_setting

SPEC = BackendSpec(
    word="own",
    title="Own",
    adapter="nowhere:Adapter",
    modules=(),
    distributions=(),
    formats={"float32": "graph", "float16": "graph-float16"},
    sources={"keras": "source-own", "callable": "source-own"},
    source_title="own model",
    settings=(graph_setting("own model"),),
)
OTHER = BackendSpec("other", "Other", "nowhere:Adapter", (), (), {"float32": "graph"})
KERAS = Model("net", "d", "net.keras", {"keras": Path("net.keras")})
ONNX = Model("net", "d", "net.onnx", {"onnx": Path("net.onnx")})
FUNCTION = Model("net", "d", "nets:net", {"callable": Path("nets:net"), "onnx": Path("net.onnx")})


def forms(model: Model, graph: str, precision: str = "float32", both: bool = True) -> list[str]:
    found = form_settings(SPEC, {"graph": graph}, model, precision, both)
    return [str(settings["graph"]) for settings in found]


def test_both_forms_run_where_nobody_chose_and_the_model_has_a_source() -> None:
    assert forms(KERAS, "auto") == ["source", "onnx"]
    assert forms(FUNCTION, "auto") == ["source", "onnx"]


def test_the_graph_alone_runs_where_there_is_no_source_or_it_is_in_another_format() -> None:
    assert forms(ONNX, "auto") == ["onnx"]
    assert forms(KERAS, "auto", "float16") == ["onnx"]
    assert forms(KERAS, "auto", both=False) == ["onnx"]


def test_what_was_chosen_runs_alone() -> None:
    assert forms(KERAS, "onnx") == ["onnx"]
    assert forms(KERAS, "source") == ["source"]


def test_a_backend_without_sources_keeps_its_settings() -> None:
    assert form_settings(OTHER, {"threads": 1}, KERAS, "float32", True) == [{"threads": 1}]


def test_a_source_that_is_not_there_is_refused_with_the_cure() -> None:
    assert source_refusal(SPEC, KERAS, "float32") == ""
    assert "'net.onnx' is no own model (callable, keras)" in source_refusal(SPEC, ONNX, "float32")
    assert "Leave out --precision" in source_refusal(SPEC, KERAS, "float16")


def test_a_function_stays_in_this_python_and_a_file_travels() -> None:
    remote = Platform("ssh:host", transport="ssh:host")
    foreign = Platform("python:/elsewhere/python", python="/elsewhere/python")
    for away in (remote, foreign):
        assert "'nets:net' is a function of this Python" in travel_refusal(SPEC, FUNCTION, away)
        assert travel_refusal(SPEC, KERAS, away) == ""
    assert travel_refusal(SPEC, FUNCTION, Platform("native")) == ""


def test_a_copy_that_is_not_the_users_file_is_never_run(tmp_path: Path) -> None:
    file = tmp_path / "net.keras"
    file.write_bytes(b"the user's")
    model = Model("net", "d", "net.keras", {"keras": file}, digests={"keras": file_digest(file)})
    artifact = Artifact(tmp_path, "source-own", "a", (), (), (), {"model": "copy"})
    (tmp_path / "copy").write_bytes(b"the user's")
    check_copy(SPEC, model, artifact)
    (tmp_path / "copy").write_bytes(b"another's")
    with pytest.raises(StoreError, match="of which it is to be a copy"):
        check_copy(SPEC, model, artifact)
