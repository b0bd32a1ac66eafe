"""The command line: parse, call, print. Data on standard output, all else on standard error."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TextIO

from xbackend.worker.version import VERSION

COMMANDS = {
    "run": "run",
    "compare": "compare",
    "flags": "flags",
    "cores": "cores",
    "study": "study",
    "mitigate": "mitigate",
    "reduce": "reduce",
    "convert": "convert",
    "saturation": "saturation",
    "import": "intake",
    "store": "store",
    "backends": "backends",
    "platforms": "platforms",
    "models": "models",
}
"""Commands, in the order of the help, to the module that adds each."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    _prepare_streams()
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        print("xbackend: interrupted; what was done is kept.", file=sys.stderr)
        return 130


def _run(arguments: Sequence[str] | None) -> int:
    """Run a command; what a user can mend is one line on standard error."""
    from xbackend.errors import XbackendError

    options = build_parser().parse_args(arguments)
    if options.command is None:
        build_parser().print_help()
        return 0
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup wants it
            signal.signal(number, _terminate)
    try:
        status: int = _load_handler(options.handler)(options)
        sys.stdout.flush()
        return status
    except XbackendError as error:
        print(f"xbackend: {error}", file=sys.stderr)
        return error.exit_status
    except BrokenPipeError:
        _drop_output()
        return 0
    except OSError as error:
        where = error.filename or "standard output"
        print(
            f"xbackend: Cannot use {where}: {error.strerror or error}. Free space there, or give "
            "this user the right to it.",
            file=sys.stderr,
        )
        _drop_output()
        return XbackendError.exit_status


def _prepare_streams() -> None:
    """Replace streams that were closed by the void, and write what a locale lacks as escapes."""
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 (to the end)
        elif name == "stdout" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if not isinstance(sys.stderr, Diagnostics):
        sys.stderr = Diagnostics(sys.stderr)


class Diagnostics(io.TextIOBase):
    """Standard error, whose loss, on a full disk or a closed terminal, ends no command."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write, or from the first failure on drop what is written."""
        try:
            self.stream.write(text)
            self.stream.flush()
        except (OSError, ValueError):
            self._drop()
        return len(text)

    def flush(self) -> None:
        """Nothing: each text is written at once."""

    def fileno(self) -> int:
        """Return the descriptor of the stream itself."""
        return self.stream.fileno()

    def isatty(self) -> bool:
        """Tell whether the stream itself is a terminal."""
        return self.stream.isatty()

    def writable(self) -> bool:
        """Tell that it is."""
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a value there, computed here
        """The encoding of the stream itself."""
        return self.stream.encoding

    def _drop(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())
            self.stream.flush()


def _drop_output() -> None:
    """Send what is still to be printed nowhere, so that leaving does not fail over it again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _terminate(number: int, frame: object) -> None:
    """Leave as after Ctrl-C, or with the terminal: workers are ended, what is done is kept."""
    raise SystemExit(128 + number)


def _load_handler(path: str) -> Callable[[argparse.Namespace], int]:
    """Return the function that carries out a command; only now is its module imported."""
    module, _, name = path.partition(":")
    function: Callable[[argparse.Namespace], int] = getattr(import_module(module), name)
    return function


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    whole = argparse.ArgumentParser(
        prog="xbackend",
        description="Does a neural network compute the same bits everywhere? "
        "If not: where, how much, and why.",
    )
    whole.add_argument("--version", action="version", version=f"xbackend {VERSION}")
    commands = whole.add_subparsers(dest="command", metavar="COMMAND")
    for module in COMMANDS.values():
        import_module(f"xbackend.commands.arguments.{module}").add(commands)
    return whole
