"""What ONNX Runtime says when it refuses a model, as a user reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from xbackend.backends.ort.errors import sentence, translate_error
from xbackend.testing.artifacts import make_artifact
from xbackend.testing.small_models import small_model
from xbackend.worker.artifact import Artifact
from xbackend.worker.contract import Session, Unsupported

Prepare = Callable[..., Session]

OPSET = (
    "[ONNXRuntimeError] : 1 : FAIL : Load model from /tmp/a b/model.onnx failed:"
    "/onnxruntime_src/onnxruntime/core/graph/model.cc:256 onnxruntime::Model::Model("
    "onnx::ModelProto&&, const onnxruntime::ModelOptions&) "
    "Unsupported model IR version: 99, max supported IR version: 13\n"
)


def test_a_message_loses_codes_paths_and_signatures() -> None:
    assert sentence(OPSET) == "Unsupported model IR version: 99, max supported IR version: 13."


def test_a_message_without_text_still_gives_a_sentence() -> None:
    assert sentence(" \n") == "it gives no reason."


def test_a_version_that_is_too_new_is_unsupported() -> None:
    assert isinstance(translate_error(RuntimeError(OPSET), "float32"), Unsupported)


def test_an_opset_that_is_too_new_is_told_with_the_cure(prepare: Prepare, tmp_path: Path) -> None:
    model = small_model().model
    artifact = make_artifact(model, tmp_path)
    model.opset_import[0].version = 99
    (artifact.folder / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(Unsupported, match=r"Opset 99 is newer than what it reads, up to \d+\. Con"):
        prepare(artifact)


def test_a_broken_model_is_a_failure_of_the_same_class() -> None:
    error = translate_error(KeyError("INVALID_PROTOBUF : protobuf parsing failed"), "float32")
    assert type(error) is KeyError


def test_a_precision_without_kernels_is_unsupported(prepare: Prepare, tmp_path: Path) -> None:
    artifact = make_artifact(small_model("float64").model, tmp_path, "graph-float64")
    with pytest.raises(Unsupported, match=r"cannot run this model in float64: .*Conv"):
        prepare(artifact, precision="float64")


def test_float16_on_the_cpu_is_told_to_be_float32_inside(prepare: Prepare, tmp_path: Path) -> None:
    artifact = make_artifact(small_model("float16").model, tmp_path, "graph-float16")
    with prepare(artifact, precision="float16") as session:
        assert session.facts()["float16"].startswith("ONNX Runtime inserts casts to float32")


def test_a_truncated_file_is_refused_in_one_line(prepare: Prepare, fusable: Artifact) -> None:
    path = fusable.folder / "model.onnx"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(Exception, match=r"ONNX Runtime refuses the model: .*\.$") as caught:
        prepare(fusable)
    assert not isinstance(caught.value, Unsupported)
    assert "\n" not in str(caught.value)
