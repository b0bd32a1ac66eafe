"""The command line: parse, call, print. Data on standard output, all else on standard error."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import TextIO

from xbackend.commands.parser import HelpLayout, Parser
from xbackend.worker.version import VERSION

GROUPS = (
    ("every day", "Run a model in several places, and see whether the bits are the same.", {
        "run": "run",
        "compare": "compare",
        "explain": "explain",
        "report": "report",
    }),
    ("where and why", "Find the smallest model that differs, and what of a machine makes it.", {
        "reduce": "reduce",
        "flags": "flags",
        "cores": "cores",
    }),
    ("what removes it", "Try what may remove a difference, and turn models into other formats.", {
        "mitigate": "mitigate",
        "mixed-precision": "mixed_precision",
        "saturation": "saturation",
        "convert": "convert",
    }),
    ("in CI", "Keep the classes of a fleet in a file, which 'compare --baseline' gates on.", {
        "baseline": "baseline",
    }),
    ("stores and others' results", "Take in what was run elsewhere, hand out what is kept.", {
        "store": "store",
        "verify": "verify",
        "import": "import_runs",
        "export": "export",
    }),
    ("what there is", "List what can be named, and repeat the paper's studies.", {
        "backends": "backends",
        "platforms": "platforms",
        "models": "models",
        "study": "study",
    }),
)  # fmt: skip
"""What a person wants, what that is in a sentence, and the commands with the module of each."""
COMMANDS = {name: module for _, _, of in GROUPS for name, module in of.items()}
"""All commands, in the order of the help, to the module that adds each."""
NAME_COLUMNS = max(map(len, COMMANDS)) + 2
"""What a name takes in the list of commands, with the gap behind the longest."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    try:
        _prepare_streams()
        return _run(arguments)
    except KeyboardInterrupt:
        print("xbackend: interrupted; what was done is kept.", file=sys.stderr)
        return 130


def _run(arguments: Sequence[str] | None) -> int:
    """Run a command; what a user can mend is one line on standard error."""
    from xbackend.errors import XbackendError

    options = parse(_parser_for(sys.argv[1:] if arguments is None else arguments), arguments)
    if options.command is None:
        build_parser().print_help()
        return 0
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup wants it
            signal.signal(number, _terminate)
    if getattr(options, "no_sandbox", False):
        _leave_sandbox()
    try:
        status: int = options.handler(options)
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


def _leave_sandbox() -> None:
    """Let all that this command starts go without a sandbox, and say what that gives up."""
    os.environ["XBACKEND_SANDBOX"] = "off"
    print(
        "xbackend runs models without a sandbox: what a hostile model does can write files where "
        "you may, open connections and take all memory.",
        file=sys.stderr,
    )


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


def parse(whole: Parser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return what was typed; leave with status 2 for what the command does not take."""
    options, extras = whole.parse_known_args(arguments)
    if extras:
        getattr(options, "parser", whole).refuse_unknown(extras)
    return options


def _parser_for(arguments: Sequence[str]) -> Parser:
    """Return the parser of the command that is named first, or of the whole command line."""
    named = arguments[0] if arguments else ""
    return build_parser((COMMANDS[named],) if named in COMMANDS else COMMANDS.values())


def build_parser(modules: Iterable[str] = tuple(COMMANDS.values())) -> Parser:
    """Return the parser of the whole command line, or of the commands of some modules only."""
    whole = Parser(
        prog="xbackend",
        description="Does a neural network compute the same bits everywhere? "
        "If not: where, how much, and why.",
        usage="%(prog)s [-h] [--version] COMMAND ...",
        formatter_class=HelpLayout,
    )
    whole.add_argument("--version", action="version", version=f"xbackend {VERSION}")
    commands = whole.add_subparsers(
        prog="xbackend", dest="command", metavar="COMMAND", help=argparse.SUPPRESS
    )
    for module in modules:
        import_module(f"xbackend.commands.{module}").add(commands)
    whole.epilog = _grouped({name: str(of.description) for name, of in commands.choices.items()})
    return whole


def _grouped(descriptions: Mapping[str, str]) -> str:
    """Return the commands by what a person wants, a line for each."""
    lines = []
    for title, sentence, names in GROUPS:
        lines += [f"{title}: {sentence}"]
        lines += [
            f"  {name:<{NAME_COLUMNS}}{_clause(descriptions[name])}"
            for name in names
            if name in descriptions
        ]
        lines += [""]
    return "\n".join([*lines, "xbackend COMMAND --help shows a command's options and examples."])


def _clause(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:].rstrip(".")
