"""Reads a .pt2 archive that may be hostile, and writes it again without anything that could act.

`torch.export.load` unpickles example inputs, custom objects and some tensors, evaluates the sizes
of free axes as Python, and writes names of values into Python source that it executes. So nothing
of a user's archive reaches it but tensors as raw bytes, and a graph in which every text is a name.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xbackend.errors import ModelError
from xbackend.preparation.archive import archive_fault

from ..libraries.sentence import clause

ROOT = "model"
"""The folder within the archive that is written, and the program's name in it."""

NAME = re.compile(r"[\w.]*", re.ASCII)
"""What a text in the graph may be: names of values, weights, formats."""

VERSION = re.compile(r"[\w.+]*", re.ASCII)

TARGETS = (
    re.compile(r"torch\.ops\.(aten|prims|higher_order|quantized_decomposed)\.\w+(\.\w+)?"),
    re.compile(r"_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|neg|pos|pow)"),
    re.compile(r"_operator\.(eq|ne|lt|le|gt|ge|and_|or_|not_)"),
    re.compile(r"math\.(trunc|ceil|floor|sqrt)"),
    re.compile(r"torch\.sym_(int|float|max|min|not|ite|sum)"),
)
"""The functions that a node may call."""

EXPRESSIONS = frozenset(
    """
    Symbol Integer Float Rational Add Mul Max Min Abs Mod PythonMod FloorDiv CeilDiv CleanDiv
    ModularIndexing Where Identity IntTrueDiv FloatTrueDiv ToFloat TruncToInt TruncToFloat
    RoundToInt CeilToInt FloorToInt Equality Unequality Eq Ne Le Lt Ge Gt LessThan StrictLessThan
    GreaterThan StrictGreaterThan And Or Not
    """.split()
)
"""The functions that the size of a free axis may be made of."""

EXPRESSION_NODES = (
    ast.Expression, ast.Call, ast.Name, ast.Load, ast.Constant, ast.keyword, ast.BinOp, ast.UnaryOp,
    ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod, ast.USub,
)  # fmt: skip

CONTAINERS = frozenset({None, "builtins.tuple", "builtins.list", "builtins.dict"})
"""Structures of inputs and outputs; others name Python classes to import."""

PAYLOAD = re.compile(r"(weight|tensor)_\d+")
"""Files of raw bytes; others are pickled objects."""

HEADER = ("archive_format", "archive_version", "byteorder", ".data/version")

EXAMPLES = f"data/sample_inputs/{ROOT}.pt"
"""Pickled example inputs; where they are empty, nothing is unpickled."""

DROPPED: dict[str, Any] = {"metadata": {}, "guards_code": [], "treespec_namedtuple_fields": {}}
"""Parts of the graph that no conversion needs, and what they are when empty."""


def sanitize(source: Path, target: Path) -> None:
    """Write a harmless copy of an exported program. Raises ModelError where there is none."""
    try:
        fault = archive_fault(source, nested=("",))  # any: content is copied as raw bytes
        if fault:
            raise ModelError(f"{source} {fault}. Save it with torch.export.save.")
        with zipfile.ZipFile(source) as archive:
            members = _members(archive, source)
            with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as copy:
                for name, info in members.items():
                    _copy(archive, info, copy, name, source)
                copy.writestr(f"{ROOT}/{EXAMPLES}", b"")
    except ModelError:
        raise
    except OSError as error:
        raise ModelError(f"Cannot read {source}: {error.strerror or error}.") from error
    except Exception as error:  # of a damaged archive zipfile raises whatever comes
        refuse_pickle(source)
        raise ModelError(
            f"{source} is not a whole .pt2 archive: {clause(error)}. Save it with "
            "torch.export.save."
        ) from error


def _copy(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, copy: zipfile.ZipFile, name: str, source: Path
) -> None:
    """Copy one member, the graph and the lists of weights only after they were checked."""
    if info.compress_type != zipfile.ZIP_STORED:
        raise ModelError(
            f"{source} is compressed, which torch.export.save never does. Save it with that."
        )
    if name.endswith(".json"):
        copy.writestr(f"{ROOT}/{name}", _safe(name, archive.read(info), source))
        return
    with archive.open(info) as data, copy.open(f"{ROOT}/{name}", "w", force_zip64=True) as written:
        shutil.copyfileobj(data, written)


def refuse_pickle(source: Path) -> None:
    """Raise ModelError where a file begins as a pickle does, which torch.save once wrote."""
    with source.open("rb") as stream:
        if stream.read(1) == b"\x80":
            raise _pickled(source, "is a pickled file")


def _pickled(source: Path, what: str) -> ModelError:
    return ModelError(
        f"{source} {what}, and reading it would execute what it holds. Save the program with "
        "torch.export.save (.pt2), or name a function that makes it as module:callable."
    )


def _members(archive: zipfile.ZipFile, source: Path) -> dict[str, zipfile.ZipInfo]:
    """Return the members that are needed, by their names without the archive's own folder."""
    inner = {info.filename.partition("/")[2]: info for info in archive.infolist()}
    if "archive_format" not in inner:
        if "data.pkl" in inner or "constants.pkl" in inner:
            raise _pickled(source, "was written by torch.save or torch.jit.save")
        raise ModelError(
            f"{source} is not an exported program of PyTorch 2.8 or newer. "
            "Save it with torch.export.save."
        )
    programs = [name for name in inner if name.startswith("models/")]
    if programs != [f"models/{ROOT}.json"]:
        raise ModelError(f"{source} holds {len(programs)} programs where one is wanted.")
    _refuse_code(inner, source)
    needed = (*HEADER, programs[0], *(n for n in inner if n.startswith(("data/w", "data/c"))))
    return {name: inner[name] for name in needed if name in inner}


def _refuse_code(inner: Mapping[str, Any], source: Path) -> None:
    """Refuse compiled code and payloads that are no raw bytes. Example inputs are left out."""
    for name in inner:
        folder, _, file = name.rpartition("/")
        if name.startswith(("data/aotinductor/", "data/executorch/", "data/mtia/")):
            raise ModelError(
                f"{source} holds compiled code ({name}), which is not executed. "
                "Save the program with torch.export.save."
            )
        if folder in ("data/weights", "data/constants") and not (
            PAYLOAD.fullmatch(file) or file.endswith("_config.json")
        ):
            raise _pickled(source, f"holds a pickled object ({name})")


def _safe(name: str, data: bytes, source: Path) -> bytes:
    """Check a graph or a list of weights and return what is written of it."""
    try:
        document = json.loads(data)
        is_list = name.endswith("_config.json")
        checked = _payloads(document, source) if is_list else _checked(document)
    except (
        ValueError,
        SyntaxError,
        RecursionError,
        LookupError,
        TypeError,
        AttributeError,
    ) as error:
        raise ModelError(f"{source} is not sound ({name}): {error}.") from error
    return json.dumps(checked).encode()


def _payloads(document: dict[str, Any], source: Path) -> dict[str, Any]:
    for row in document["config"].values():
        if row["use_pickle"] or not PAYLOAD.fullmatch(row["path_name"]):
            raise _pickled(source, f"holds a pickled object ({row['path_name']})")
    checked: dict[str, Any] = _checked(document)
    return checked


def _checked(value: Any, key: str = "") -> Any:
    """Return a part of the graph less what no conversion needs; ValueError where it could act."""
    if key in DROPPED:
        return DROPPED[key]
    if isinstance(value, dict):
        if key == "custom_obj_values" and value:
            raise ValueError(f"it holds a custom object '{min(value)}'")
        return {_name(inner): _checked(item, inner) for inner, item in value.items()}
    if isinstance(value, list):
        return [_checked(item, key) for item in value]
    return _text(value, key) if isinstance(value, str) else value


def _text(value: str, key: str) -> str:
    check = CHECKS.get(key, _name)
    return check(value)


def _name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError(f"'{value[:80]}' is not a name")
    return value


def _version(value: str) -> str:
    if not VERSION.fullmatch(value):
        raise ValueError(f"'{value[:80]}' is not a version")
    return value


def _target(value: str) -> str:
    if not any(pattern.fullmatch(value) for pattern in TARGETS):
        raise ValueError(f"it calls '{value[:80]}', which is no operator of PyTorch")
    return value


def _literal(value: str) -> str:
    """Let a string argument of an operator through: it is only ever written as a literal."""
    return value


def _expression(value: str) -> str:
    """Let an axis's size through that is made of symbols, numbers and known functions."""
    tree = ast.parse(value, mode="eval")
    functions = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    texts = {
        id(node.args[0])
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Symbol"
        and node.args
    }
    for node in ast.walk(tree):
        if not _is_harmless(node, functions, texts):
            raise ValueError(f"'{value[:80]}' is not the size of an axis")
    return value


def _is_harmless(node: ast.AST, functions: set[int], texts: set[int]) -> bool:
    if isinstance(node, ast.Name):
        return node.id in EXPRESSIONS if id(node) in functions else _is_symbol(node.id)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return id(node) in texts and _is_symbol(node.value)
    return isinstance(node, EXPRESSION_NODES)


def _is_symbol(text: str) -> bool:
    return bool(re.fullmatch(r"[a-z]+\d+|true|false", text))


def _structure(value: str) -> str:
    """Let a structure of inputs or outputs through that is of Python's own containers."""
    version, tree = json.loads(value)
    _check_structure(tree)
    return json.dumps([int(version), tree])


def _check_structure(tree: Any) -> None:
    if tree["type"] not in CONTAINERS:
        raise ValueError(f"its inputs or outputs are in a '{tree['type']}'")
    for child in tree["children_spec"]:
        _check_structure(child)


CHECKS = {
    "as_operator": _target,
    "as_string": _literal,
    "as_strings": _literal,
    "expr_str": _expression,
    "in_spec": _structure,
    "out_spec": _structure,
    "target": _target,
    "torch_version": _version,
}
"""What a text must be, by the key that it stands under; a name where the key is not here."""
