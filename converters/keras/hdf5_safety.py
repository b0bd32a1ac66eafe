"""Looks into an HDF5 file before Keras does, in a process of its own.

On some damaged files the library of HDF5 never ends, or ends its process, and nothing in Python
can stop it: so it may take so many seconds of the processor, and its end is one sentence.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xbackend.errors import ModelError
from xbackend.preparation.archive import size_fault

from ..libraries.sentence import first_line

HARMLESS_FILTERS = frozenset({2, 3})
"""HDF5's numbers of filters that leave the size: shuffling and a checksum."""

SECONDS = 60
"""Of the processor, for reading what a file holds: a gigabyte of weights takes less than one."""

COMMAND = (
    "-c",
    (
        "import sys; sys.path[:] = [p for p in sys.path if p]; "
        "from xbackend.converters.keras.hdf5_safety import main; main()"
    ),
)
"""Arguments of Python for the process; the current folder must not shadow a package."""


def inspect_apart(path: Path, told: Path, seconds: int = SECONDS) -> str | None:
    """Do what `inspect_hdf5` does in a process of its own."""
    command = [sys.executable, *COMMAND, str(path), str(told), str(seconds)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        raise ModelError(
            f"{told} is not a whole HDF5 file: reading it does not end. Save it again with "
            "model.save."
        )
    if done.returncode:
        raise ModelError(
            f"{told} is not a whole HDF5 file: the library that reads it died with status "
            f"{done.returncode}. Save it again with model.save."
        )
    answer: dict[str, str | None] = json.loads(done.stdout)
    error = answer.get("error")
    if error is not None:
        raise ModelError(error)
    return answer["config"]


def main() -> None:
    """Answer in JSON what `inspect_hdf5` returns or raises for the file on the command line."""
    import resource

    path, told, seconds = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 1))
    try:
        answer = {"config": inspect_hdf5(Path(path), Path(told))}
    except ModelError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer))


def inspect_hdf5(path: Path, told: Path) -> str | None:
    """Return the configuration of the model in a file, None where there is none.

    Raises ModelError, which names the file `told`, where a file is not whole, takes data from
    another file, or unpacks to too much.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            config = file.attrs.get("model_config")
            unpacked = sum(_dataset_bytes(item, told) for item in _datasets(file, told))
    except ModelError:
        raise
    except Exception as error:  # of a damaged file HDF5's wrapper raises whatever comes to it
        raise ModelError(f"{told} is not a whole HDF5 file: {first_line(error)}") from error
    fault = size_fault(unpacked, path.stat().st_size)
    if fault:
        raise ModelError(f"{told} {fault}. Save it again with model.save.")
    if config is None:
        return None
    return config.decode("utf-8", "replace") if isinstance(config, bytes) else str(config)


def _datasets(file: Any, path: Path) -> Iterator[Any]:
    """Yield each dataset of an HDF5 file once, whatever leads to it."""
    import h5py

    seen: set[int] = set()
    waiting = [file]
    while waiting:
        group = waiting.pop()
        for name in group:
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise ModelError(f"{path} takes '{name}' from another file, '{link.filename}'.")
            if not isinstance(link, h5py.HardLink):
                continue
            item = group[name]
            place = h5py.h5o.get_info(item.id).addr
            if place in seen:
                continue
            seen.add(place)
            if isinstance(item, h5py.Group):
                waiting.append(item)
            elif isinstance(item, h5py.Dataset):
                yield item


def _dataset_bytes(item: Any, path: Path) -> int:
    """Return what a dataset takes. Raises ModelError for one that lies elsewhere or is packed."""
    if item.external or item.is_virtual:
        raise ModelError(f"{path} takes the weight '{item.name}' from another file.")
    made = item.id.get_create_plist()
    filters = {int(made.get_filter(place)[0]) for place in range(made.get_nfilters())}
    if filters - HARMLESS_FILTERS:
        raise ModelError(
            f"{path} holds the weight '{item.name}' compressed, which Keras never does. Save it "
            "again with model.save."
        )
    return int(item.nbytes)
