"""Options that several commands share, read; imports next to nothing, as `--help` must be fast."""

from __future__ import annotations

import argparse
import os
import sys

TYPE_CHECKING = False  # as `typing` has it, which takes longer to import than all of this
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from typing import Any, NoReturn

    from xbackend.execution.progress import ProgressLines

    Handler = Callable[[argparse.Namespace], int]
    """Carries a command out and returns its exit status; it imports what it needs."""
    Subparsers = argparse._SubParsersAction["Parser"]
else:
    Subparsers = argparse._SubParsersAction  # which is not generic at run time

INPUTS_HELP = (
    ".npy, .npz, .safetensors, a picture, module:callable, or a folder of .npz, .pb or pictures "
    "(default: the model's samples, or random)"
)
NO_SANDBOX_HELP = (
    "let models' processes write where you may, use the network, and take all memory "
    "(as XBACKEND_SANDBOX=off does)"
)


EXPECTED = {"int": "a whole number", "float": "a number"}
"""What a type of argparse's message wants, in words."""


class Parser(argparse.ArgumentParser):
    """A parser that says in one sentence what is wrong, and where the help is."""

    def error(self, message: str) -> NoReturn:
        """Leave with status 2; the sentence comes first, then a line on how to get the usage."""
        self.exit(2, f"xbackend: {in_words(message)}\nSee '{self.prog} --help'.\n")

    def refuse_unknown(self, extras: Sequence[str]) -> NoReturn:
        """Leave as `error` does, for arguments that are left over, naming options like them."""
        first = extras[0]
        options = [name for action in self._actions for name in action.option_strings]
        from xbackend.errors import did_you_mean

        if not first.startswith("-"):
            self.error(f"'{self.prog}' takes no further argument '{first}'.")
        near = did_you_mean(first.partition("=")[0], options)
        self.error(f"'{self.prog}' has no option '{first}'.{near}")

    def _check_value(self, action: argparse.Action, value: object) -> None:
        """Refuse a word that is none of the choices, naming those that are like it."""
        if action.choices is None or value in action.choices:
            return
        from xbackend.errors import did_you_mean

        known = [str(each) for each in action.choices]
        what = str(action.metavar or action.dest).lower()
        raise argparse.ArgumentError(
            None,
            f"There is no {what} '{value}'. Known: {', '.join(known)}."
            f"{did_you_mean(str(value), known)}",
        )


def in_words(message: str) -> str:
    """Return what argparse says as a sentence.

    >>> in_words("argument --jobs: invalid int value: 'x'")
    "'--jobs x' must be a whole number."
    >>> in_words("argument --model: expected one argument")
    "'--model' needs a value."
    >>> in_words("the following arguments are required: --to")
    'These are needed: --to.'
    """
    import re

    rules = (
        (r"argument (\S+): invalid (int|float) value: '(.*)'", "'{0} {2}' must be {1}."),
        (r"argument (\S+): expected (?:at least )?one argument", "'{0}' needs a value."),
        (r"the following arguments are required: (.*)", "These are needed: {0}."),
        (r"argument (\S+): not allowed with argument (\S+)", "'{0}' cannot go with '{1}'."),
        (
            r"argument (\S+): ignored explicit argument '(.*)'",
            "'{0}' takes no value, such as '{1}'.",
        ),
        (r"one of the arguments (.*) is required", "One of these is needed: {0}."),
    )
    for pattern, sentence in rules:
        found = re.fullmatch(pattern, message)
        if found:
            return sentence.format(*(EXPECTED.get(each, each) for each in found.groups()))
    return message if message.endswith((".", "?")) else f"{message[:1].upper()}{message[1:]}."


class HelpLayout(argparse.RawDescriptionHelpFormatter):
    """Help as wide as the terminal, without `shutil`, which imports what unpacks archives."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_terminal_columns() - 2)


def _terminal_columns() -> int:
    """Return what $COLUMNS says, or the terminal of standard output, or 80."""
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told):
        return int(told)
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 80


def add_command(
    commands: Subparsers, name: str, handler: Handler, text: str, examples: str
) -> Parser:
    """Add a command, which calls `handler` with what was parsed."""
    parser = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=examples,
        formatter_class=HelpLayout,
    )
    parser.set_defaults(handler=handler, parser=parser)
    return parser


def add_listing(commands: Subparsers, name: str, handler: Handler, text: str) -> Parser:
    """Add a command that only prints, likewise."""
    parser = commands.add_parser(name, help=text, description=text.capitalize() + ".")
    parser.set_defaults(handler=handler, parser=parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def add_store(parser: Parser) -> None:
    """Add `--store`."""
    parser.add_argument(
        "--store", metavar="DIR", help="where runs are kept (default: $XBACKEND_STORE or .xbackend)"
    )


def add_trust(parser: Parser) -> None:
    """Add what lets commands follow the platforms that the records of a store name."""
    parser.add_argument(
        "--trust-platforms",
        action="store_true",
        help="start interpreters, hosts and images that only the store's runs name",
    )


def add_execution_options(parser: Parser) -> None:
    """Add what workers are started with, see `execution_arguments`."""
    add = parser.add_argument
    add("--timeout", metavar="S", type=float, default=600.0, help="per worker (default: 600)")
    add("--jobs", metavar="N", type=int, help="workers at once (default: one for each core)")
    add_store(parser)
    add_sandbox(parser)


def add_sandbox(parser: Parser) -> None:
    """Add `--no-sandbox`."""
    parser.add_argument("--no-sandbox", action="store_true", help=NO_SANDBOX_HELP)


def add_input_options(parser: Parser, labels: bool = False) -> None:
    """Add what a model is run on, see `inputs_argument`."""
    add = parser.add_argument
    add("--inputs", metavar="WHAT", help=INPUTS_HELP)
    add("--shape", metavar="NAME=EXTENTS", action="append", help="such as pixels=1,3,224,224")
    add("--dim", metavar="NAME=EXTENT", action="append", help="of named axes: batch=1,seq=16")
    add("--resize", metavar="SIZE", help="of pictures: 224 or 224x320 (default: what fits)")
    add("--mean", metavar="NUMBERS", help="subtracted from pictures in [0, 1]: 0.485,0.456,0.406")
    add("--std", metavar="NUMBERS", help="what they are divided by then: 0.229,0.224,0.225")
    if labels:
        text = ".npy with the right class of each sample: compare tells the accuracy"
        add("--labels", metavar="FILE", dest="input_labels", help=text)


def inputs_argument(options: argparse.Namespace) -> Any:
    """Return what `add_input_options` read, as the API's functions take it."""
    labels = getattr(options, "input_labels", None)
    said = (options.shape, options.dim, options.resize, options.mean, options.std, labels)
    if not any(each is not None for each in said):
        return options.inputs
    from xbackend.api.samples import Samples

    return Samples(options.inputs, *said)


def execution_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Return what `add_execution_options` read, as the API's functions take it."""
    from xbackend.api.arguments import positive_seconds

    timeout = positive_seconds("--timeout ", options.timeout)
    jobs = None if options.jobs is None else whole_number("--jobs", options.jobs)
    return {"timeout": timeout, "jobs": jobs, "store": options.store}


def request_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Return what every command reads that runs a model: which, by whom, where, and how."""
    return {
        "model": options.model,
        "backends": given_words("--backends", options.backends),
        "platforms": options.platform,
        "inputs": inputs_argument(options),
        "threads": whole_numbers("--threads", options.threads),
        "settings": options.set,
    }


def add_keep_float32(parser: Parser, *aliases: str) -> None:
    """Add `--keep-float32`, which says what stays so where a model is brought to less."""
    parser.add_argument(
        "--keep-float32",
        *aliases,
        metavar="LAYERS",
        help="layers that stay in float32 in float16 or bfloat16, such as sq,var; "
        "'xbackend mixed-precision' finds them",
    )


def converter_options(options: argparse.Namespace) -> list[str]:
    """Return what `--option` and `--keep-float32` say, as the API takes it."""
    kept = given_words("--keep-float32", options.keep_float32)
    keep = [] if kept is None else [f"onnx_to_cast.keep={kept}"]
    return [*(options.option or ()), *keep]


def given_words(option: str, text: str | None) -> str | None:
    """Return a list with commas. Raises UsageError for one that was given and names nothing."""
    if text is not None and not text.replace(",", " ").strip():
        from xbackend.errors import UsageError

        raise UsageError(f"'{option} {text}' names nothing. Name one at least, or leave it out.")
    return text


def whole_number(option: str, value: int | str) -> int:
    """Return the number that an option takes. Raises UsageError for any below 1."""
    from xbackend.api.arguments import positive_integer

    return positive_integer(f"{option} ", value)


def whole_numbers(option: str, text: str) -> tuple[int, ...]:
    """Return the numbers of a list with commas, each once. Raises UsageError for any below 1."""
    from xbackend.api.arguments import words

    return tuple(whole_number(option, word) for word in words(text) or ("",))


def terminal_progress() -> AbstractContextManager[ProgressLines]:
    """Give what shows on standard error how runs go on."""
    from xbackend.execution.progress import progress

    return progress(sys.stderr)
