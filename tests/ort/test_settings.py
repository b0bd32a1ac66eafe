"""Every setting of ONNX Runtime takes effect, or is refused in one sentence."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

import numpy as np
import onnx
import pytest

from xbackend.backends.ort.options import read_options
from xbackend.backends.ort.placement import optimised_model
from xbackend.plugins import registry
from xbackend.testing.artifacts import default_settings
from xbackend.testing.spec_contract import is_sentence
from xbackend.worker.artifact import Artifact
from xbackend.worker.contract import Session, SettingValue, Unsupported
from xbackend.worker.tensor import from_numpy

Prepare = Callable[..., Session]

INPUT = {"x": from_numpy(np.arange(-32, 32, dtype=np.float32).reshape(1, 16, 2, 2))}


def operators(artifact: Artifact, **changes: SettingValue) -> list[str]:
    """Return the operators of the graph that ONNX Runtime ends with."""
    options = read_options({**default_settings(registry.backend("ort")), **changes})
    model = onnx.load_from_string(optimised_model(artifact.folder / "model.onnx", options))
    return [node.op_type for node in model.graph.node]


def first_provider(prepare: Prepare, artifact: Artifact, word: str) -> str:
    """Return the first provider of a session, in lower case, or why there is none."""
    try:
        with prepare(artifact, provider=word) as session:
            return str(session.facts()["providers"][0]).lower()
    except Unsupported as refusal:
        return str(refusal)


def test_without_optimisation_the_graph_is_the_models(fusable: Artifact) -> None:
    assert operators(fusable, optimization="disabled") == ["Conv", "Identity", "Relu"]


def test_basic_optimisation_drops_the_identity_and_fuses_nothing(fusable: Artifact) -> None:
    assert operators(fusable, optimization="basic") == ["Conv", "Relu"]


def test_extended_optimisation_fuses_the_activation(fusable: Artifact) -> None:
    assert operators(fusable, optimization="extended") == ["FusedConv"]


def test_layout_optimisation_leaves_no_activation_of_its_own(fusable: Artifact) -> None:
    assert "Relu" not in operators(fusable, optimization="layout")
    assert "Relu" not in operators(fusable, optimization="all")


def test_a_disabled_optimiser_does_not_run(fusable: Artifact) -> None:
    found = operators(fusable, optimization="extended", disabled_optimizers="ConvActivationFusion")
    assert found == ["Conv", "Relu"]


def test_several_optimisers_can_be_disabled(fusable: Artifact) -> None:
    names = "ConvActivationFusion, EliminateIdentity"
    found = operators(fusable, optimization="extended", disabled_optimizers=names)
    assert found == ["Conv", "Identity", "Relu"]


def test_an_optimiser_that_does_not_exist_is_refused(prepare: Prepare, fusable: Artifact) -> None:
    with pytest.raises(Unsupported, match=r"has no optimizer named 'ConvActivationFusoin'\.$"):
        prepare(fusable, disabled_optimizers="ConvActivationFusoin")


@pytest.mark.parametrize("level", ["all", "layout", "extended", "basic", "disabled"])
def test_every_level_computes_the_same_sums(
    prepare: Prepare, fusable: Artifact, level: str
) -> None:
    with prepare(fusable, optimization=level) as session:
        output = session.run(INPUT)["y"].array
    sums = INPUT["x"].array.sum(axis=1) / 2  # halves of whole numbers: exact in any order
    assert np.array_equal(output, np.maximum(np.broadcast_to(sums[:, None], output.shape), 0))


@pytest.mark.parametrize("prepacking", [True, False])
def test_prepacking_is_read_back_from_the_session(
    prepare: Prepare, fusable: Artifact, prepacking: bool
) -> None:
    with prepare(fusable, prepacking=prepacking) as session:
        assert session.run(INPUT)
    entries = {"session.disable_prepacking": "1" if prepacking else "0"}
    options = read_options({**default_settings(registry.backend("ort")), "prepacking": prepacking})
    opened = options.open(str(fusable.folder / "model.onnx"))
    with pytest.raises(Unsupported, match="did not take session.disable_prepacking"):
        dataclasses.replace(options, entries=entries).check(opened)


def test_parallel_execution_needs_two_threads(prepare: Prepare, fusable: Artifact) -> None:
    with pytest.raises(Unsupported, match="parallel needs two threads or more, not 1"):
        prepare(fusable, execution="parallel")
    with prepare(fusable, execution="parallel", threads=2) as session:
        assert set(session.run(INPUT)) == {"y"}


@pytest.mark.parametrize("threads", [0, -1])
def test_a_thread_count_that_would_mean_all_cores_is_refused(
    prepare: Prepare, fusable: Artifact, threads: int
) -> None:
    with pytest.raises(Unsupported, match=f"one thread or more, not {threads}"):
        prepare(fusable, threads=threads)


def test_every_node_is_recorded_under_the_provider_that_ran_it(
    prepare: Prepare, fusable: Artifact
) -> None:
    with prepare(fusable, optimization="disabled") as session:
        session.run(INPUT)
        facts = session.facts()
    nodes = ["Conv first", "Identity second", "Relu third"]
    assert facts["nodes"] == {"CPUExecutionProvider": nodes}
    assert facts["providers"] == ["CPUExecutionProvider"]


def test_a_provider_by_its_full_name_is_recorded_by_its_word(
    prepare: Prepare, fusable: Artifact
) -> None:
    with prepare(fusable, provider="CPUExecutionProvider") as session:
        assert session.facts()["settings"] == {"provider": "cpu"}


def test_a_provider_that_the_wheel_does_not_offer_is_refused(
    prepare: Prepare, fusable: Artifact
) -> None:
    with pytest.raises(Unsupported, match=r"offers no provider 'abacus', only .*cpu"):
        prepare(fusable, provider="abacus")


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_cannot_be_loaded_is_told_and_never_replaced(
    prepare: Prepare, fusable: Artifact, provider: str
) -> None:
    found = first_provider(prepare, fusable, provider)
    if not found.startswith(provider):
        assert is_sentence(found)
        assert re.search("cannot use .* is missing|no provider|no NVIDIA|no usable", found)


def test_a_search_of_cudnn_is_refused_on_the_cpu(prepare: Prepare, fusable: Artifact) -> None:
    with pytest.raises(Unsupported, match=r"conv_algo_search needs ort\.provider=cuda"):
        prepare(fusable, conv_algo_search="heuristic")


def test_bfloat16_keeps_its_bits_between_python_and_onnx_runtime(
    prepare: Prepare, cast_to_bfloat16: Artifact
) -> None:
    values = np.array([1, 2.5, -3, 1 + 2**-8], np.float32)
    with prepare(cast_to_bfloat16, optimization="disabled") as session:
        taps = dict(session.tap({"x": from_numpy(values)}, ["b", "y"]))
    assert taps["b"].dtype == "bfloat16"
    assert taps["b"].array.tolist() == [0x3F80, 0x4020, 0xC040, 0x3F80]
    assert taps["y"].array.tolist() == [1, 2.5, -3, 1]
