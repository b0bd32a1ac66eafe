"""A PyTorch model of one's own is a row: its numbers are PyTorch's, and its export is judged."""

from __future__ import annotations

import importlib.util
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from xbackend.comparison.compare import compare_runs
from xbackend.comparison.comparison import Comparison
from xbackend.comparison.export import CLOSE, OTHER, SAME, ExportJudgement, export_judgements
from xbackend.execution.execute import ExecutionContext, execute
from xbackend.execution.progress import ProgressLines
from xbackend.execution.request import RunRequest
from xbackend.plugins import registry
from xbackend.store.records import read_run
from xbackend.store.store import Store
from xbackend.worker.tensor import from_numpy

Array = np.ndarray[Any, Any]

MODELS = Path(__file__).with_name("exported_modules.py")
"""The user's own file, which lies in the current folder as `my_models.py`."""


def unwrapped(text: str) -> str:
    """Return a text as one line."""
    return " ".join(text.split())


@dataclass(frozen=True)
class Outcome:
    """What a run of a model gave."""

    records: list[dict[str, Any]]
    comparison: Comparison
    said: str
    """What was said meanwhile, as one line."""

    def row(self, graph: str) -> dict[str, Any]:
        """Return the record of the source or of the exported graph in PyTorch."""
        (found,) = [
            record
            for record in self.records
            if record["backend"] == "torch" and record["settings"]["graph"] == graph
        ]
        assert found["status"] == "ok", found["error"]
        return found

    def outputs(self, graph: str, sample: int = 0) -> list[Array]:
        """Return the outputs of a sample."""
        rows = self.row(graph)["results"][sample]["outputs"]
        return [self.comparison.store.read_tensor(row).array for row in rows]

    @property
    def judged(self) -> ExportJudgement:
        """The one judgement on the export."""
        (found,) = export_judgements(self.comparison)
        return found

    @property
    def text(self) -> str:
        """What the report on the export says, however its lines are wrapped."""
        return unwrapped(registry.report("export")(self.comparison))

    @property
    def table(self) -> str:
        """What the table says, however its lines are wrapped."""
        return unwrapped(registry.report("table")(self.comparison))


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write the user's module into the current folder, and import it for its numbers."""
    path = tmp_path / "my_models.py"
    path.write_text(MODELS.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    spec = importlib.util.spec_from_file_location("my_models_here", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


Run = Callable[..., Outcome]


@pytest.fixture
def run(models: Any, tmp_path: Path) -> Run:
    """Run a model of the user's, exported or by its name, on inputs."""

    def carry_out(name: str, form: str, *samples: Array, **keys: Any) -> Outcome:
        np.save(tmp_path / "inputs.npy", np.concatenate(samples))
        source = f"my_models:{name}"
        if form == "pt2":
            module = getattr(models, name)()
            program = torch.export.export(module, module.example_inputs)
            source = str(tmp_path / f"{name}.pt2")
            torch.export.save(program, source)
        store, stream = Store(tmp_path / "store"), io.StringIO()
        context = ExecutionContext(store, 1, 120.0, ProgressLines(stream))
        asked: dict[str, Any] = {"backends": ("torch",), "sources": True, **keys}
        request = RunRequest(model=source, inputs=tmp_path / "inputs.npy", **asked)
        records = execute(request, context)
        runs = [read_run(record) for record in records]
        return Outcome(records, compare_runs(store, runs), unwrapped(stream.getvalue()))

    return carry_out


EIGHTH = np.array([[1, 0.3, 0.5, 0.6, 0.7, -0.3, 2, 0.9]], np.float32)


def expected(models: Any, name: str, sample: Array) -> list[Array]:
    """Return what PyTorch itself gives."""
    with torch.inference_mode():
        value = torch.from_numpy(sample)
        own = torch.empty(value.shape, dtype=value.dtype).copy_(value)  # strides choose kernels
        made = getattr(models, name)().eval()(own)
    return [each.numpy() for each in (made if isinstance(made, tuple) else (made,))]


def assert_is_pytorch(outcome: Outcome, models: Any, name: str, sample: Array) -> None:
    actual = outcome.outputs("source")
    wanted = expected(models, name, sample)
    assert [each.tobytes() for each in actual] == [each.tobytes() for each in wanted]


@pytest.mark.parametrize(("form", "operator"), [("pt2", "Floor"), ("callable", "Cast")])
def test_floor_division_by_a_tenth_is_another_function_after_export(
    form: str, operator: str, run: Run, models: Any
) -> None:
    outcome = run("eighth", form, EIGHTH)
    assert_is_pytorch(outcome, models, "eighth", EIGHTH)
    assert outcome.outputs("source")[0].tolist() == [[9, 3, 4, 6, 6, -4, 19, 8]]
    judged = outcome.judged
    assert judged.verdict == OTHER
    assert judged.first is not None
    first = judged.first
    assert (first.operator, first.deviating, first.elements) == (operator, 6, 8)
    assert (judged.first.least, judged.first.largest) == (1, 1)
    program = "the torch.export program of your module"
    source = "your PyTorch module" if form == "callable" else program
    assert f"is another function than {source} (in torch): first at node" in outcome.text
    assert "6 of 8 values differ by 1" in outcome.text


def test_integer_floor_division_of_negatives_is_judged_by_what_the_exporter_made_of_it(
    run: Run, models: Any
) -> None:
    value = np.array([[-7, -3, -1, 0, 1, 5, 7, 8]], np.int32)
    traced = run("thirds", "callable", value)
    assert_is_pytorch(traced, models, "thirds", value)
    assert traced.outputs("source")[0].tolist() == [[-3, -1, -1, 0, 0, 1, 2, 2]]
    assert traced.outputs("onnx")[0].tolist() == [[-2, -1, 0, 0, 0, 1, 2, 2]]
    assert traced.judged.verdict == OTHER
    assert "2 of 8 values differ by 1" in traced.text


def test_the_exporter_of_programs_divides_negative_integers_as_pytorch_does(
    run: Run, models: Any
) -> None:
    value = np.array([[-7, -3, -1, 0, 1, 5, 7, 8]], np.int32)
    outcome = run("thirds", "pt2", value)
    assert_is_pytorch(outcome, models, "thirds", value)
    assert outcome.judged.verdict == SAME


def test_a_traced_branch_is_found_by_the_sample_that_takes_the_other_way(
    run: Run, models: Any
) -> None:
    up, down = np.array([[1, 2, 3, 4]], np.float32), np.array([[-1, -2, -3, -4]], np.float32)
    outcome = run("branch", "callable", up, down)
    assert_is_pytorch(outcome, models, "branch", up)
    judged = outcome.judged
    assert (judged.verdict, judged.inputs_with_verdict, judged.inputs) == (OTHER, 1, 2)
    assert judged.first is not None
    assert judged.first.input == "0"
    assert "TracerWarning" in outcome.said
    assert "my_models.py:" in outcome.said
    assert all("TracerWarning" in record["export"]["warnings"][0] for record in outcome.records)
    assert "The exporter warned: TracerWarning" in outcome.table
    assert "so it is" in outcome.table


def test_one_sample_does_not_show_a_traced_branch_and_the_report_says_so(run: Run) -> None:
    outcome = run("branch", "callable", np.array([[-1, -2, -3, -4]], np.float32))
    assert outcome.judged.verdict == SAME
    assert "All samples are one" in outcome.text


TIES = np.array([[1, 2, 2, 2, 0, 2]], np.float32)


def test_the_first_of_equal_maxima_is_taken_before_and_after_export(run: Run, models: Any) -> None:
    outcome = run("argmax", "pt2", TIES)
    assert_is_pytorch(outcome, models, "argmax", TIES)
    assert outcome.outputs("source")[0].tolist() == [1]
    assert outcome.judged.verdict == SAME


def test_topk_takes_other_ones_of_equal_elements_after_export_and_ties_are_named(
    run: Run, models: Any
) -> None:
    outcome = run("topk", "pt2", TIES)
    assert_is_pytorch(outcome, models, "topk", TIES)
    assert outcome.outputs("onnx")[1].tolist() == [[1, 2, 3]]  # as ONNX demands
    same = outcome.outputs("source")[1].tolist() == [[1, 2, 3]]
    assert outcome.judged.verdict == (SAME if same else OTHER)
    assert same or "Where values tie" in outcome.text


PICTURE = np.random.default_rng(2).random((1, 2, 8, 8), np.float32)
LINE = np.linspace(-3, 3, 64, dtype=np.float32)[None]
HEADS = np.random.default_rng(3).random((1, 2, 4, 8), np.float32)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ceil_mode", PICTURE),
        ("antialias", PICTURE),
        ("tanh", LINE),
        ("erf", LINE),
        ("attention", HEADS),
    ],
)
def test_what_is_exported_well_is_no_other_function(
    name: str, value: Array, run: Run, models: Any
) -> None:
    outcome = run(name, "pt2", value)
    assert_is_pytorch(outcome, models, name, value)
    graph = outcome.outputs("onnx")[0]
    close = np.allclose(graph, expected(models, name, value)[0], rtol=1e-5, atol=1e-6)
    assert close
    assert outcome.judged.verdict in (SAME, CLOSE)
    assert "another function" not in outcome.text


def test_every_product_and_normalisation_is_matched_and_attention_is_one_row(run: Run) -> None:
    images = np.random.default_rng(4).random((2, 3, 8, 8), np.float32)
    outcome = run("net", "pt2", images)
    source, graph = outcome.row("source"), outcome.row("onnx")
    operators = {layer["tap"]: layer["operator"] for layer in graph["layers"]}
    shapes = {tap["name"]: tap["shape"] for tap in graph["results"][0]["taps"]}
    taps = {tap["name"]: tap for tap in source["results"][0]["taps"]}
    assert {name: tap["shape"] for name, tap in taps.items()}.items() <= shapes.items()
    matched = [operators[name] for name in taps]
    assert matched.count("Conv") == 1
    assert matched.count("BatchNormalization") == 1
    assert matched.count("LayerNormalization") == 1
    assert matched.count("Gemm") == 1
    assert [name for name in taps if "scaled_dot_product_attention" in name] == [
        "scaled_dot_product_attention"
    ]
    assert source["taps_neutral"] is True
    assert source["export"]["unmatched"] == []
    assert outcome.judged.verdict in (SAME, CLOSE)


def test_the_layers_of_a_module_are_matched_by_the_names_of_its_modules(run: Run) -> None:
    images = np.random.default_rng(4).random((1, 3, 8, 8), np.float32)
    outcome = run("net", "callable", images)
    names = {tap["name"] for tap in outcome.row("source")["results"][0]["taps"]}
    scopes = {name.split("/")[1] for name in names if name.startswith("/")}
    assert {"conv", "batch", "groups", "layer", "fc", "plain"} <= scopes
    assert any("MatMul" in name for name in outcome.row("source")["export"]["unmatched"])
    assert outcome.judged.verdict in (SAME, CLOSE)


def test_the_layers_of_a_source_have_the_bits_of_pytorchs_own_modules(
    run: Run, models: Any
) -> None:
    images = np.random.default_rng(5).random((1, 3, 8, 8), np.float32)
    outcome = run("net", "pt2", images)
    seen: dict[str, Array] = {}
    module = models.net()
    for name in ("conv", "batch", "groups", "layer", "fc", "plain"):
        inner = getattr(module, name)
        inner.register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out.numpy()}))
    with torch.inference_mode():
        module(torch.from_numpy(images))
    taps = outcome.row("source")["results"][0]["taps"]
    digests = {tap["digest"] for tap in taps}
    missing = [name for name, value in seen.items() if from_numpy(value).digest() not in digests]
    assert missing == []


def test_a_module_in_train_mode_runs_in_eval_mode_and_that_is_said(run: Run, models: Any) -> None:
    images = np.random.default_rng(4).random((1, 3, 8, 8), np.float32)
    outcome = run("training", "callable", images)
    assert_is_pytorch(outcome, models, "training", images)
    assert "was handed over in train mode" in outcome.said
    assert "handed over in train mode" in outcome.table
    assert outcome.judged.verdict in (SAME, CLOSE)


def test_a_module_that_pytorch_quantized_is_exported_and_has_its_numbers(run: Run) -> None:
    """What PyTorch quantized stays so: the graph has its steps, and PyTorch's own outputs."""
    images = np.random.default_rng(4).random((2, 3, 8, 8), np.float32)
    outcome = run("quantized", "callable", images)
    operators = {layer["operator"] for layer in outcome.row("onnx")["layers"]}
    assert {"QuantizeLinear", "DequantizeLinear"} <= operators
    for source, graph in zip(outcome.outputs("source"), outcome.outputs("onnx"), strict=True):
        assert source.tobytes() == graph.tobytes()


def test_a_program_that_was_exported_in_train_mode_draws_random_numbers_and_that_is_said(
    run: Run,
) -> None:
    images = np.random.default_rng(4).random((1, 3, 8, 8), np.float32)
    outcome = run("training", "pt2", images)
    source = outcome.row("source")
    assert source["export"]["train_mode"] is True
    assert source["taps_neutral"] is True
    assert "was exported in train mode" in outcome.said
    assert "its dropout draws random numbers" in outcome.table
    (graph,) = [r for r in outcome.records if r["settings"]["graph"] == "onnx"]
    assert "drops at random" in graph["error"]["message"]
    assert export_judgements(outcome.comparison) == ()


def test_a_module_that_adds_noise_draws_random_numbers_and_one_with_dropout_in_eval_does_not(
    run: Run,
) -> None:
    noisy = run("noisy", "callable", np.ones((1, 8), np.float32), taps="outputs")
    assert noisy.row("source")["facts"]["draws_random"] is True
    assert "draws random numbers, so its bits are those of one seed" in noisy.table
    images = np.random.default_rng(4).random((1, 3, 8, 8), np.float32)
    quiet = run("training", "callable", images).row("source")["facts"]
    assert "draws_random" not in quiet
    assert quiet["repeated"] == {"samples": 1, "other_bits": 0}


def test_a_module_that_is_edited_is_run_anew_and_has_another_artifact(
    run: Run, tmp_path: Path
) -> None:
    up = np.array([[-1, -2, -3, -4]], np.float32)
    before = run("branch", "callable", up)
    path = tmp_path / "my_models.py"
    path.write_text(path.read_text("utf-8").replace("self.fc(-x)", "self.fc(-x) + 1"), "utf-8")
    after = run("branch", "callable", up)
    assert after.outputs("source")[0].tolist() != before.outputs("source")[0].tolist()
    digests = [each.row("source")["artifact"]["digest"] for each in (before, after)]
    assert digests[0] != digests[1]


def test_a_function_that_gives_other_weights_each_time_is_not_compared(
    run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "my_models.py"
    path.write_text(
        path.read_text("utf-8").replace(
            "return Function(torch.nn.Linear(4, 3), torch.zeros(1, 4)), None",
            "torch.seed(); return torch.nn.Linear(4, 3), (torch.zeros(1, 4),)",
        ),
        "utf-8",
    )
    outcome = run("restless", "callable", np.zeros((1, 4), np.float32))
    statuses = {r["settings"]["graph"]: r["status"] for r in outcome.records}
    assert statuses == {"source": "skipped", "onnx": "ok"}
    (skipped,) = [record for record in outcome.records if record["status"] == "skipped"]
    assert "gives other weights each time it is called" in skipped["error"]["message"]


def test_a_setting_chooses_one_of_the_two_rows(run: Run) -> None:
    one = run("eighth", "pt2", EIGHTH, settings=("torch.graph=onnx",))
    other = run("eighth", "pt2", EIGHTH, settings=("torch.graph=source",))
    assert [record["settings"]["graph"] for record in one.records] == ["onnx"]
    assert [record["settings"]["graph"] for record in other.records] == ["source"]
    assert other.records[0]["id"].endswith("-torch-source")


def test_a_function_does_not_travel_to_another_python_and_the_graph_stands_in(
    run: Run, tmp_path: Path
) -> None:
    other = tmp_path / "python"
    other.symlink_to(sys.executable)
    outcome = run("eighth", "callable", EIGHTH, platforms=(f"python:{other}",))
    (skipped,) = [r for r in outcome.records if r["settings"]["graph"] == "source"]
    assert len(outcome.records) == 2
    assert skipped["status"] == "skipped"
    assert "the exported graph stands in for it there" in skipped["error"]["message"]
