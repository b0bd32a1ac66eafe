"""The options of `xbackend models`."""

from __future__ import annotations

from xbackend.arguments.parser import Commands, add_command

MODELS_EXAMPLES = """examples:
  xbackend models                                     what is built in
  xbackend models show cifar10-small                  where its files and samples are
  xbackend models train cifar10-small --data cifar-10-binary.tar.gz --output trained
"""


def add(commands: Commands) -> None:
    """Add the command and its actions."""
    text = "list, show or train the built-in models"
    parser = add_command(commands, "models", "xbackend.listings:models", text, MODELS_EXAMPLES)
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
