"""Odd Keras files and SavedModels through their doors, and an HDF5 file that never ends."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xbackend.converters.keras.hdf5_safety import inspect_apart
from xbackend.converters.keras.safety import check_h5_file
from xbackend.errors import ModelError


def test_keras_files_and_savedmodels_are_taken_or_refused_in_one_sentence(
    root: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--engine", "own", "--seed", "7"]
    command += ["--cases", "100", "--minutes", "8", "--findings", str(tmp_path)]
    for door in ("keras", "h5", "savedmodel"):
        command += ["--only", door]
    done = subprocess.run(command, cwd=root, env={**os.environ}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["keras", "h5", "savedmodel"]
    assert all(line.endswith(": nothing") and int(line.split()[1]) > 100 for line in lines), lines


def endless(path: Path) -> None:
    """Make a file in whose heap an object of no length follows itself.

    The library looks for the object that an attribute names and never gets past it.
    """
    import h5py

    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = "{}" * 40
    data = bytearray(path.read_bytes())
    heap = data.index(b"GCOL")
    struct.pack_into("<HHIQ", data, heap + 16, 7, 1, 0, 2**64 - 16)
    path.write_bytes(data)


def test_a_file_of_which_hdf5_finds_no_end_is_refused_in_time(tmp_path: Path) -> None:
    path = tmp_path / "endless.h5"
    endless(path)
    began = time.process_time()
    with pytest.raises(ModelError, match="not a whole HDF5 file"):
        inspect_apart(path, path, seconds=2)
    assert time.process_time() - began < 10


def test_a_sound_file_is_read_in_a_process_of_its_own(tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["model_config"] = '{"class_name": "Dense"}'
    assert inspect_apart(tmp_path / "m.h5", tmp_path / "m.h5") == '{"class_name": "Dense"}'
    check_h5_file(tmp_path / "m.h5")
