"""Writes the known classes of a fleet into a file, for gates in CI."""

from __future__ import annotations

from argparse import Namespace

from xbackend.commands.parser import Subparsers, add_command, add_store

BASELINE_EXAMPLES = """examples:
  xbackend baseline                                   baseline.json, of all outputs of the store
  xbackend baseline --output gates/net.json --model net --layers
  xbackend baseline --where backend=ort
  xbackend compare --baseline baseline.json           hold later runs against it
  xbackend compare --baseline baseline.json --baseline-update
                                                      add what passed to it

The file is JSON with one entry a line, sorted, so that git merges it. It holds the bytes of outputs
up to 4096 bytes, digest and labels of larger ones, digests of layers, and who gave each: vendor,
microarchitecture, flags of vector arithmetic, backend, version and all settings.

exit status: 0 done, 2 wrong usage, among others that the file is there already
"""


def add(commands: Subparsers) -> None:
    """Add the command."""
    text = "write the known classes of each output, and which kinds of machines gave them"
    parser = add_command(commands, "baseline", baseline, text, BASELINE_EXAMPLES)
    add = parser.add_argument
    add("--output", metavar="FILE", default="baseline.json", help="(default: baseline.json)")
    add("--model", metavar="NAME", help="only runs of this model")
    add("--where", metavar="KEY=VALUE", action="append", help="only runs with this value")
    add("--layers", action="store_true", help="the classes of layers, too, by digest")
    add_store(parser)


def baseline(options: Namespace) -> int:
    """Write a baseline and say what it holds."""
    from xbackend.api.baseline import baseline as write_baseline
    from xbackend.plugins.registry import renderer

    done = write_baseline(
        output=options.output,
        store=options.store,
        model=options.model,
        where=options.where,
        layers=options.layers,
    )
    print(renderer("baseline")(done))
    return 0
