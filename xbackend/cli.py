"""The command line: parse, call, print. Data on standard output, all else on standard error."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence

from xbackend import __version__

RUN_EXAMPLES = """examples:
  xbackend run                                        the built-in model, every installed backend
  xbackend run model.onnx --backends ort,torch --inputs x.npy --threads 1,2 --repeats 3
  xbackend run model.keras --precision float32,int8   a model of TensorFlow, in integers too
  xbackend run model.tflite --set tflite.delegate=none
  xbackend run --platform native --platform python:/opt/old/bin/python --backends tf
  xbackend run package.module:make_model --backends torch,ort

exit status: 0 done, 2 wrong usage, 3 a run failed (the others are kept)
"""
COMPARE_EXAMPLES = """examples:
  xbackend compare                                    every run of the store, as tables
  xbackend compare --format json --output result.json
  xbackend compare --where backend=ort --where settings.threads=1 --group-by platform
  xbackend compare --max-eqcs 1                       exit 1 unless all runs give the same bits
  xbackend compare --format machines                  a row for each machine, classes in cells
  xbackend compare --format cumulative --output figure1.svg
  xbackend compare --format dendrogram --model net --output figure6.png
  xbackend compare --fail-under 16                    exit 1 if fewer mantissa bits agree

exit status: 0 done, 1 a threshold was missed, 2 wrong usage
"""
FLAGS_EXAMPLES = """examples:
  xbackend flags                                      what goes with the classes of this store
  xbackend flags --where backend=ort --json
  xbackend flags --ablate --from qemu:Haswell --backends ort,tflite
  xbackend flags model.onnx --ablate --from qemu:EPYC --backends ort
"""
CORES_EXAMPLES = """examples:
  xbackend run --platform cores:1 --platform native --threads 1,2,4,8,16
  xbackend cores                                      platforms by threads, classes in the cells
  xbackend cores --output figure.svg                  and a plot: .png, .svg or .pdf
  xbackend cores --where backend=tf --tap dense --json
"""
CONVERT_EXAMPLES = """examples:
  xbackend convert model.keras --to onnx,tflite,tflite-int8,onnx-int8
  xbackend convert model.tflite --to onnx --output converted
  xbackend convert model.onnx --to onnx-int8 --inputs calibration.npy
  xbackend convert model.onnx --to onnx-int8 --option onnx_to_int8.activation=s8
"""
MODELS_EXAMPLES = """examples:
  xbackend models                                     what is built in
  xbackend models show cifar10-small                  where its files and samples are
  xbackend models train cifar10-small --data cifar-10-binary.tar.gz --output trained
"""
IMPORT_EXAMPLES = """examples:
  xbackend import unannticipated unaNNticipated --store published
  xbackend import unannticipated unaNNticipated/experiments/results/precision
  xbackend compare --store published --where facts.experiment=equivalence_classes

formats:
  unannticipated      the published results of uibk-iNNference/unaNNticipated
  (and those of installed packages, by entry points of the group xbackend.importers)

exit status: 0 something was imported, 2 nothing was
"""
FORMATS_HELP = "table, json, markdown, csv, html, machines, cumulative or dendrogram"
TAPS_HELP = "outputs (one inference), layers (every ONNX value), or patterns such as 'conv*,fc1'"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    from xbackend.errors import XbackendError

    _prepare_streams()
    options = _parser().parse_args(arguments)
    if options.command is None:
        _parser().print_help()
        return 0
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup wants it
            signal.signal(number, _terminate)
    try:
        status: int = _COMMANDS[options.command](options)
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


def _run(options: argparse.Namespace) -> int:
    from xbackend.commands import run

    return run(options)


def _compare(options: argparse.Namespace) -> int:
    from xbackend.commands import compare

    return compare(options)


def _flags(options: argparse.Namespace) -> int:
    from xbackend.commands import flags

    return flags(options)


def _cores(options: argparse.Namespace) -> int:
    from xbackend.cores import cores

    return cores(options)


def _convert(options: argparse.Namespace) -> int:
    from xbackend.commands import convert

    return convert(options)


def _import(options: argparse.Namespace) -> int:
    from xbackend.intake import command

    return command(options)


def _backends(options: argparse.Namespace) -> int:
    from xbackend.listings import print_backends

    return print_backends(options)


def _platforms(options: argparse.Namespace) -> int:
    from xbackend.listings import print_platforms

    return print_platforms(options)


def _models(options: argparse.Namespace) -> int:
    from xbackend.listings import models

    return models(options)


_COMMANDS = {
    "run": _run,
    "compare": _compare,
    "flags": _flags,
    "cores": _cores,
    "convert": _convert,
    "import": _import,
    "backends": _backends,
    "platforms": _platforms,
    "models": _models,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="xbackend",
        description="Does a neural network compute the same bits everywhere? "
        "If not: where, how much, and why.",
    )
    parser.add_argument("--version", action="version", version=f"xbackend {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    _add_run(commands)
    _add_compare(commands)
    _add_flags(commands)
    _add_cores(commands)
    _add_convert(commands)
    _add_import(commands)
    backends_text = "list the backends, their precisions and their settings"
    _add_listing(commands, "backends", backends_text)
    platforms = _add_listing(commands, "platforms", "list where workers can run")
    platforms.add_argument("--setup", choices=["arm"], help="fetch what emulated ARM needs, once")
    _add_models(commands)
    return parser


def _add_listing(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text.capitalize() + ".")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    text: str,
    examples: str,
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--store", metavar="DIR", help="where runs are kept (default: $XBACKEND_STORE or .xbackend)"
    )


def _add_means(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--timeout", metavar="S", type=float, default=600.0, help="per worker (default: 600)")
    add("--jobs", metavar="N", type=int, help="workers at once (default: one for each core)")
    _add_store(parser)


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(commands, "run", "run a model on backends and platforms", RUN_EXAMPLES)
    add = parser.add_argument
    add("model", nargs="?", help="a file, a SavedModel, module:callable, or a built-in name")
    add("--backends", metavar="WORDS", help="such as tf,ort (default: all that are installed)")
    add("--platform", metavar="SPEC", action="append", help="such as cores:2 (default: native)")
    add("--inputs", metavar="FILE", help=".npy or .npz (default: the model's samples, or random)")
    add("--precision", metavar="WORDS", help="such as float32,int8 (default: each backend's own)")
    add("--threads", metavar="NUMBERS", default="1", help="such as 1,2 (default: 1)")
    add("--taps", metavar="WHAT", default="layers", help=TAPS_HELP + " (default: layers)")
    add("--set", metavar="WORD.KEY=VALUE", action="append", help="see 'xbackend backends'")
    add("--repeats", metavar="N", type=int, default=1, help="fresh processes each (default: 1)")
    add("--fresh", action="store_true", help="repeat runs that the store has already")
    add("--allow-nonfinite", action="store_true", help="accept NaN and infinities in the inputs")
    add("--json", action="store_true", help="print the runs' records as JSON")
    _add_means(parser)


def _add_compare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(commands, "compare", "compare the runs of a store, bit by bit", COMPARE_EXAMPLES)
    add = parser.add_argument
    add("--model", metavar="NAME", help="only runs of this model")
    add("--where", metavar="KEY=VALUE", action="append", help="only runs with this value")
    add("--group-by", metavar="KEYS", help="compare only runs that agree in these keys")
    add("--format", metavar="FORMAT", default="table", help=FORMATS_HELP)
    add("--output", metavar="FILE", help="write there; with .svg, .png or .pdf draw the last two")
    add("--fail-under", metavar="BITS", type=int, help="exit 1 if fewer mantissa bits agree")
    add("--max-eqcs", metavar="N", type=int, help="exit 1 if an output has more classes")
    _add_store(parser)


def _add_flags(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "tell which properties of processors go with the classes, or make them"
    parser = _add(commands, "flags", text, FLAGS_EXAMPLES)
    add = parser.add_argument
    add("model", nargs="?", help="only runs of this model; with --ablate, the model to run")
    add("--where", metavar="KEY=VALUE", action="append", help="only runs with this value")
    add("--ablate", action="store_true", help="switch flags off under an emulator, one by one")
    add(
        "--from",
        dest="start",
        metavar="SPEC",
        default="qemu:Haswell",
        help="where --ablate starts (default: qemu:Haswell)",
    )
    add("--backends", metavar="WORDS", help="to ablate (default: all that are installed)")
    add("--threads", metavar="N", default="1", help="of the ablated runs (default: 1)")
    add("--set", metavar="WORD.KEY=VALUE", action="append", help="see 'xbackend backends'")
    add("--json", action="store_true", help="print one JSON object")
    _add_means(parser)


def _add_cores(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "show the classes over platforms and numbers of threads"
    parser = _add(commands, "cores", text, CORES_EXAMPLES)
    add = parser.add_argument
    add("--model", metavar="NAME", help="only runs of this model")
    add("--where", metavar="KEY=VALUE", action="append", help="only runs with this value")
    add("--tap", metavar="NAME", help="class this tensor, not the outputs")
    add("--output", metavar="FILE", help="draw a plot there; needs matplotlib")
    add("--json", action="store_true", help="print one JSON object")
    _add_store(parser)


def _add_convert(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(
        commands,
        "convert",
        "convert a model and say which weights kept their bits",
        CONVERT_EXAMPLES,
    )
    add = parser.add_argument
    add("model", help="a file, a SavedModel, module:callable, or a built-in name")
    add("--to", metavar="FORMATS", required=True, help="such as onnx,tflite,tflite-int8,onnx-int8")
    add("--output", metavar="DIR", default=".", help="where the files go (default: here)")
    add("--inputs", metavar="FILE", help="calibration inputs, .npy or .npz")
    add("--option", metavar="CONVERTER.KEY=VALUE", action="append", help="of one converter")
    add("--force", action="store_true", help="overwrite files that are there")
    _add_store(parser)


def _add_import(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "take runs that others made into a store"
    parser = _add(commands, "import", text, IMPORT_EXAMPLES)
    parser.add_argument("importer", metavar="FORMAT", help="such as unannticipated")
    parser.add_argument("path", metavar="PATH", help="a folder, or what the format is kept in")
    parser.add_argument("--json", action="store_true", help="print the counts as one JSON object")
    _add_store(parser)


def _add_models(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(commands, "models", "list, show or train the built-in models", MODELS_EXAMPLES)
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    show = actions.add_parser("show", help="what is known of a model")
    show.add_argument("name")
    train = actions.add_parser("train", help="train a model from its official data files")
    train.add_argument("name")
    source = train.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", metavar="PATH", help="cifar-10-binary.tar.gz, or its folder")
    source.add_argument("--digits", action="store_true", help="train on scikit-learn's digits")
    train.add_argument("--output", metavar="DIR", required=True, help="a folder that is not there")
    train.add_argument("--epochs", metavar="N", type=int, help="(default: 30)")
    train.add_argument("--batch", metavar="N", type=int, help="(default: 32)")
    train.add_argument("--seed", metavar="N", type=int, help="(default: 42)")
