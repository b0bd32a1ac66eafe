"""Build the shipped model again: `python -m xbackend.training.build`.

Trains on scikit-learn's digits and converts with the project's own converters. Needs
`pip install 'xbackend[dev]'`. On another CPU or with other versions the weights may differ in
their last bits; on the same machine the files come out byte for byte as before.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from xbackend.errors import XbackendError
from xbackend.models import catalogue, digits
from xbackend.training.fit import Recipe
from xbackend.training.model_folder import FILES, ModelFolder, train_model


def main() -> int:
    """Build in a scratch folder, say what changed, and put it in place of what is shipped."""
    recipe = Recipe(start="glorot")
    target = catalogue.ROOT / recipe.model.replace("-", "_")
    try:
        with tempfile.TemporaryDirectory(prefix="xbackend-build-") as scratch:
            output = Path(scratch) / recipe.model
            written = train_model(recipe, digits.read(), output, _tell, tuple(FILES))
            return _finish(written, target)
    except XbackendError as error:
        _tell(str(error))
        return error.exit_status


def _finish(written: ModelFolder, target: Path) -> int:
    for format_, reason in written.failed.items():
        _tell(f"{format_} was not made: {reason}")
    if written.failed:
        return XbackendError.exit_status
    before = _digests(target)
    for file in written.folder.iterdir():
        _put(file, target / file.name)
    for name, digest in _digests(target).items():
        print(f"{name:<12} {digest} {'as before' if before.get(name) == digest else 'changed'}")
    return 0


def _digests(folder: Path) -> dict[str, str]:
    if not (folder / catalogue.MANIFEST).is_file():
        return {}
    return {key: file.digest for key, file in catalogue.read_model(folder).files.items()}


def _put(source: Path, target: Path) -> None:
    """Replace a file in one step, so that nobody reads half of it."""
    scratch = target.with_name(f".{target.name}.tmp")
    target.parent.mkdir(exist_ok=True)
    shutil.copyfile(source, scratch)
    os.replace(scratch, target)


def _tell(message: str) -> None:
    print(message, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
