"""Inputs that do not fit, are damaged or would be executed: one sentence, exit status 2."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from xbackend.errors import InputError
from xbackend.preparation.inputs import load_inputs
from xbackend.store.store import Store
from xbackend.worker.artifact import ValueInfo


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((1, 5), np.float32), ["(1, 5)", "(1, 4)"]),
        (np.zeros((2, 3, 4), np.float32), ["(2, 3, 4)", "(1, 4)"]),
        (np.zeros((0, 4), np.float32), ["(0, 4)", "(1, 4)"]),
        (np.zeros((), np.float32), ["()", "(1, 4)"]),
        (np.zeros((1, 4), np.float64), ["float64", "float32", "astype"]),
        (np.zeros((1, 4), np.uint8), ["uint8", "float32", "astype"]),
        (np.zeros((1, 4), np.complex64), ["complex64", "float32"]),
        (np.zeros((1, 4), ">f4"), []),
        (np.array([["a", "b", "c", "d"]]), ["float32"]),
        (np.array([[1, np.nan, 3, 4]], np.float32), ["1 NaN or infinite", "--allow-nonfinite"]),
        (np.array([[np.inf, -np.inf, 3, 4]], np.float32), ["2 NaN or infinite"]),
    ],
)
def test_an_input_that_does_not_fit_says_what_it_is_and_what_fits(
    xbackend, refused, sound: Path, tmp_path: Path, array: np.ndarray, words: list[str]
) -> None:
    path = tmp_path / "in.npy"
    np.save(path, array)
    if not words:
        assert xbackend("run", sound, "--inputs", path, "--backends", "good").status == 0
        return
    sentence = refused(sound, "--inputs", path)
    for word in [str(path), *words]:
        assert word in sentence


def test_nan_and_infinities_pass_where_they_are_asked_for(
    xbackend, sound: Path, tmp_path: Path
) -> None:
    path = tmp_path / "in.npy"
    np.save(path, np.array([[np.nan, np.inf, -np.inf, -0.0]], np.float32))
    done = xbackend("run", sound, "--inputs", path, "--backends", "good", "--allow-nonfinite")
    assert done.status == 0, done
    assert xbackend("compare").status == 0


@pytest.mark.parametrize("names", [["z"], ["x", "extra"], []])
def test_an_input_of_another_name_says_which_there_are(
    refused, sound: Path, tmp_path: Path, names: list[str]
) -> None:
    path = tmp_path / "in.npz"
    np.savez(path, **{name: np.zeros((1, 4), np.float32) for name in names})
    assert "'x'" in refused(sound, "--inputs", path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_a_truncated_input_is_named(
    refused, sound: Path, tmp_path: Path, kind: str, share: float
) -> None:
    path = tmp_path / f"in.{kind}"
    with path.open("wb") as stream:
        array = np.zeros((300, 4), np.float32)
        np.save(stream, array) if kind == "npy" else np.savez(stream, x=array)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert str(path) in refused(sound, "--inputs", path)


def test_an_input_with_a_damaged_member_is_named(refused, sound: Path, tmp_path: Path) -> None:
    path = tmp_path / "in.npz"
    np.savez(path, x=np.zeros((300, 4), np.float32))
    data = bytearray(path.read_bytes())
    data[1000] ^= 0xFF
    path.write_bytes(data)
    assert str(path) in refused(sound, "--inputs", path)


def test_an_archive_with_no_array_in_it_is_refused(refused, sound: Path, tmp_path: Path) -> None:
    path = tmp_path / "in.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x", "not an array")
    assert str(path) in refused(sound, "--inputs", path)


def test_a_pickled_input_is_never_opened(refused, sound: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str, str]]:
            return Path.write_text, (Path(tmp_path / "sprung"), "executed")

    path = tmp_path / "in.npy"
    np.save(path, np.array([Trap()], object), allow_pickle=True)
    assert str(path) in refused(sound, "--inputs", path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["none.npy", "/dev/null", "."])
def test_an_input_that_cannot_be_read_is_named(refused, sound: Path, name: str) -> None:
    assert name in refused(sound, "--inputs", name)


@pytest.mark.parametrize("seed", range(40))
def test_damaged_inputs_are_refused_or_read_and_nothing_else(tmp_path: Path, seed: int) -> None:
    generator = np.random.default_rng(seed)
    path = tmp_path / "in.npz"
    array = generator.random((30, 4), np.float32)
    save = [np.save, lambda p, a: np.savez(p, x=a), lambda p, a: np.savez_compressed(p, x=a)]
    with path.open("wb") as stream:
        save[seed % 3](stream, array)
    data = bytearray(path.read_bytes())
    for place in generator.integers(0, min(len(data), 200 if seed % 2 else len(data)), 3):
        data[place] = int(generator.integers(0, 256))
    path.write_bytes(data)
    store = Store(tmp_path / "store")
    store.create()
    assert _read(path, store) in ("read", f"'{path}' is named in one line")


def _read(path: Path, store: Store) -> str:
    try:
        load_inputs(path, [ValueInfo("x", "float32", (1, 4))], store)
    except InputError as error:
        sound = str(path) in str(error) and "\n" not in str(error)
        return f"'{path}' is named in one line" if sound else str(error)
    return "read"
