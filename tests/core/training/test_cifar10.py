"""CIFAR-10's binary files: sound ones read exactly, odd ones refused in one sentence."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from xbackend.errors import InputError
from xbackend.training import cifar10

NAMES = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]


def record(label: int, red: int, green: int, blue: int) -> bytes:
    """Return one picture of a single colour, in the official layout."""
    return bytes([label]) + bytes([red]) * 1024 + bytes([green]) * 1024 + bytes([blue]) * 1024


@pytest.fixture
def contents() -> dict[str, bytes]:
    """Two records for each of the six files; the label tells the file."""
    return {
        name: record(index, index, 100, 200) + record(9, 0, 0, index)
        for index, name in enumerate(NAMES)
    }


@pytest.fixture
def folder(tmp_path: Path, contents: dict[str, bytes]) -> Path:
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def archive(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def tarball(tmp_path: Path, contents: dict[str, bytes]) -> Callable[..., Path]:
    """Write an archive like the official one, with members added or replaced."""

    def write(*extra: tuple[tarfile.TarInfo, bytes], without: str = "") -> Path:
        members = [
            (tarfile.TarInfo(f"cifar-10-batches-bin/{name}"), data)
            for name, data in contents.items()
            if name != without
        ]
        return archive(tmp_path / "cifar-10-binary.tar.gz", [*extra, *members])

    return write


def test_pixels_come_out_by_row_column_and_colour() -> None:
    planes = np.arange(3072, dtype=np.int64).reshape(3, 32, 32) % 251
    images = cifar10.decode(bytes([7]) + planes.astype(np.uint8).tobytes(), "x.bin")
    assert images.labels.tolist() == [7]
    assert images.pixels.shape == (1, 32, 32, 3)
    assert images.pixels.dtype == np.uint8
    row, column = 5, 11
    place = row * 32 + column
    expected = [place % 251, (1024 + place) % 251, (2048 + place) % 251]
    assert images.pixels[0, row, column].tolist() == expected


def test_a_folder_of_six_files_gives_training_and_held_out_pictures(folder: Path) -> None:
    data = cifar10.read(folder)
    assert data.training.labels.tolist() == [0, 9, 1, 9, 2, 9, 3, 9, 4, 9]
    assert data.held_out.labels.tolist() == [5, 9]
    assert data.training.pixels[2, 0, 0].tolist() == [1, 100, 200]
    assert data.classes[3] == "cat"
    assert data.divisor == 255


def test_the_archive_the_folder_it_lies_in_and_the_unpacked_folder_are_the_same(
    tarball: Callable[..., Path], tmp_path: Path
) -> None:
    packed = cifar10.read(tarball())
    beside = cifar10.read(tmp_path)
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz") as tar:
        for member in tar:
            target = tmp_path / "unpacked" / member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            stream = tar.extractfile(member)
            assert stream is not None
            target.write_bytes(stream.read())
    unpacked = cifar10.read(tmp_path / "unpacked")
    for other in (beside, unpacked):
        assert np.array_equal(packed.training.pixels, other.training.pixels)
        assert np.array_equal(packed.held_out.labels, other.held_out.labels)


def test_an_archive_is_never_unpacked_to_disk(tarball: Callable[..., Path], tmp_path: Path) -> None:
    outside = tarfile.TarInfo("../../outside.bin")
    absolute = tarfile.TarInfo(str(tmp_path / "absolute.bin"))
    path = tarball((outside, b"x"), (absolute, b"x"))
    before = sorted(tmp_path.rglob("*"))
    assert len(cifar10.read(path).training.labels) == 10
    assert sorted(tmp_path.rglob("*")) == before
    assert not (tmp_path.parent.parent / "outside.bin").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_a_member_that_is_no_file_is_refused(tarball: Callable[..., Path], kind: bytes) -> None:
    link = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
    link.type, link.linkname = kind, "data_batch_1.bin"
    with pytest.raises(InputError, match=r"test_batch\.bin' is a link or a device"):
        cifar10.read(tarball((link, b""), without="test_batch.bin"))


def test_a_member_that_is_there_twice_is_refused(tarball: Callable[..., Path]) -> None:
    double = tarfile.TarInfo("elsewhere/test_batch.bin")
    with pytest.raises(InputError, match="is there twice"):
        cifar10.read(tarball((double, record(1, 2, 3, 4))))


def test_an_archive_that_lacks_a_file_names_it(tarball: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match=r"lacks data_batch_3\.bin of CIFAR-10"):
        cifar10.read(tarball(without="data_batch_3.bin"))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_archive_is_one_sentence(tarball: Callable[..., Path], share: float) -> None:
    path = tarball()
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match="truncated or no tar archive") as caught:
        cifar10.read(path)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_archive_are_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(InputError, match="truncated or no tar archive"):
        cifar10.read(path)


@pytest.mark.parametrize("size", [0, 1, 3072, 3074, 2 * 3073 - 1])
def test_a_file_of_no_whole_number_of_records_is_refused(folder: Path, size: int) -> None:
    (folder / "data_batch_2.bin").write_bytes(bytes(size))
    with pytest.raises(InputError, match=rf"data_batch_2\.bin' has {size} bytes"):
        cifar10.read(folder)


def test_a_label_above_nine_is_refused_with_its_place(folder: Path) -> None:
    data = record(3, 0, 0, 0) + record(10, 0, 0, 0)
    (folder / "test_batch.bin").write_bytes(data)
    with pytest.raises(InputError, match="label 10 in record 1"):
        cifar10.read(folder)


def test_a_folder_without_the_data_says_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lacks data_batch_1\.bin, .*test_batch\.bin"):
        cifar10.read(tmp_path)


def test_a_path_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing' does not exist\. Give cifar-10-binary"):
        cifar10.read(tmp_path / "nothing")


def test_the_python_version_of_the_archive_is_refused_because_it_is_pickles(
    tmp_path: Path,
) -> None:
    pickled = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
    path = archive(tmp_path / "cifar-10-python.tar.gz", [(pickled, b"cos\nsystem\n.")])
    with pytest.raises(InputError, match="pickles, which are never opened"):
        cifar10.read(path)


def test_an_oversized_file_is_refused_before_it_is_read(folder: Path) -> None:
    with (folder / "test_batch.bin").open("wb") as stream:
        stream.truncate(cifar10.MAX_FILE_BYTES + 1)
    with pytest.raises(InputError, match="more than any CIFAR-10 file"):
        cifar10.read(folder)
