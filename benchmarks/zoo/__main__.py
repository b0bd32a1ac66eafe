"""Tries real models and writes docs/models_tried.md: `python -m benchmarks.zoo [NAME...]`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from .exports import ARCHITECTURES, export
from .files import fetch, real_files
from .page import page
from .trial import BACKENDS, kept_of, try_model

PAGE = Path(__file__).parents[2] / "docs" / "models_tried.md"
Entry = tuple[str, str, Callable[[Path], Path], dict[str, list[int]]]
"""A name, a title, what gives the file, and shapes of its inputs."""


def main() -> int:
    """Try what is asked for, then write the page from all that was ever tried."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.zoo", description=__doc__)
    parser.add_argument("names", nargs="*", help="models, or parts of names (default: all)")
    parser.add_argument("--fresh", action="store_true", help="try again what was tried")
    parser.add_argument("--page", action="store_true", help="write the page alone, try nothing")
    parser.add_argument("--backends", default=",".join(BACKENDS), help="such as ort,torch")
    parser.add_argument("--cache", metavar="DIR", help="default: $XBACKEND_ZOO, or in ~/.cache")
    options = parser.parse_args()
    place = options.cache or os.environ.get("XBACKEND_ZOO") or "~/.cache/xbackend-zoo"
    cache = Path(place).expanduser()
    cache.mkdir(parents=True, exist_ok=True)
    entries = _entries()
    if not options.page:
        for name, _, file, shapes in (entry for part in entries.values() for entry in part):
            if not options.names or any(part in name for part in options.names):
                _try(name, file, cache, options, shapes)
    parts = {
        title: [(shown, kept_of(cache, name)) for name, shown, *_ in part]
        for title, part in entries.items()
    }
    PAGE.write_text(page(parts), encoding="utf-8")
    return 0


def _entries() -> dict[str, list[Entry]]:
    files: list[Entry] = [
        (each.name, each.title, lambda cache, each=each: fetch(each, cache), each.shapes)
        for each in real_files()
    ]
    made: list[Entry] = [
        (
            f"{each.package}-{each.name}-{each.exporter}",
            each.title,
            lambda cache, each=each: export(each, cache),
            {},
        )
        for each in ARCHITECTURES
    ]
    return {"Trained files": files, "Exported architectures": made}


def _try(
    name: str,
    file: Callable[[Path], Path],
    cache: Path,
    options: argparse.Namespace,
    shapes: dict[str, list[int]],
) -> None:
    print(f"{name} …", file=sys.stderr, flush=True)
    try:
        try_model(file(cache), cache, name, options.backends.split(","), options.fresh, shapes)
    except Exception as error:  # a network, an exporter: the other models are tried all the same
        print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
