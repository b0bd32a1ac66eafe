"""A converter writes only what it makes, reaches nobody, and takes no more than its share."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xbackend.errors import ConversionError
from xbackend.plugins.converter import ConversionRequest, ConverterSpec
from xbackend.preparation.conversion.launch import run_converter
from xbackend.worker.sandbox import landlock_version

MODULE = '''
"""A converter that does what the model says."""
import os, socket, subprocess, tempfile, time
from xbackend.plugins.converter import ConversionResult, WeightReport

def convert(request):
    word, _, value = request.source.read_text().partition("=")
    if word == "write":
        open(value, "w").write("evil")
    elif word == "connect":
        socket.create_connection(("127.0.0.1", int(value)), timeout=5)
    elif word == "eat":
        kept = []
        while True:
            kept.append(b"x" * (64 << 20))
    elif word == "loop":
        subprocess.Popen(["sleep", "600"])
        time.sleep(600)
    elif word == "print":
        for _ in range(int(value)):
            os.write(2, b"y" * (1 << 20))
        raise RuntimeError("the end")
    with tempfile.TemporaryDirectory() as folder:
        open(os.path.join(folder, "x"), "w").write("x")
    (request.output / "m.txt").write_text("made")
    return ConversionResult("m.txt", WeightReport((), ()))
'''

linux = pytest.mark.skipif(not landlock_version(), reason="This system has no Landlock to test.")
Convert = Callable[..., dict[str, Any]]


@pytest.fixture
def convert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Convert:
    """Run the converter on a model of some words."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "willing_converter.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(code))
    spec = ConverterSpec("willing", (("a", "b"),), "willing_converter:convert", (), "tf")

    def run(text: str, source_format: str = "a", **variables: str) -> dict[str, Any]:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        (tmp_path / "model.a").write_text(text)
        output = tmp_path / "output"
        output.mkdir(exist_ok=True)
        return run_converter(
            spec, ConversionRequest(tmp_path / "model.a", source_format, "b", output)
        )

    return run


@linux
def test_what_is_made_is_all_that_is_left_and_the_sandbox_is_told(
    convert: Convert, tmp_path: Path
) -> None:
    result = convert("nothing")
    assert [path.name for path in (tmp_path / "output").iterdir()] == ["m.txt"]
    assert result["sandbox"] == {"files": f"landlock {landlock_version()}", "network": "seccomp"}


@linux
def test_a_converter_cannot_write_elsewhere_unless_there_is_no_sandbox(
    convert: Convert, tmp_path: Path
) -> None:
    with pytest.raises(ConversionError, match="PermissionError"):
        convert(f"write={tmp_path / 'evil'}")
    assert not (tmp_path / "evil").exists()
    assert convert(f"write={tmp_path / 'evil'}", XBACKEND_SANDBOX="off")["sandbox"] is None
    assert (tmp_path / "evil").exists()


@linux
def test_a_converter_reaches_nobody(convert: Convert) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        with pytest.raises(ConversionError, match="PermissionError"):
            convert(f"connect={server.getsockname()[1]}")
        with pytest.raises(TimeoutError):
            server.accept()


@linux
def test_a_converter_that_allocates_without_end_fails(convert: Convert) -> None:
    with pytest.raises(ConversionError, match="MemoryError"):
        convert("eat", XBACKEND_MEMORY_LIMIT="600")


def test_a_converter_that_never_ends_is_stopped_with_what_it_started(convert: Convert) -> None:
    started = time.monotonic()
    with pytest.raises(ConversionError, match=r"stopped after 2 s.*XBACKEND_CONVERSION_TIMEOUT"):
        convert("loop", XBACKEND_CONVERSION_TIMEOUT="2")
    assert time.monotonic() - started < 20


def test_of_what_a_converter_prints_the_end_is_kept(convert: Convert) -> None:
    with pytest.raises(ConversionError, match="the end"):
        convert("print=200")


@linux
def test_the_users_own_function_may_do_what_the_user_may(convert: Convert, tmp_path: Path) -> None:
    assert convert(f"write={tmp_path / 'weights'}", source_format="callable")["sandbox"] is None
    assert (tmp_path / "weights").exists()
