"""The command line: help with examples, exit statuses, nothing imported that is not needed."""

import io
import subprocess
import sys

import pytest

from xbackend.commands.main import COMMANDS as ALL_COMMANDS
from xbackend.commands.main import main

COMMANDS = ("run", "compare", "convert", "backends", "platforms", "models")


def _status(*arguments):
    try:
        return main(arguments)
    except SystemExit as leaving:
        return leaving.code


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    assert _status(command, "--help") == 0
    assert f"usage: xbackend {command}" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["run", "compare", "convert", "models"])
def test_help_has_examples(command, capsys):
    _status(command, "--help")
    assert f"\n  xbackend {command}" in capsys.readouterr().out


def test_every_command_stands_apart_from_what_is_said_of_it(capsys):
    main([])
    shown = capsys.readouterr().out.splitlines()
    for name in ALL_COMMANDS:
        assert any(line.startswith(f"  {name}  ") for line in shown), name


def test_without_a_command_the_help_is_shown(capsys):
    assert _status() == 0
    assert "COMMAND" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--threads", "0"], "from 1 on"),
        (["run", "--threads", "two"], "from 1 on"),
        (["run", "--repeats", "0"], "from 1 on"),
        (["run", "--jobs", "-1"], "from 1 on"),
        (["run", "--jobs", "0"], "'--jobs 0' must be"),
        (["run", "--threads", ","], "from 1 on"),
        (["run", "--timeout", "-1"], "more than 0 seconds"),
        (["run", "--backends", "fixed", "--store", __file__], "as that is a file"),
        (["run", "--backends", ","], "'--backends ,' names nothing"),
        (["run", "--precision", ""], "'--precision ' names nothing"),
        (["reduce", "--backends", ""], "'--backends ' names nothing"),
        (["mitigate", "--mitigations", ""], "'--mitigations ' names nothing"),
        (["mitigate", "--output", "y.jpg"], "Nothing is drawn into y.jpg"),
        (["mitigate", "--dendrogram", "x.JPG"], "Nothing is drawn into x.JPG"),
        (["study", "races", "--backends", " "], "'--backends  ' names nothing"),
        (["compare", "--format", "layers", "--output", "y.jpg"], "Nothing is drawn into y.jpg"),
        (["compare", "--fail-under", "-1"], "'--fail-under -1' must be a number of bits"),
        (["compare", "--max-eqcs", "0"], "'--max-eqcs 0' must be a number of classes"),
        (["run", "--backends", "nonsense"], "There is no backend 'nonsense'. Known backends: tf,"),
        (["run", "--precision", "float8"], "There is no precision 'float8'. Known: float32,"),
        (["run", "--platform", "moon"], "There is no platform 'moon'"),
        (
            ["run", "no-such-model"],
            "neither a file nor a built-in name (cifar10-r18, cifar10-r18-batchnorm, ",
        ),
        (["run", "--backends", "fixed", "--taps", "zebra*"], "matches none of the model's"),
        (["compare"], "Make one with 'xbackend run'"),
        (["compare", "--format", "xml"], "There is no report 'xml'. Known reports:"),
        (["convert", "cifar10-small", "--to", ""], "needs a format"),
        (["convert", "cifar10-small", "--to", "wasm"], "writes the format 'wasm'. Formats: onnx,"),
        (["models", "show", "nonsense"], "nonsense"),
    ],
)
def test_wrong_usage_is_one_sentence_on_standard_error(
    arguments, words, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XBACKEND_STORE", str(tmp_path / "store"))
    assert _status(*arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    last = said.err.strip().splitlines()[-1]
    assert last.startswith("xbackend: ")
    assert words in last


def _imported(*arguments):
    code = (
        "import sys; from xbackend.commands.main import main\n"
        f"try: main({list(arguments)!r})\nexcept SystemExit: pass\n"
        "print(*sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_help_imports_almost_nothing():
    heavy = {"numpy", "rich", "onnx", "tabulate", "subprocess", "importlib.metadata", "dataclasses"}
    assert not heavy & _imported("--help")


def test_a_run_that_was_converted_before_needs_no_array_library(tmp_path):
    arguments = ("run", "--backends", "fixed", "--store", str(tmp_path / "store"), "--json")
    _imported(*arguments)
    assert not {"numpy", "rich", "onnx", "tabulate"} & _imported(*arguments)


def test_a_closed_pipe_is_no_error():
    code = "from xbackend.commands.main import main; main(['models'])"
    command = f'{sys.executable} -c "{code}" | true'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_costs_nothing(closed):
    program = "import sys; from xbackend.commands.main import main; sys.exit(main())"
    command = f'exec "{sys.executable}" -c "{program}" backends {closed}'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_a_locale_cannot_write_is_written_as_an_escape(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    assert _status("backends") == 0
    print("\u00d7 \udcff")
    stream.flush()
    assert stream.buffer.getvalue().endswith(b"\\xd7 \\udcff\n")
