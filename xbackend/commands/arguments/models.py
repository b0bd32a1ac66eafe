"""The options of `xbackend models`."""

from __future__ import annotations

from xbackend.commands.arguments.parser import Subparsers, add_command

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
    parser = add_command(
        commands, "models", "xbackend.commands.listings:print_models", text, MODELS_EXAMPLES
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    show = actions.add_parser("show", help="what is known of a model")
    show.add_argument("name")
    _add_train(actions)


def _add_train(actions: Subparsers) -> None:
    text = "train a network from its official data files"
    train = add_command(actions, "train", "xbackend.commands.listings:train", text, TRAIN_EXAMPLES)
    train.add_argument("name", help="cifar10-small, cifar10-r18 or deepweeds-r50v2")
    train.add_argument("--variant", metavar="WORD", help="relu (default), sigmoid or linear")
    source = train.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", metavar="PATH", help="CIFAR-10's or DeepWeeds' official files")
    source.add_argument("--digits", action="store_true", help="train on scikit-learn's digits")
    train.add_argument("--output", metavar="DIR", required=True, help="a folder that is not there")
    train.add_argument("--epochs", metavar="N", type=int, help="(default: 30)")
    train.add_argument("--batch", metavar="N", type=int, help="(default: 32)")
    train.add_argument("--seed", metavar="N", type=int, help="(default: 42)")
    train.add_argument("--threads", metavar="N", type=int, help="of TensorFlow (default: 1)")
    limit = "at most so many pictures to train on, and to be tested on (default: all)"
    train.add_argument("--limit", metavar="N", type=int, help=limit)
    train.add_argument("--fold", metavar="N", type=int, help="DeepWeeds' split (default: 0)")
