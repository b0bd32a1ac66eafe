"""Planted faults are named at the right layer and nowhere else; real runs round only."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from xbackend.commands.main import main
from xbackend.comparison.findings import Certificate
from xbackend.diagnosis.certificate import certify
from xbackend.execution.execute import ExecutionContext
from xbackend.execution.progress import ProgressLines
from xbackend.numerics.float64_error import round_bits
from xbackend.store.records import Run, read_run
from xbackend.store.store import Store
from xbackend.worker.objects import write_tensor
from xbackend.worker.tensor import from_numpy

Array = np.ndarray[Any, Any]


def network(
    change: Callable[[dict[str, Array]], None] = lambda weights: None,
    pads: Sequence[int] = (1, 1, 1, 1),
    epsilon: float = 1e-5,
    approximate: str = "none",
) -> onnx.ModelProto:
    """Build a network with a convolution, a normalisation and a GELU, perhaps with a fault."""
    random = np.random.default_rng(5)
    shapes = {"w1": (8, 3, 3, 3), "w2": (6, 8, 3, 3), "s": (6,), "b": (6,), "wf": (6, 16)}
    shapes |= {"bf": (16,), "wo": (16, 5)}
    weights = {n: random.standard_normal(of).astype(np.float32) / 3 for n, of in shapes.items()}
    change(weights)
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1"], ["conv1"], pads=[1, 1, 1, 1]),
        node("Relu", ["conv1"], ["relu"]),
        node("Conv", ["relu", "w2"], ["conv2"], pads=list(pads)),
        node("GlobalAveragePool", ["conv2"], ["pool"]),
        node("Flatten", ["pool"], ["flat"]),
        node("LayerNormalization", ["flat", "s", "b"], ["norm"], epsilon=epsilon),
        node("Gemm", ["norm", "wf", "bf"], ["hidden"]),
        node("Gelu", ["hidden"], ["gelu"], approximate=approximate),
        node("MatMul", ["gelu", "wo"], ["logits"]),
        node("Softmax", ["logits"], ["y"]),
    ]
    return model(nodes, weights, (1, 3, 9, 9), (1, 5))


def model(
    nodes: Sequence[onnx.NodeProto],
    weights: dict[str, Array],
    given: Sequence[int],
    made: Sequence[int],
) -> onnx.ModelProto:
    """Return a model from `x` to `y`."""
    ends = [helper.make_tensor_value_info(*each) for each in _ends(given, made)]
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], tensors)
    opsets = [helper.make_opsetid("", 20)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def _ends(given: Sequence[int], made: Sequence[int]) -> list[tuple[str, int, Sequence[int]]]:
    return [("x", TensorProto.FLOAT, given), ("y", TensorProto.FLOAT, made)]


class Bench:
    """Runs models in one store and certifies what they gave."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, Store(folder / "store")

    def run(self, name: str, made: onnx.ModelProto, backend: str = "ort", *more: str) -> Run:
        """Run a model on three random samples."""
        path = self.folder / f"{name}.onnx"
        onnx.save(made, path)
        shape = [d.dim_value for d in made.graph.input[0].type.tensor_type.shape.dim]
        samples = np.random.default_rng(1).standard_normal((3, *shape[1:])).astype(np.float32)
        np.save(self.folder / f"{name}.npy", samples)
        known = {record["id"] for record in self._runs()}
        told = ["--inputs", str(self.folder / f"{name}.npy"), "--store", str(self.store.folder)]
        assert main(["run", str(path), "--backends", backend, *told, *more]) == 0
        (record,) = (each for each in self._runs() if each["id"] not in known)
        return read_run(record)

    def _runs(self) -> list[dict[str, Any]]:
        return list(self.store.runs()) if (self.store.folder / "runs").is_dir() else []

    def certify(self, *runs: Run) -> tuple[Certificate, ...]:
        """Certify runs."""
        display = ProgressLines(io.StringIO())
        return certify(runs, ExecutionContext(self.store, 1, 600, display))

    def taps(self, run: Run, name: str) -> list[Array]:
        """Return a tensor of each sample; inputs among them."""
        rows = ([*r["inputs"], *r["taps"], *r["outputs"]] for r in run.results)
        found = [next(row for row in each if row["name"] == name) for each in rows]
        return [self.store.read_tensor(row).array for row in found]

    def with_tensors(self, run: Run, names: dict[str, list[Array]]) -> Run:
        """Return a run as if tensors had come out as told, one array a sample."""
        results = []
        for place, result in enumerate(run.results):
            rows = {
                name: {
                    "name": name,
                    **write_tensor(str(self.store.folder), from_numpy(arrays[place])),
                }
                for name, arrays in names.items()
            }
            kinds = {
                kind: [rows.get(str(row["name"]), row) for row in result[kind]]
                for kind in ("taps", "outputs")
            }
            results.append({**result, **kinds})
        return dataclasses.replace(run, results=results)

    def with_output(self, run: Run, arrays: Sequence[Array]) -> Run:
        """Return a run as if `y` had come out as told."""
        return self.with_tensors(run, {"y": list(arrays)})


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A folder for models and a store."""
    return Bench(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def sound(bench: Bench) -> Run:
    """The network as it should be, run by ONNX Runtime."""
    return bench.run("sound", network())


def _wrong_weight(weights: dict[str, Array]) -> None:
    place = np.unravel_index(np.abs(weights["w2"]).argmax(), weights["w2"].shape)
    weights["w2"][place] *= np.float32(1.01)


def _left_out(weights: dict[str, Array]) -> None:
    weights["w2"][:, 4] = 0


FAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "a weight wrong by 1 %": ("conv2", {"change": _wrong_weight}),
    "an input channel left out": ("conv2", {"change": _left_out}),
    "padding shifted": ("conv2", {"pads": (0, 0, 2, 2)}),
    "another epsilon": ("norm", {"epsilon": 1e-3}),
    "the other GELU": ("gelu", {"approximate": "tanh"}),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_named_at_its_layer_and_nowhere_else(
    bench: Bench, sound: Run, name: str
) -> None:
    tap, options = FAULTS[name]
    altered = bench.run(name.replace(" ", "-").replace("%", "percent"), network(**options))
    posed = dataclasses.replace(altered, row={**altered.row, "artifact": sound.row["artifact"]})
    (found,) = bench.certify(posed)
    assert [each.tap for each in found.faults] == [tap]
    assert found.not_judged == ()


def test_without_a_fault_every_layer_rounds_in_float32_or_is_exact(
    bench: Bench, sound: Run
) -> None:
    (found,) = bench.certify(sound)
    verdicts = {each.tap: each.verdict for each in found.layers}
    assert verdicts == {
        **dict.fromkeys(("conv1", "conv2", "pool", "norm", "hidden"), "rounding"),
        **dict.fromkeys(("gelu", "logits", "y"), "rounding"),
        **dict.fromkeys(("relu", "flat"), "exact"),
    }
    assert found.other_arithmetics == ()


@pytest.fixture(scope="module")
def product(bench: Bench) -> Run:
    """One matrix product with 320 terms, run by ONNX Runtime."""
    weights = {"w": np.random.default_rng(2).standard_normal((320, 24)).astype(np.float32)}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    return bench.run("product", model(nodes, weights, (1, 320), (1, 24)))


def _weights() -> Array:
    return np.random.default_rng(2).standard_normal((320, 24)).astype(np.float32)


def _bfloat16(values: Array) -> Array:
    bits = round_bits(values.astype(np.float64), "bfloat16")
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _tf32(values: Array) -> Array:
    return (values.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)


def _in_float16(x: Array, w: Array) -> Array:
    total = np.zeros((1, w.shape[1]), np.float16)
    for k in range(w.shape[0]):
        total = total + x[:, k : k + 1].astype(np.float16) * w[k].astype(np.float16)
    return total.astype(np.float32)


ARITHMETICS: dict[str, Callable[[Array, Array], Array]] = {
    "TF32 products": lambda x, w: _tf32(x) @ _tf32(w),
    "bfloat16 products": lambda x, w: _bfloat16(x) @ _bfloat16(w),
    "float16": _in_float16,
}


@pytest.mark.parametrize("name", ARITHMETICS)
def test_a_narrower_arithmetic_is_called_by_its_name(bench: Bench, product: Run, name: str) -> None:
    w = _weights()
    given = [ARITHMETICS[name](x.reshape(1, 320), w) for x in bench.taps(product, "x")]
    (found,) = bench.certify(bench.with_output(product, given))
    (layer,) = found.other_arithmetics
    assert layer.judgement is not None
    assert (layer.tap, layer.verdict, layer.judgement.arithmetic) == ("y", "rounding", name)
    assert found.faults == ()


def test_one_element_of_many_that_another_format_would_explain_is_still_a_fault(
    bench: Bench, product: Run
) -> None:
    given = [array.copy() for array in bench.taps(product, "y")]
    given[1][0, 7] *= np.float32(1 + 2**-10)
    (found,) = bench.certify(bench.with_output(product, given))
    (fault,) = found.faults
    assert fault.judgement is not None
    assert fault.judgement.worst is not None
    assert (fault.sample, fault.judgement.beyond) == ("1", 1)
    assert fault.judgement.worst.index == (0, 7)


def _convolution(change: float = 1.0) -> onnx.ModelProto:
    w = np.random.default_rng(2).standard_normal((6, 3, 3, 3)).astype(np.float32)
    w.flat[np.abs(w).argmax()] *= np.float32(change)
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Relu", ["c"], ["y"])]
    return model(nodes, {"w": w}, (1, 3, 20, 20), (1, 6, 18, 18))


def test_the_error_of_a_transformed_convolution_is_named_and_a_wrong_weight_is_a_fault(
    bench: Bench,
) -> None:
    run = bench.run("convolution", _convolution())
    random = np.random.default_rng(3)
    rough = []
    for x, c in zip(bench.taps(run, "x"), bench.taps(run, "c"), strict=True):
        norm = np.sqrt(float((x.astype(float) ** 2).mean()) * 13 * 13 * 27)
        noise = random.uniform(-20, 20, c.shape) * 2.0**-24 * norm
        rough.append((c + noise).astype(np.float32))
    names = dict(zip(("c", "y"), (rough, [np.maximum(each, 0) for each in rough]), strict=True))
    (found,) = bench.certify(bench.with_tensors(run, names))
    (layer,) = found.other_arithmetics
    assert layer.judgement is not None
    assert layer.judgement.arithmetic == "float32 (as of a Winograd or FFT convolution)"
    assert (layer.tap, found.faults) == ("c", ())
    wrong = bench.run("wrong-convolution", _convolution(1.01))
    posed = dataclasses.replace(wrong, row={**wrong.row, "artifact": run.row["artifact"]})
    (found,) = bench.certify(posed)
    assert [each.tap for each in found.faults] == ["c"]


def _quantized() -> onnx.ModelProto:
    random = np.random.default_rng(3)
    weights = {
        "w": random.integers(-128, 128, (4, 8, 3, 3)).astype(np.int8),
        **{name: np.float32(scale) for name, scale in (("sx", 0.004), ("sw", 0.02), ("sy", 0.16))},
        "zx": np.uint8(3), "zw": np.int8(0), "zy": np.uint8(128),
    }  # fmt: skip
    inputs = ["x", "sx", "zx", "w", "sw", "zw", "sy", "zy"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "sx", "zx"], ["q"]),
        helper.make_node("QLinearConv", ["q", *inputs[1:]], ["c"]),
        helper.make_node("DequantizeLinear", ["c", "sy", "zy"], ["y"]),
    ]
    return model(nodes, weights, (1, 8, 6, 6), (1, 4, 4, 4))


def saturated(q: Array, w: Array) -> Array:
    """Convolve with pairs of products added in 16 bits that saturate, as AVX2 without VNNI does."""
    out = np.zeros((1, 4, 4, 4), np.int64)
    for i, j in np.ndindex(4, 4):
        window = q[0, :, i : i + 3, j : j + 3].astype(np.int64).transpose(1, 2, 0).reshape(-1)
        products = window * w.astype(np.int64).transpose(0, 2, 3, 1).reshape(4, -1)
        pairs = products[:, ::2] + products[:, 1::2]
        out[0, :, i, j] = np.clip(pairs, -32768, 32767).sum(1) - 3 * w.astype(np.int64).sum(
            (1, 2, 3)
        )
    return out


def test_a_pair_of_products_that_saturates_is_a_fault_of_its_convolution_alone(
    bench: Bench,
) -> None:
    made = _quantized()
    run = bench.run("quantized", made)
    (sound,) = bench.certify(run)
    assert {each.verdict for each in sound.layers} <= {"exact", "rounding"}
    w = numpy_helper.to_array(next(t for t in made.graph.initializer if t.name == "w"))
    results = []
    for result, q in zip(run.results, bench.taps(run, "q"), strict=True):
        real = saturated(q, w) * (0.004 * 0.02 / 0.16) + 128
        c = np.clip(np.rint(real), 0, 255).astype(np.uint8)
        y = (c.astype(np.float32) - np.float32(128)) * np.float32(0.16)
        rows = {
            name: {"name": name, **write_tensor(str(bench.store.folder), from_numpy(array))}
            for name, array in (("c", c), ("y", y))
        }
        taps = [rows.get(row["name"], row) for row in result["taps"]]
        results.append({**result, "taps": taps, "outputs": [rows["y"]]})
    (found,) = bench.certify(dataclasses.replace(run, results=results))
    assert [each.tap for each in found.faults] == ["c"]


@pytest.mark.parametrize("backend", ["tf", "ort", "torch", "tflite"])
def test_every_backend_only_rounds_on_the_small_network(
    bench: Bench, backend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(bench.folder / "small")
    assert main(["run", "cifar10-small", "--backends", backend, "--store", folder]) == 0
    store = Store(Path(folder))
    runs = [run for run in map(read_run, store.runs()) if run.row["backend"] == backend]
    run = next(run for run in runs if run.row["settings"].get("graph") != "source")
    context = ExecutionContext(store, 1, 600, ProgressLines(io.StringIO()))
    (found,) = certify([run], context)
    assert (found.faults, found.not_judged, found.unusual) == ((), (), ())
    terms = {each.judgement.terms: each.judgement for each in found.layers if each.judgement}
    assert {27, 75, 320, 128} <= set(terms)
    assert [terms[n].limit for n in (27, 75, 320, 128)] == [28, 76, 321, 129]
    assert all(0 < terms[n].error < 6 for n in (27, 75, 320, 128))


def _nearest(folder: Path) -> list[str]:
    """Write a Resize of which ONNX Runtime takes another pixel, and return how to run it."""
    node = helper.make_node(
        "Resize", ["x", "", "", "sizes"], ["y"], mode="nearest", nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    )  # fmt: skip
    made = model([node], {"sizes": np.array([1, 1, 1, 64])}, (1, 1, 1, 26), (1, 1, 1, 64))
    onnx.save(made, folder / "near.onnx")
    np.save(folder / "near.npy", np.arange(26, dtype=np.float32).reshape(1, 1, 1, 26))
    return [str(folder / "near.onnx"), "--inputs", str(folder / "near.npy")]


def test_another_pixel_is_a_fault_by_the_exit_status_of_both_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ["--store", str(tmp_path / "store")]
    told = ["run", *_nearest(tmp_path), *store, "--certify", "--backends"]
    assert main([*told, "torch"]) == 0
    assert "No fault" in capsys.readouterr().out
    assert main([*told, "ort"]) == 1
    assert "[0, 0, 0, 32] of input '0': 12 instead of 13" in " ".join(
        capsys.readouterr().out.split()
    )
    assert main(["compare", *store, "--certify"]) == 1
    assert main(["compare", *store, "--where", "backend=torch", "--certify"]) == 0
    capsys.readouterr()
    assert main(["compare", *store, "--gate", "rounding"]) == 1
    assert "Gate 'rounding' fails at layer 0 (Resize, tap 'y') of ort" in capsys.readouterr().err
    assert main(["compare", *store, "--where", "backend=torch", "--gate", "rounding"]) == 0
    capsys.readouterr()
    assert main(["explain", *store, "--certify"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Not rounding: layer 0 (Resize, tap 'y') of ort" in said
    assert "where rounding can make 0. [certified]" in said
    assert main([*told, "ort", "--json"]) == 1
    (record,) = json.loads(capsys.readouterr().out)
    assert record["certificate"]["faults"] == ["y"]


def test_float16_that_overflows_is_named_and_no_fault(bench: Bench) -> None:
    nodes = [
        helper.make_node("Mul", ["x", "k"], ["big"]),
        helper.make_node("Mul", ["big", "big"], ["sq"]),
        helper.make_node("Relu", ["sq"], ["y"]),
    ]
    made = model(nodes, {"k": np.array([200.0], np.float32)}, (1, 16), (1, 16))
    (found,) = bench.certify(bench.run("overflow", made, "torch", "--precision", "float16"))
    assert found.faults == ()
    assert found.first_nonfinite is not None
    assert [each.tap for each in found.overflows] == ["sq"]
    assert found.first_nonfinite.tap == "sq"
    one = found.first_nonfinite.judgement
    assert one is not None
    assert one.peak > 65504
