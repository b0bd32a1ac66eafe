"""Archives that unpack to too much, or elsewhere, are refused before a byte is unpacked."""

from __future__ import annotations

import io
import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from xbackend.errors import InputError
from xbackend.preparation import archive
from xbackend.preparation.archive import archive_fault, list_bytes, size_fault
from xbackend.preparation.numpy_file import read_numpy


def write(path: Path, *members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as made:
        for name, data in members:
            made.writestr(name, data)
    return path


def test_a_sound_archive_passes(tmp_path: Path) -> None:
    np.savez(tmp_path / "plain.npz", x=np.arange(100_000), y=np.ones(3))
    np.savez_compressed(tmp_path / "packed.npz", x=np.arange(100_000))
    for name in ("plain.npz", "packed.npz"):
        assert archive_fault(tmp_path / name) == ""
    assert set(read_numpy(tmp_path / "plain.npz", "the inputs", "")) == {"x", "y"}


def test_a_bomb_is_refused_at_once_by_what_it_says_of_itself(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made, made.open("x.npy", "w") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": (100 << 20,)}
        )
        for _ in range(100):
            file.write(bytes(4 << 20))
    started = time.monotonic()
    with pytest.raises(InputError, match="more than 200 times its"):
        read_numpy(path, "the inputs", "")
    assert time.monotonic() - started < 1


def test_small_content_may_be_pressed_as_far_as_it_goes(tmp_path: Path) -> None:
    assert archive_fault(write(tmp_path / "a.npz", ("x.npy", bytes(8 << 20)))) == ""


def test_more_than_the_free_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "default_memory", lambda: 1 << 20)
    assert "memory are free" in size_fault(2 << 20, 1 << 20)
    assert size_fault(2 << 20, 2 << 20) == ""


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/x", "\\x", "C:\\x", "a\\..\\x", "a\x1b[0m", "a\nb"]
)
def test_names_that_lead_elsewhere_or_speak_to_a_terminal_are_refused(
    tmp_path: Path, name: str
) -> None:
    assert "put elsewhere" in archive_fault(write(tmp_path / "a.zip", (name, b"x")))


def test_names_with_dots_pass(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", ("a..b/c.d", b"x"), ("..hidden", b"x"))
    assert archive_fault(path) == ""


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        path = write(tmp_path / "a.zip", ("x", b"1"), ("x", b"2"))
    assert "two files of one name" in archive_fault(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_of_compression_are_refused(tmp_path: Path, method: int) -> None:
    path = write(tmp_path / "a.zip", ("x", b"1" * 100), method=method)
    assert f"method {method}" in archive_fault(path)


def test_an_archive_within_an_archive_is_refused_but_where_it_belongs(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as made:
        made.writestr("x", b"x")
    path = write(tmp_path / "a.zip", ("data/x.pt", inner.getvalue()))
    assert "another archive: 'data/x.pt'" in archive_fault(path)
    assert archive_fault(path, nested=(".pt",)) == ""


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.zip", *((str(number), b"") for number in range(11)))
    monkeypatch.setattr(archive, "MEMBERS", 10)
    assert "holds 11 files" in archive_fault(path)


def test_a_long_list_of_contents_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", ("x", b"x"))
    data = bytearray(path.read_bytes())
    struct.pack_into("<L", data, len(data) - 22 + 12, 1 << 30)
    path.write_bytes(data)
    assert "list of contents of 1073741824 bytes" in archive_fault(path)


def test_the_list_of_a_large_archive_is_measured_by_its_own_record() -> None:
    record = b"PK\x06\x06" + struct.pack("<Q2H2L4Q", 44, 45, 45, 0, 0, 9, 9, 12345, 0)
    locator = b"PK\x06\x07" + struct.pack("<LQL", 0, 0, 1)
    end = b"PK\x05\x06" + struct.pack("<4H2LH", 0, 0, 65535, 65535, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    assert list_bytes(io.BytesIO(record + locator + end)) == 12345
