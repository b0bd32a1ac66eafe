"""The doors through which models and arrays come in."""

from __future__ import annotations

import functools
import json
import os
import resource
import shutil
import signal
from pathlib import Path

from .door import Door, files
from .formats import change_archive, change_flatbuffer, change_protobuf
from .mutate import change_bytes, change_json

CURE = "Save them with numpy.save."


def _onnx(data: bytes, folder: Path) -> str:
    """Read a model as a run does, normalise its graph and read that back as a worker does."""
    from xbackend.converters.onnx_to_graph import convert
    from xbackend.plugins.converter import ConversionRequest
    from xbackend.worker.graph import read_graph

    path, output = folder / "m.onnx", folder / "made"
    path.write_bytes(data)
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    convert(ConversionRequest(path, "onnx", "graph", output))
    return f"{len(read_graph(output).nodes) % 4} nodes"


def _tflite(data: bytes, folder: Path) -> str:
    from xbackend.converters.tflite.file import read_flat_file, refuse_foreign_operations

    path = folder / "m.tflite"
    path.write_bytes(data)
    found = read_flat_file(path)
    refuse_foreign_operations(found, path)
    return f"{len(found.weights()) % 4} weights"


def _keras(data: bytes, folder: Path) -> None:
    from xbackend.converters.keras import safety as keras_safety

    keras_safety.inspect_apart = _inspect_beside
    path = folder / "m.keras"
    path.write_bytes(data)
    keras_safety.check_keras_file(path)


def _h5(data: bytes, folder: Path) -> None:
    from xbackend.converters.keras.safety import check_h5_config

    path = folder / "m.h5"
    path.write_bytes(data)
    check_h5_config(_inspect_beside(path, path), path)


def _inspect_beside(path: Path, told: Path) -> str | None:
    """Do what `inspect_apart` does, in a process that has imported everything already."""
    from xbackend.converters.keras.hdf5_safety import inspect_hdf5
    from xbackend.errors import ModelError

    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_CPU, (1, 2))
        answer: object = "raised"
        try:
            answer = {"config": inspect_hdf5(path, told)}
        except ModelError as error:
            answer = {"error": str(error)}
        except BaseException as error:
            answer = {"odd": repr(error)}
        finally:
            os.write(writing, json.dumps(answer).encode()[: 1 << 16])
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        text = stream.read()
    _, status = os.waitpid(process, 0)
    if status:
        raise ModelError(f"{told} made the library of HDF5 die or never end.")
    answer = json.loads(text)
    assert "odd" not in answer, answer
    if "error" in answer:
        raise ModelError(answer["error"])
    return answer["config"]


def _savedmodel(data: bytes, folder: Path) -> None:
    from xbackend.converters.keras.savedmodel_safety import check_saved_model

    (folder / "saved_model.pb").write_bytes(data)
    check_saved_model(folder)


def _pt2(data: bytes, folder: Path) -> None:
    from xbackend.converters.torch.pt2_archive import sanitize

    path = folder / "m.pt2"
    path.write_bytes(data)
    sanitize(path, folder / "safe.pt2")


def _arrays(data: bytes, folder: Path) -> str:
    """Read a file of inputs, and take it for those of a model with one input of four numbers."""
    from xbackend.preparation.inputs import load_inputs
    from xbackend.preparation.numpy_file import read_numpy
    from xbackend.worker.artifact import ValueInfo

    path = folder / "x.npy"
    path.write_bytes(data)
    found = read_numpy(path, "the inputs", CURE)
    interface = [ValueInfo("x", "float32", (None, 4))]
    load_inputs(path, interface, _store(folder))
    return f"{len(found) % 4} arrays"


@functools.cache
def _store(folder: Path):  # type: ignore[no-untyped-def]
    from xbackend.store.store import Store

    store = Store(folder / "store")
    store.create()
    return store


def _labels(data: bytes, folder: Path) -> None:
    from xbackend.preparation.labelled_samples import read_labels

    path = folder / "labels.npy"
    path.write_bytes(data)
    read_labels("none.onnx", folder / "x.npy", str(path), False, _store(folder))


ARRAYS = {".npy": change_bytes, ".json": change_json}

DOORS = (
    Door(
        "onnx", "ONNX files, read, normalised and read by a worker", _onnx,
        files("fuzz/corpus/onnx/*", "tflite/data/*.onnx"), change_protobuf, ("onnx",),
    ),
    Door(
        "tflite", "TensorFlow Lite files", _tflite,
        files("tflite/data/*.tflite"), change_flatbuffer,
    ),
    Door(
        "keras", ".keras files", _keras, files("fuzz/corpus/keras/*"), change_archive(ARRAYS),
        ("h5py",),
    ),
    Door("h5", ".h5 files of Keras", _h5, files("fuzz/corpus/h5/*"), change_bytes, ("h5py",)),
    Door(
        "savedmodel", "saved_model.pb", _savedmodel, files("fuzz/corpus/savedmodel/*"),
        change_protobuf, ("tensorflow",),
    ),
    Door("pt2", ".pt2 archives", _pt2, files("fuzz/corpus/pt2/*"), change_archive(ARRAYS)),
    Door(
        "arrays", ".npy and .npz files of inputs", _arrays, files("fuzz/corpus/arrays/*"),
        change_archive(ARRAYS),
    ),
    Door(
        "labels", "files of labels", _labels, files("fuzz/corpus/labels/*"), change_archive(ARRAYS)
    ),
)  # fmt: skip
"""Each with what it needs beside NumPy."""
