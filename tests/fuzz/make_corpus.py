"""Makes the models of the corpus with the frameworks: `python tests/fuzz/make_corpus.py`.

What the doors need no framework for is written with onnx and NumPy. The bytes depend on versions;
nothing that is tested does.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import site
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CORPUS = Path(__file__).parent / "corpus"
FLOAT = TensorProto.FLOAT


def write(kind: str, name: str, data: bytes) -> None:
    """Write one file of the corpus."""
    (CORPUS / kind).mkdir(parents=True, exist_ok=True)
    (CORPUS / kind / name).write_bytes(data)


def model(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], **more: object) -> bytes:
    """Return a model from x to y."""
    shape = more.pop("shape", (1, 2, 4, 4))
    ends = [helper.make_tensor_value_info(n, FLOAT, shape if n == "x" else None) for n in "xy"]
    held = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], held)
    opsets = [helper.make_opsetid("", more.pop("opset", 17)), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, **more).SerializeToString()


def onnx_models() -> None:
    """Write networks, an If, a local function, a Loop, integers, a constant of each form."""
    numbers = np.arange(36, dtype=np.float32).reshape(2, 2, 3, 3)
    conv = helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1], name="conv")
    pool = helper.make_node("MaxPool", ["c"], ["p"], kernel_shape=[2, 2], strides=[2, 2])
    flat = helper.make_node("Flatten", ["p"], ["f"])
    soft = helper.make_node("Softmax", ["f"], ["y"])
    write("onnx", "cnn.onnx", model([conv, pool, flat, soft], {"w": numbers}))
    old = [conv, helper.make_node("Upsample", ["c"], ["u"], scales=[1.0, 1.0, 2.0, 2.0]),
           helper.make_node("Clip", ["u"], ["y"], min=0.0, max=6.0)]  # fmt: skip
    write("onnx", "old.onnx", model(old, {"w": numbers}, opset=7))
    names = ("axes", "starts", "ends")
    parts = {name: np.array([1], np.int64) for name in names}
    slices = [helper.make_node("Slice", ["x", "starts", "ends", "axes"], ["s"]),
              helper.make_node("ReduceMean", ["s"], ["y"], axes=[2, 3], keepdims=0)]  # fmt: skip
    write("onnx", "slice.onnx", model(slices, parts))
    ends = [helper.make_tensor_value_info(n, FLOAT, None) for n in ("a", "b")]
    then = helper.make_graph([helper.make_node("Relu", ["x"], ["a"])], "t", [], ends[:1])
    other = helper.make_graph([helper.make_node("Neg", ["x"], ["b"])], "e", [], ends[1:])
    choose = helper.make_node("If", ["k"], ["y"], then_branch=then, else_branch=other)
    write("onnx", "if.onnx", model([choose], {"k": np.array(True)}))
    opsets = [helper.make_opsetid("", 17)]
    double = helper.make_function(
        "own", "Double", ["i"], ["o"], [helper.make_node("Add", ["i", "i"], ["o"])], opsets
    )
    call = helper.make_node("Double", ["x"], ["y"], domain="own")
    write("onnx", "function.onnx", model([call], {}, functions=[double]))
    quantize = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    steps = {"s": np.array(0.5, np.float32), "z": np.array(3, np.uint8)}
    write("onnx", "integers.onnx", model(quantize, steps))
    constant = numpy_helper.from_array(np.ones(4, np.float16), "t")
    nodes = [helper.make_node("Constant", [], ["t"], value=constant),
             helper.make_node("Constant", [], ["l"], value_floats=[1.0, 2.0]),
             helper.make_node("Cast", ["t"], ["n"], to=1),
             helper.make_node("Add", ["x", "n"], ["y"])]  # fmt: skip
    write("onnx", "constants.onnx", model(nodes, {}))


def arrays() -> None:
    """Write inputs and labels."""
    for name, value in {
        "float.npy": np.ones((3, 4), np.float32),
        "fortran.npy": np.asfortranarray(np.ones((2, 4), np.float64)),
        "big.npy": np.ones((1, 4), ">f4"),
    }.items():
        stream = io.BytesIO()
        np.save(stream, value)
        write("arrays", name, stream.getvalue())
    for name, save in (("stored.npz", np.savez), ("deflated.npz", np.savez_compressed)):
        stream = io.BytesIO()
        save(stream, x=np.ones((2, 4), np.float32), y=np.arange(3))
        write("arrays", name, stream.getvalue())
    for name, value in {"int.npy": np.arange(5), "byte.npy": np.arange(5, dtype=np.uint8)}.items():
        stream = io.BytesIO()
        np.save(stream, value)
        write("labels", name, stream.getvalue())


DIGEST = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
ROW = {"dtype": "float32", "shape": [1, 3], "digest": DIGEST}


def sample(name: str) -> dict[str, object]:
    """Return the result of one sample, with an input, an output and a tap."""
    return {
        "input": name, "inputs": [{"name": "x", **ROW}], "outputs": [{"name": "y", **ROW}],
        "taps": [{"name": "relu", **ROW}], "taps_neutral": True, "seconds": 0.25,
    }  # fmt: skip


def workers() -> None:
    """Write what workers say: a sound run, a failure, one that is cut off."""
    known = {
        "backend_version": "1.0", "versions": {"fake": "1.0"}, "taps_neutral": True,
        "hardware": {"vendor": "Maker", "device": "CPU", "cores": 4, "flags": ["avx2", "fma"],
                     "memory_bytes": 1 << 34, "microarchitecture": "Zen 5"},
        "software": {"python": "3.11.2", "libc": "glibc 2.36", "sandbox": {"files": "landlock 3"}},
        "facts": {"settings": {"threads": 1, "device": "cpu"}, "kernels": ["a", "b"]},
        "layers": [{"tap": "relu", "layer": 0, "operator": "Relu", "inputs": ["x"]}],
    }  # fmt: skip
    results = {"results": [sample("0"), sample("1")]}
    result = {**known, **results, "status": "ok", "error": None}
    error = {"stage": "run", "symptom": "ValueError", "message": "It cannot."}
    failed = {**known, "status": "failed", "error": error}
    stages = [{"stage": "import"}, {"partial": known}, {"stage": "run"}]
    for name, said in {
        "ok": [*stages, {"partial": results}, {"result": result}],
        "failed": [*stages, {"result": failed}],
        "cut": [*stages, {"partial": results}],
    }.items():
        write("channel", f"{name}.txt", b"".join(json.dumps(s).encode() + b"\n" for s in said))


def published() -> None:
    """Write results as the published study has them."""
    row = {"bytes": base64.b64encode(bytes(12)).decode(), "dtype": "float32", "shape": [3]}
    info = {
        "vendor_id_raw": "AuthenticAMD", "brand_raw": "AMD EPYC 7B12", "count": 2,
        "flags": ["avx2", "fma"], "python_version": "3.8.10.final.0 (64 bit)", "family": 23,
        "model": 49, "hz_actual": [2250000000, 0],
    }  # fmt: skip
    document = {
        "prediction": row, "cpu_info": info, "memory": {"total": 1 << 33}, "count": 1,
        "model_type": "cifar10_small", "device": {"device_type": "CPU"},
        "all_predictions": {**row, "bytes": base64.b64encode(bytes(24)).decode(), "shape": [2, 3]},
    }  # fmt: skip
    write("published", "cpu.json", json.dumps(document).encode())
    gpu = {"device_type": "GPU", "memory_limit": 1 << 33,
           "physical_description": {"name": "NVIDIA T4", "compute capability": "7.5"}}  # fmt: skip
    document = {
        **document,
        "device": gpu,
        "all_predictions": [row, row],
        "batch_dissemination": True,
    }
    write("published", "gpu.json", json.dumps(document).encode())


def artifacts() -> None:
    """Write the manifest of an artifact."""
    held = {"bytes": 7, "sha256": hashlib.sha256(b"weights").hexdigest()}
    step = {"converter": "onnx_to_graph", "revision": 2, "from": "onnx", "to": "graph",
            "source": DIGEST, "packages": {"onnx": "1.17"}, "options": {}, "inputs": None,
            "hub": None, "weights": {"identical": ["w"], "changed": []}, "notes": {"opset": 17},
            "sandbox": {"files": "landlock 3", "network": "seccomp"}}  # fmt: skip
    manifest = {
        "schema_version": 1, "format": "graph", "digest": "a" * 64, "model": "model.onnx",
        "source": {"name": "m", "digest": DIGEST}, "files": {"model.onnx": held},
        "inputs": [{"name": "x", "dtype": "float32", "shape": [None, 4]}],
        "outputs": [{"name": "y", "dtype": "float32", "shape": None}],
        "layers": [{"tap": "y", "layer": 0, "operator": "Relu", "inputs": ["x"]}],
        "steps": [step],
    }  # fmt: skip
    write("artifact", "graph.json", json.dumps(manifest).encode())


TENSORFLOW = """
import os, sys
os.environ.update(CUDA_VISIBLE_DEVICES="-1", KERAS_BACKEND="tensorflow")
import keras, tensorflow as tf
from pathlib import Path
folder = Path(sys.argv[1])
layers = keras.layers
small = keras.Sequential([keras.Input((4, 4, 2)), layers.Conv2D(2, 3, activation="relu"),
    layers.BatchNormalization(), layers.Flatten(), layers.Dense(2, activation="softmax")])
small.save(folder / "small.keras")
small.save(folder / "small.h5")
end = keras.Input((3,), name="in")
joined = keras.Model(end, layers.Add()([layers.Dense(3)(end), end]) * 2.0)
joined.save(folder / "joined.keras")
class Plain(tf.Module):
    def __init__(self):
        self.w = tf.Variable([[1.0, 2.0], [3.0, 4.0]])
    @tf.function(input_signature=[tf.TensorSpec([None, 2])])
    def __call__(self, x):
        return tf.nn.relu(tf.matmul(x, self.w))
tf.saved_model.save(Plain(), str(folder / "plain"))
"""
TORCH = """
import sys, torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.dense = torch.nn.Linear(4, 2)
    def forward(self, x):
        return torch.relu(self.dense(x)) + 1.0
free = {"x": {0: torch.export.Dim("n", min=2, max=9)}}
made = torch.export.export(Net().eval(), (torch.ones(3, 4),), dynamic_shapes=free)
torch.export.save(made, sys.argv[1] + "/net.pt2")
"""


def without_folders(path: Path) -> bytes:
    """Return a program of PyTorch without the folders of the machine that made it."""
    found = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(found, "w") as copy:
        for info in archive.infolist():
            data = archive.read(info)
            for folder in site.getsitepackages():
                data = data.replace(f"{folder}/".encode(), b"")
            copy.writestr(zipfile.ZipInfo(info.filename), data)
    return found.getvalue()


def frameworks() -> None:
    """Write what frameworks save, each in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        for program in (TENSORFLOW, TORCH):
            command = [sys.executable, "-c", program, folder]
            subprocess.run(command, check=True, cwd=folder, env={**os.environ})
        made = Path(folder)
        for kind in ("keras", "h5", "pt2"):
            for path in sorted(made.glob(f"*.{kind}")):
                write(
                    kind, path.name, without_folders(path) if kind == "pt2" else path.read_bytes()
                )
        write("savedmodel", "plain.pb", (made / "plain" / "saved_model.pb").read_bytes())


if __name__ == "__main__":
    onnx_models()
    arrays()
    workers()
    published()
    artifacts()
    if "--light" not in sys.argv:
        frameworks()
