"""The command line: parse, call, print. Data on standard output, all else on standard error."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from xbackend.worker.version import VERSION

COMMANDS = {
    "run": "run",
    "compare": "compare",
    "explain": "explain",
    "flags": "flags",
    "cores": "cores",
    "study": "study",
    "mitigate": "mitigate",
    "reduce": "reduce",
    "convert": "convert",
    "saturation": "saturation",
    "import": "intake",
    "backends": "backends",
    "platforms": "platforms",
    "models": "models",
}
"""Commands, in the order of the help, to the module that adds each."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    from xbackend.errors import XbackendError

    _prepare_streams()
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
    except KeyboardInterrupt:
        print("xbackend: interrupted; what was done is kept.", file=sys.stderr)
        return 130
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
