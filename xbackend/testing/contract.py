"""The contract of a backend as a test class; authors of backends derive from it.

    class TestMyBackend(BackendContract):
        spec = SPEC

A backend that eats another artifact than the ONNX graph overrides `artifact_of`. Failures that
are known go into `expected`, whose patterns are names of tests, such as
`test_every_precision_is_close_or_refused[float64]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from xbackend.errors import XbackendError
from xbackend.worker.artifact import Artifact
from xbackend.worker.contract import Session, SettingValue, Unsupported
from xbackend.worker.tensor import Tensor, cast, from_numpy

from .artifacts import default_settings, load_backend, make_artifact
from .expected_failures import ExpectedFailure, FailureKind, find_expected, stale_patterns
from .small_models import SmallModel, small_model, unknown_operator_model
from .spec_contract import SpecContract, is_sentence

if TYPE_CHECKING:
    import onnx

XFAIL_EXCEPTIONS: Mapping[FailureKind, type[BaseException]] = {
    "unsupported": Unsupported,
    "wrong value": AssertionError,
    "crash": Exception,
    "not converted": XbackendError,
}
"""What a test raises that fails in one way."""


class BackendContract(SpecContract):
    """Tests of what a backend computes, on a CNN whose values NumPy knows."""

    expected: ClassVar[tuple[ExpectedFailure, ...]] = ()
    """Known failures; one that passes is an error."""
    settings: ClassVar[Mapping[str, SettingValue]] = {}
    """Settings that differ from the defaults."""
    complete_taps: ClassVar[bool] = True
    """Whether every value can be tapped; False where the framework fuses some away."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make one test of each precision, and of each choice of a setting."""
        if "precision" in metafunc.fixturenames:
            metafunc.parametrize("precision", sorted(self.spec.formats))
        if "choice" in metafunc.fixturenames:
            pairs = [(s.key, value) for s in self.spec.settings for value in s.choices]
            metafunc.parametrize("choice", pairs, ids=[f"{key}={value}" for key, value in pairs])

    @pytest.fixture(autouse=True)
    def _expect_failures(self, request: pytest.FixtureRequest) -> None:
        entry = find_expected(request.node.name, self.expected)
        if entry is not None:
            reason = f"{entry.kind}: {entry.reason} ({entry.version})"
            raises = XFAIL_EXCEPTIONS[entry.kind]
            request.applymarker(pytest.mark.xfail(reason=reason, raises=raises, strict=True))

    def artifact_of(self, model: onnx.ModelProto, folder: Path, precision: str) -> Artifact:
        """Make the artifact that the adapter eats."""
        return make_artifact(model, folder, self.spec.formats[precision])

    def prepare(self, artifact: Artifact, **changes: SettingValue) -> Session:
        """Open a session with the default settings but for some."""
        settings = {**default_settings(self.spec), **self.settings, **changes}
        return load_backend(self.spec).prepare(artifact, settings)

    @contextmanager
    def prepare_or_refuse(
        self, artifact: Artifact, **changes: SettingValue
    ) -> Iterator[Session | None]:
        """Open a session, or see that the refusal is one sentence and give None."""
        try:
            session = self.prepare(artifact, **changes)
        except Unsupported as refusal:
            if not is_sentence(str(refusal)):
                raise
            yield None
            return
        with session:
            yield session

    @pytest.fixture
    def small(self) -> SmallModel:
        """Return the CNN of the backend's own precision."""
        return small_model(self.spec.default_precision)

    @pytest.fixture
    def artifact(self, small: SmallModel, tmp_path: Path) -> Artifact:
        """Return that CNN as the backend eats it."""
        return self.artifact_of(small.model, tmp_path, self.spec.default_precision)

    @pytest.fixture
    def session(self, artifact: Artifact) -> Iterator[Session]:
        """Open that CNN with default settings."""
        with self.prepare(artifact) as session:
            yield session

    def test_the_outputs_are_as_the_artifact_declares(
        self, session: Session, small: SmallModel, artifact: Artifact
    ) -> None:
        outputs = session.run(small.inputs)
        found = {name: (tensor.dtype, tensor.shape) for name, tensor in outputs.items()}
        assert found == {value.name: (value.dtype, value.shape) for value in artifact.outputs}

    def test_the_output_is_close_to_numpys(self, session: Session, small: SmallModel) -> None:
        assert_close(session.run(small.inputs)[small.output], small, small.output)

    def test_two_sessions_give_the_same_bits(
        self, session: Session, small: SmallModel, artifact: Artifact
    ) -> None:
        with self.prepare(artifact) as other:
            assert bits(other.run(small.inputs)) == bits(session.run(small.inputs))

    def test_the_second_inference_gives_the_same_bits(
        self, session: Session, small: SmallModel
    ) -> None:
        assert bits(session.run(small.inputs)) == bits(session.run(small.inputs))

    def test_an_inference_after_taps_gives_the_same_bits(
        self, session: Session, small: SmallModel
    ) -> None:
        before = bits(session.run(small.inputs))
        list(session.tap(small.inputs, session.taps))
        assert bits(session.run(small.inputs)) == before

    def test_an_inference_leaves_its_input_alone(self, session: Session, small: SmallModel) -> None:
        session.run(small.inputs)
        list(session.tap(small.inputs, session.taps))
        assert bits(small.inputs) == bits(small_model(self.spec.default_precision).inputs)

    def test_taps_are_the_values_of_the_onnx_graph_in_its_order(
        self, session: Session, small: SmallModel
    ) -> None:
        names = [name for name, _ in session.tap(small.inputs, session.taps)]
        computed = list(small.values)
        assert names == [name for name in computed if name in names]
        assert small.output in names
        assert names == computed or not self.complete_taps

    def test_taps_have_the_layout_of_onnx(self, session: Session, small: SmallModel) -> None:
        for name, tensor in session.tap(small.inputs, session.taps):
            assert tensor.shape == small.values[name].shape, name

    def test_taps_are_close_to_numpys(self, session: Session, small: SmallModel) -> None:
        taps = list(session.tap(small.inputs, session.taps))
        assert taps
        for name, tensor in taps:
            assert_close(tensor, small, name)

    def test_only_the_taps_that_are_wanted_come(self, session: Session, small: SmallModel) -> None:
        given = [name for name, _ in session.tap(small.inputs, session.taps)]
        for name in given:
            assert [key for key, _ in session.tap(small.inputs, [name])] == [name]
        assert list(session.tap(small.inputs, [])) == []

    def test_an_output_can_be_tapped_beside_others(
        self, session: Session, small: SmallModel
    ) -> None:
        tapped = dict(session.tap(small.inputs, [small.output, session.taps[0]]))
        assert_close(tapped[small.output], small, small.output)

    def test_two_threads_compute_it_too(self, artifact: Artifact, small: SmallModel) -> None:
        with self.prepare(artifact, threads=2) as session:
            assert_close(session.run(small.inputs)[small.output], small, small.output)

    def test_an_unknown_value_of_a_setting_is_refused(self, artifact: Artifact) -> None:
        for setting in self.spec.settings:
            if setting.choices and isinstance(setting.default, str):
                with pytest.raises(Unsupported, match="no-such-value"):
                    self.prepare(artifact, **{setting.key: "no-such-value"})

    def test_every_choice_of_a_setting_is_close_or_refused(
        self, choice: tuple[str, SettingValue], artifact: Artifact, small: SmallModel
    ) -> None:
        key, value = choice
        with self.prepare_or_refuse(artifact, **{key: value}) as session:
            if session is not None:
                assert_close(session.run(small.inputs)[small.output], small, small.output)

    def test_every_precision_is_close_or_refused(self, precision: str, tmp_path: Path) -> None:
        small = small_model(precision)
        artifact = self.artifact_of(small.model, tmp_path, precision)
        with self.prepare_or_refuse(artifact, precision=precision) as session:
            if session is not None:
                output = session.run(small.inputs)[small.output]
                assert output.dtype == artifact.outputs[0].dtype
                assert_close(output, small, small.output)
                for name, tensor in session.tap(small.inputs, session.taps):
                    assert_close(tensor, small, name)

    def test_a_missing_operator_is_named_before_anything_runs(self, tmp_path: Path) -> None:
        precision = self.spec.default_precision
        model = unknown_operator_model("NoSuchOperator")
        with pytest.raises((Unsupported, XbackendError), match="NoSuchOperator") as caught:
            self.prepare(self.artifact_of(model, tmp_path, precision))
        assert is_sentence(str(caught.value))

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_an_input_without_a_number_passes_through(
        self, session: Session, small: SmallModel, value: float
    ) -> None:
        array = cast(small.inputs["x"], "float32").array.copy()
        array[0, 0, 0, 0] = value
        outputs = session.run({"x": cast(from_numpy(array), small.inputs["x"].dtype)})
        assert outputs[small.output].shape == small.values[small.output].shape

    def test_a_free_batch_takes_a_batch_of_one(self, tmp_path: Path) -> None:
        small = small_model(self.spec.default_precision, batch="n")
        artifact = self.artifact_of(small.model, tmp_path, self.spec.default_precision)
        with self.prepare(artifact) as session:
            assert_close(session.run(small.inputs)[small.output], small, small.output)

    def test_closing_twice_is_harmless(self, artifact: Artifact) -> None:
        session = self.prepare(artifact)
        session.close()
        session.close()

    def test_facts_are_json(self, session: Session, small: SmallModel) -> None:
        import json

        session.run(small.inputs)
        facts = session.facts()
        assert json.loads(json.dumps(facts)) == facts

    def test_every_expected_failure_names_a_test(self) -> None:
        patterns = [entry.pattern.partition("[")[0] for entry in self.expected]
        tests = [name for name in dir(self) if name.startswith("test_")]
        assert stale_patterns(tests, [_named(pattern) for pattern in patterns]) == ()


def _named(pattern: str) -> ExpectedFailure:
    return ExpectedFailure(pattern, "crash", "", "")


def bits(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return what makes two sets of tensors the same: names, formats, shapes, digests."""
    return {name: tensor.record() for name, tensor in tensors.items()}


def assert_close(tensor: Tensor, small: SmallModel, name: str) -> None:
    """Compare one value with NumPy's, relative to the largest magnitude of the tensor."""
    wanted = small.values[name]
    actual = cast(tensor, "float32").array if tensor.dtype == "bfloat16" else tensor.array
    far = np.abs(actual.astype(np.float64) - wanted).max()
    assert far <= small.tolerance * np.abs(wanted).max(), f"'{name}' is {far:.3g} away."
