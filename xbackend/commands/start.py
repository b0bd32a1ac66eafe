"""Where the command begins and ends: Ctrl-C while Python is being read leaves no traceback."""

from __future__ import annotations

import signal


def main() -> int:
    """Run the command line; until it can answer Ctrl-C, and once it has, that just ends it."""
    heard = signal.getsignal(signal.SIGINT)
    if heard is not signal.default_int_handler:  # as a shell wants it of what runs behind
        return _command()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        return _command()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _command() -> int:
    from xbackend.commands.main import main as command

    if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return command()
