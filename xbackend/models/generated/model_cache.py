"""Built-in models that are too large to ship: made out of a seed on first use, the same bits.

Their weights are random: nothing was trained. For a study of rounding it matters that layers,
sizes and orders of magnitude are those of a real network, not what it has learnt.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xbackend.errors import ModelError
from xbackend.models.generated.models import MODELS, GeneratedModel

if TYPE_CHECKING:
    from xbackend.models.generated.graph import GraphBuilder

MANIFEST = "model.json"
MODEL = "model.onnx"
SAMPLES = "samples.npy"
SAMPLE_NAMES = ("noise1", "noise2", "noise3")


def find(name: str) -> GeneratedModel | None:
    """Return the model of that name, None if there is none."""
    return next((model for model in MODELS if model.name == name), None)


def ensure_cached(model: GeneratedModel) -> Path:
    """Return the folder of a model, made now if it is not there or is damaged.

    Raises ModelError where it cannot be written, or where the bits that come out are not those
    that are recorded here.
    """
    if _is_whole(model, model.folder):
        return model.folder
    try:
        model.folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{model.name}.", dir=model.folder.parent))
        try:
            _write(model, scratch)
            _put(model, scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise ModelError(
            f"Cannot write the model '{model.name}' to {model.folder}: {error.strerror or error}. "
            "Free space or permissions there, or name another folder with XDG_CACHE_HOME."
        ) from error
    return model.folder


def _is_whole(model: GeneratedModel, folder: Path) -> bool:
    """Tell whether a folder holds the bits that are recorded here, by reading all of them."""
    try:
        found = tuple(_digest((folder / name).read_bytes()) for name in (MODEL, SAMPLES))
        return found == model.digests and (folder / MANIFEST).is_file()
    except OSError:
        return False


def _put(model: GeneratedModel, scratch: Path) -> None:
    """Move a finished folder into place; another process may have been faster."""
    scratch.chmod(0o755)
    try:
        os.rename(scratch, model.folder)
    except OSError:
        if _is_whole(model, model.folder):
            return
        shutil.rmtree(model.folder)
        os.rename(scratch, model.folder)


def _write(model: GeneratedModel, folder: Path) -> None:
    net = build(model)
    files = {MODEL: encode(net, model.name), SAMPLES: draw_samples(net, model.seed)}
    for (name, data), digest in zip(files.items(), model.digests, strict=True):
        if _digest(data) != digest:
            raise ModelError(_other_bits(model, name, _digest(data), digest))
        (folder / name).write_bytes(data)
    text = json.dumps(_manifest(model, net, files), indent=1) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def build(model: GeneratedModel) -> GraphBuilder:
    """Return the graph of a model, its weights drawn."""
    from xbackend.models.generated.graph import GraphBuilder

    net = GraphBuilder(model.seed, model.variant)
    import_module(model.builder).build(net)
    return net


def encode(net: GraphBuilder, name: str) -> bytes:
    """Return the bytes of the ONNX file."""
    data: bytes = net.model(name, "softmax").SerializeToString(deterministic=True)
    return data


def draw_samples(net: GraphBuilder, seed: str) -> bytes:
    """Return the bytes of an .npy file of pictures: every value is uniform from 0 on, below 1."""
    import io

    import numpy as np

    from xbackend.models.generated.random_numbers import uniform_unit

    shape = (len(SAMPLE_NAMES), *net.input[1][1:])
    stream = io.BytesIO()
    np.save(stream, uniform_unit(f"{seed}/samples", shape).astype("<f4"), allow_pickle=False)
    return stream.getvalue()


def _manifest(model: GeneratedModel, net: GraphBuilder, files: dict[str, bytes]) -> dict[str, Any]:
    """Return model.json, which the catalogue reads as it reads those of shipped models."""
    rows = {
        name: {"file": name, "bytes": len(data), "digest": _digest(data)}
        for name, data in files.items()
    }
    return {
        "schema_version": 1,
        "name": model.name,
        "description": model.description,
        "parameters": net.parameters,
        "digest": _digest(f"onnx {model.digests[0]}\n".encode()),
        "files": {"onnx": {**rows[MODEL], "made_from": None}},
        "samples": {**rows[SAMPLES], "names": SAMPLE_NAMES, "labels": []},
        "classes": [str(place) for place in range(net.shape["softmax"][0])],
        "generated": {
            "seed": model.seed,
            "variant": asdict(model.variant),
            "weights": "random, PCG64: nothing was trained",
            "samples": "random, PCG64: noise, no pictures",
        },
    }


def _other_bits(model: GeneratedModel, file: str, found: str, wanted: str) -> str:
    import numpy
    import onnx

    return (
        f"Making '{model.name}' gave a {file} with the digest {found[:12]} instead of "
        f"{wanted[:12]}: NumPy {numpy.__version__} or onnx {onnx.__version__} writes other bytes. "
        "Install the versions in constraints.txt."
    )


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
