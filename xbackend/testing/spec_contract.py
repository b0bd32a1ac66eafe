"""What every backend's spec and sources must be, whatever its framework computes."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

from xbackend.plugins import registry
from xbackend.worker.contract import PRECISIONS, BackendSpec, Setting

from .artifacts import load_backend

FRAMEWORKS = ("ai_edge_litert", "onnxruntime", "tensorflow", "tflite_runtime", "torch")
"""Packages that nothing but an adapter imports."""

WORKER_PYTHON = (3, 8)
"""The oldest Python whose grammar the worker half keeps to."""

IMPORTED = """
import sys
sys.path[:] = [path for path in sys.path if path]
from xbackend.plugins import registry
registry.backend({word!r})
print(*[name for name in {names!r} if name in sys.modules])
"""


class SpecContract:
    """Tests of what a backend says of itself, and of its sources."""

    spec: ClassVar[BackendSpec]

    def test_the_entry_point_gives_this_spec(self) -> None:
        assert registry.backend(self.spec.word) == self.spec

    def test_the_word_is_one_word(self) -> None:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", self.spec.word)
        assert self.spec.title.strip()

    def test_every_precision_has_a_format_or_a_sentence_that_says_why_not(self) -> None:
        assert not set(self.spec.formats) & set(self.spec.unsupported_precisions)
        assert set(self.spec.formats) | set(self.spec.unsupported_precisions) == set(PRECISIONS)
        assert self.spec.default_precision in self.spec.formats
        assert [
            text for text in self.spec.unsupported_precisions.values() if not is_sentence(text)
        ] == []

    def test_some_converter_makes_every_format(self) -> None:
        made = {target for spec in registry.converters() for _, target in spec.conversions}
        assert set(self.spec.formats.values()) <= made

    def test_every_setting_is_typed_and_its_default_is_a_choice(self) -> None:
        problems = {s.key: setting_problem(s) for s in self.spec.settings}
        assert {key: problem for key, problem in problems.items() if problem} == {}

    def test_no_setting_is_there_twice_or_named_as_one_that_all_have(self) -> None:
        keys = [setting.key for setting in self.spec.settings]
        assert len({*keys, "threads", "precision"}) == len(keys) + 2

    def test_what_cannot_be_trusted_under_emulation_has_a_reason_and_known_settings(self) -> None:
        choices = {s.key: s.choices for s in self.spec.settings}
        known = {**choices, "precision": tuple(self.spec.formats), "threads": ()}
        for rule in self.spec.unfaithful:
            assert rule.operators
            assert is_sentence(rule.reason)
            for key, values in rule.where.items():
                assert not known[key] or set(values) <= set(known[key])

    def test_reading_the_spec_imports_no_framework(self) -> None:
        names = (*self.spec.modules, *FRAMEWORKS)
        program = IMPORTED.format(word=self.spec.word, names=names)
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == []

    def test_the_first_version_is_the_frameworks_own(self) -> None:
        versions = load_backend(self.spec).versions()
        assert next(iter(versions)) == self.spec.word
        assert [key for key, value in versions.items() if not value or value != str(value)] == []

    def test_the_adapter_carries_this_spec(self) -> None:
        assert load_backend(self.spec).spec == self.spec

    def test_the_sources_are_python_that_a_worker_reads(self) -> None:
        sources = adapter_sources(self.spec)
        assert sources
        for path in sources:
            ast.parse(path.read_text("utf-8"), str(path), feature_version=WORKER_PYTHON)


def setting_problem(setting: Setting) -> str | None:
    """Say what is wrong with a setting, None if nothing is.

    >>> setting_problem(Setting("mode", "fast", "How it runs", ("slow",)))
    "the default 'fast' is not among the choices"
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", setting.key):
        return "the key is not one word"
    if not setting.help.strip() or "\n" in setting.help:
        return "the help is not one line"
    if any(type(choice) is not type(setting.default) for choice in setting.choices):
        return "a choice is of another type than the default"
    if setting.choices and setting.default not in setting.choices:
        return f"the default {setting.default!r} is not among the choices"
    return None


def is_sentence(text: str) -> bool:
    """Tell whether a message is one line that ends as a sentence does.

    >>> is_sentence("There is no GPU. Choose device=cpu."), is_sentence("KeyError")
    (True, False)
    """
    return "\n" not in text.strip() and " " in text and text.rstrip()[-1:] in ".)'!"


def adapter_sources(spec: BackendSpec) -> list[Path]:
    """List the Python files of the folder that the adapter is in."""
    module = spec.adapter.partition(":")[0].rpartition(".")[0]
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise ImportError(f"The package '{module}' of the adapter is not found.")
    return sorted(Path(found.origin).parent.rglob("*.py"))
