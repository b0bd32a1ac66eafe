"""What decides a PyTorch model's numbers: tensors of its state, its code, and random ones."""

from __future__ import annotations

import hashlib
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RANDOM = ("dropout", "feature_dropout", "alpha_dropout", "native_dropout", "rand", "bernoulli")
"""Beginnings of the names of ATen operators that may draw random numbers."""

NORMS = ("batch_norm", "native_batch_norm", "_native_batch_norm_legit")


def tensors_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tensors of a state, those in tuples too, as quantized layers pack theirs.

    What else such layers keep, a format or a number, is no weight.
    """
    import torch

    found: dict[str, Any] = {}
    for name, value in state.items():
        several = value if isinstance(value, (tuple, list)) else (value,)
        tensors = [each for each in several if isinstance(each, torch.Tensor)]
        names = [name, *(f"{name}.{place}" for place in range(1, len(tensors)))]
        found.update(zip(names, tensors, strict=False))
    return found


def code_digest() -> str:
    """Return the SHA-256 over the Python files that are imported now and are the user's own."""
    paths = sysconfig.get_paths()
    foreign = [paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    digest = hashlib.sha256()
    for name in sorted(sys.modules):
        file = getattr(sys.modules[name], "__file__", None)
        if file is None or name.partition(".")[0] in ("xbackend", "__main__"):
            continue
        path = Path(file).resolve()
        told = path.as_posix()
        if any(part in told for part in ("/site-packages/", "/dist-packages/")):
            continue
        if path.suffix == ".py" and path.is_file() and not told.startswith(tuple(foreign)):
            digest.update(f"{name}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def draws_random_numbers(program: Any) -> bool:
    """Tell whether a program was exported in training: dropout draws, batches are normalised."""
    return any(_trains(node) for node in program.graph.nodes if node.op == "call_function")


def _trains(node: Any) -> bool:
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return False
    name = schema.name.partition("::")[2]
    if not name.startswith((*RANDOM, *NORMS)):
        return False
    given = {argument.name: value for argument, value in zip(schema.arguments, node.args)}  # noqa: B905 (the rest has defaults)
    given.update(node.kwargs)
    switch = given.get("train", given.get("training"))
    return bool(switch)
