"""Lists, shows or trains the built-in models."""

from __future__ import annotations

import sys
from argparse import Namespace

from xbackend.commands.parser import Subparsers, add_command

MODELS_EXAMPLES = """examples:
  xbackend models                                     what is built in
  xbackend models show cifar10-small                  where its files and samples are
  xbackend models train cifar10-small --data cifar-10-binary.tar.gz --output trained
  xbackend models train cifar10-r18 --variant sigmoid --data cifar-10-binary.tar.gz --output mine
  xbackend models train deepweeds-r50v2 --data DeepWeeds --threads 16 --output weeds
"""

TRAIN_EXAMPLES = """networks:
  cifar10-small, cifar10-r18      --data: cifar-10-binary.tar.gz, or a folder with its .bin files
  deepweeds-r50v2                 --data: a folder with images.zip and DeepWeeds' lists
                                  (train_subset0.csv, val_subset0.csv, test_subset0.csv)

examples:
  xbackend models train cifar10-small --digits --epochs 3 --output digits
  xbackend models train cifar10-small-linear --digits --output linear
  xbackend models train cifar10-r18 --data cifar-10-binary.tar.gz --limit 1000 --output quick
"""


def add(commands: Subparsers) -> None:
    """Add the command and its actions."""
    text = "list, show or train the built-in models"
    parser = add_command(commands, "models", models, text, MODELS_EXAMPLES)
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    show = actions.add_parser("show", help="what is known of a model")
    show.add_argument("name")
    _add_train(actions)


def _add_train(actions: Subparsers) -> None:
    text = "train a network from its official data files"
    parser = add_command(actions, "train", train, text, TRAIN_EXAMPLES)
    parser.add_argument("name", help="cifar10-small, cifar10-r18 or deepweeds-r50v2")
    parser.add_argument("--variant", metavar="WORD", help="relu (default), sigmoid or linear")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", metavar="PATH", help="CIFAR-10's or DeepWeeds' official files")
    source.add_argument("--digits", action="store_true", help="train on scikit-learn's digits")
    parser.add_argument("--output", metavar="DIR", required=True, help="a folder that is not there")
    parser.add_argument("--epochs", metavar="N", type=int, help="(default: 30)")
    parser.add_argument("--batch", metavar="N", type=int, help="(default: 32)")
    parser.add_argument("--seed", metavar="N", type=int, help="(default: 42)")
    parser.add_argument("--threads", metavar="N", type=int, help="of TensorFlow (default: 1)")
    limit = "at most so many pictures to train on, and to be tested on (default: all)"
    parser.add_argument("--limit", metavar="N", type=int, help=limit)
    parser.add_argument("--fold", metavar="N", type=int, help="DeepWeeds' split (default: 0)")


def models(options: Namespace) -> int:
    """List or show the built-in models."""
    from xbackend.api import listings as api
    from xbackend.plugins.registry import renderer

    if options.action == "show":
        print(renderer("model")(api.model(options.name)))
    else:
        print(api.models())
    return 0


def train(options: Namespace) -> int:
    """Train a network from its official files."""
    from xbackend.api.listings import train as train_network

    folder = train_network(
        options.name,
        options.output,
        data=options.data,
        variant=options.variant,
        epochs=options.epochs,
        batch=options.batch,
        seed=options.seed,
        threads=options.threads,
        limit=options.limit,
        fold=options.fold,
        log=lambda line: print(line, file=sys.stderr, flush=True),
    )
    print(f"{folder}: run it with 'xbackend run {folder}'")
    return 0
