"""The contract of a backend bites: each way of being wrong fails the test that is about it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from xbackend.testing.contract import BackendContract
from xbackend.testing.small_models import SmallModel, small_model
from xbackend.worker.artifact import Artifact, ValueInfo
from xbackend.worker.contract import BackendSpec, Session, Setting, SettingValue, Unsupported
from xbackend.worker.tensor import Tensor, from_numpy

Values = dict[str, np.ndarray]
Fault = Callable[["KnowingSession"], None]


class KnowingSession(Session):
    """Gives the values that NumPy computed, so that it is right until a fault is put in."""

    def __init__(self, small: SmallModel) -> None:
        self.values: Values = {k: v.astype(np.float32) for k, v in small.values.items()}
        self.output = small.output
        self.taps = tuple(self.values)
        self.drift = 0.0
        self.greedy = False
        self.all_taps = False

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if self.greedy:
            inputs["x"].array[...] = 0
        self.values[self.output] = self.values[self.output] + np.float32(self.drift)
        return {self.output: from_numpy(self.values[self.output])}

    def tap(
        self, inputs: Mapping[str, Tensor], wanted: Collection[str]
    ) -> Iterator[tuple[str, Tensor]]:
        chosen = self.taps if self.all_taps else [name for name in self.taps if name in wanted]
        return ((name, from_numpy(self.values[name])) for name in chosen)


def wrong_value(session: KnowingSession) -> None:
    session.values["probabilities"] = session.values["probabilities"] * np.float32(1.001)


def wrong_format(session: KnowingSession) -> None:
    session.values["probabilities"] = session.values["probabilities"].astype(np.float64)


def wrong_tap(session: KnowingSession) -> None:
    session.values["relu"] = session.values["conv"]


def wrong_layout(session: KnowingSession) -> None:
    session.values["pool"] = session.values["pool"].transpose(0, 2, 3, 1)


def wrong_order(session: KnowingSession) -> None:
    session.taps = ("relu", "conv", *session.taps[2:])


def missing_tap(session: KnowingSession) -> None:
    session.taps = session.taps[1:]


def unwanted_taps(session: KnowingSession) -> None:
    session.all_taps = True


def drift(session: KnowingSession) -> None:
    session.drift = 2.0**-20


def greed(session: KnowingSession) -> None:
    session.greedy = True


FAULTS: dict[str, tuple[Fault, ...]] = {
    "test_the_output_is_close_to_numpys": (wrong_value,),
    "test_the_outputs_are_as_the_artifact_declares": (wrong_format,),
    "test_taps_are_close_to_numpys": (wrong_tap, wrong_value),
    "test_taps_have_the_layout_of_onnx": (wrong_layout,),
    "test_taps_are_the_values_of_the_onnx_graph_in_its_order": (wrong_order, missing_tap),
    "test_only_the_taps_that_are_wanted_come": (unwanted_taps,),
    "test_an_output_can_be_tapped_beside_others": (wrong_value,),
    "test_the_second_inference_gives_the_same_bits": (drift,),
    "test_an_inference_after_taps_gives_the_same_bits": (drift,),
    "test_an_inference_leaves_its_input_alone": (greed,),
}
"""Tests of the contract, and what each must notice."""

PAIRS = [(test, fault) for test, faults in FAULTS.items() for fault in faults]


def check(test: str, session: KnowingSession, small: SmallModel, folder: Path) -> None:
    """Call one test of the contract with a session of our own."""
    value = ValueInfo("probabilities", "float32", (1, 5))
    artifact = Artifact(folder, "graph", "", (), (value,), (), {})
    fixtures = {"session": session, "small": small, "artifact": artifact}
    contract = BackendContract()
    contract.spec = BackendSpec("fake", "A fake", "a:B", (), (), {"float32": "graph"})
    method = getattr(contract, test)
    names = method.__code__.co_varnames[1 : method.__code__.co_argcount]
    method(**{name: fixtures[name] for name in names})


@pytest.mark.parametrize("test", FAULTS)
def test_a_right_session_passes(test: str, tmp_path: Path) -> None:
    small = small_model()
    check(test, KnowingSession(small), small, tmp_path)


@pytest.mark.parametrize(("test", "fault"), PAIRS)
def test_a_wrong_session_fails(test: str, fault: Fault, tmp_path: Path) -> None:
    small = small_model()
    session = KnowingSession(small)
    fault(session)
    with pytest.raises(AssertionError):
        check(test, session, small, tmp_path)


def test_a_refusal_that_is_no_sentence_is_a_failure(tmp_path: Path) -> None:
    class Mumbling(BackendContract):
        """Refuses everything in one word."""

        spec = BackendSpec(
            "fake", "A fake", "a:B", (), (), {}, (Setting("mode", "a", "It.", ("a", "b")),)
        )

        def prepare(self, artifact: Artifact, **changes: SettingValue) -> Session:
            raise Unsupported("KeyError")

    artifact = Artifact(tmp_path, "graph", "", (), (), (), {})
    with pytest.raises(Unsupported):
        Mumbling().test_every_choice_of_a_setting_is_close_or_refused(
            ("mode", "b"), artifact, small_model()
        )


def test_the_small_models_are_what_onnx_defines() -> None:
    from onnx.reference import ReferenceEvaluator

    for precision in ("float32", "int8"):
        small = small_model(precision)
        small.model.opset_import[0].version = 19  # the first that the evaluator quantizes in
        evaluator = ReferenceEvaluator(small.model)
        names = list(small.values)
        found = evaluator.run(names, {"x": small.inputs["x"].array}, intermediate=True)
        for name in names:
            wanted = small.values[name]
            assert np.abs(found[name] - wanted).max() <= 1e-5 * np.abs(wanted).max(), name
