"""DeepWeeds' official files: sound ones read exactly, odd ones refused in one sentence."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from importlib import util
from pathlib import Path

import numpy as np
import pytest

from xbackend.errors import InputError, UsageError
from xbackend.training import deepweeds, jpegs
from xbackend.training.jpegs import JpegImages

COLOURS = ((200, 30, 40), (20, 180, 60), (10, 20, 250))


def picture(colour: tuple[int, int, int], side: int = 256, mode: str = "RGB") -> bytes:
    """Return a JPEG of one colour, which JPEG keeps to a unit or two."""
    image = pytest.importorskip("PIL.Image")
    stream = io.BytesIO()
    image.new("RGB", (side, side), colour).convert(mode).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def names(word: str, count: int) -> list[str]:
    return [f"20170101-10000{number}-{word}.jpg" for number in range(count)]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Like a checkout of the official repository with images.zip in it: 3, 2 and 8 pictures."""
    folder = tmp_path / "DeepWeeds"
    (folder / "labels").mkdir(parents=True)
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for word, count in (("train", 3), ("val", 2), ("test", 8)):
            lines = ["Filename,Label"]
            for number, name in enumerate(names(word, count)):
                archive.writestr(name, picture(COLOURS[number % 3]))
                lines.append(f"{name},{8 - number}")
            path = folder / "labels" / f"{word}_subset0.csv"
            path.write_text("\r\n".join(lines) + "\r\n")
    return folder


def test_a_checkout_gives_the_three_parts_in_the_order_of_their_lists(checkout: Path) -> None:
    data = deepweeds.read(checkout)
    assert data.training.labels.tolist() == [8, 7, 6]
    assert data.validation is not None
    assert data.validation.labels.tolist() == [8, 7]
    assert data.held_out.labels.tolist() == [8, 7, 6, 5, 4, 3, 2, 1]
    assert data.classes[8] == "Negative"
    assert data.divisor == 255
    assert "fold 0" in data.source


def test_pictures_are_decoded_when_they_are_asked_for(checkout: Path) -> None:
    pixels = deepweeds.read(checkout).training.pixels
    assert len(pixels) == 3
    found = pixels[np.array([2, 0])]
    assert found.shape == (2, 256, 256, 3)
    assert found.dtype == np.uint8
    for row, colour in zip(found, (COLOURS[2], COLOURS[0]), strict=True):
        assert np.abs(row.astype(int) - colour).max() <= 2


def test_the_samples_are_pictures_0_1_and_6_of_the_test_list(checkout: Path) -> None:
    samples = deepweeds.read(checkout).samples
    assert samples is not None
    assert samples.indices == (0, 1, 6)
    assert samples.images.labels.tolist() == [8, 7, 2]
    assert np.abs(samples.images.pixels[:][2].astype(int) - COLOURS[0]).max() <= 2


def test_nothing_is_unpacked(checkout: Path) -> None:
    before = sorted(checkout.rglob("*"))
    deepweeds.read(checkout).training.pixels[:]
    assert sorted(checkout.rglob("*")) == before


def test_the_archive_itself_and_the_unpacked_pictures_are_the_same(checkout: Path) -> None:
    whole = deepweeds.read(checkout).training.pixels[:]
    assert np.array_equal(deepweeds.read(checkout / "images.zip").training.pixels[:], whole)
    with zipfile.ZipFile(checkout / "images.zip") as archive:
        archive.extractall(checkout / "images")
    os.remove(checkout / "images.zip")
    assert np.array_equal(deepweeds.read(checkout).training.pixels[:], whole)


def test_pictures_in_a_folder_of_the_archive_and_what_macos_adds_are_no_obstacle(
    checkout: Path,
) -> None:
    with zipfile.ZipFile(checkout / "images.zip") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(checkout / "images.zip", "w") as archive:
        archive.writestr("images/", b"")
        for name, data in members.items():
            archive.writestr(f"images/{name}", data)
            archive.writestr(f"__MACOSX/images/._{name}", b"\0")
    assert deepweeds.read(checkout).training.pixels[:].shape == (3, 256, 256, 3)


def test_a_thinned_set_is_still_files(checkout: Path) -> None:
    thinned = deepweeds.read(checkout).subsample(4).held_out
    assert isinstance(thinned.pixels, JpegImages)
    assert thinned.pixels.names == tuple(names("test", 8)[::2])
    assert thinned.labels.tolist() == [8, 6, 4, 2]


@pytest.mark.parametrize("fold", [-1, 5])
def test_a_fold_that_is_not_there_is_refused(checkout: Path, fold: int) -> None:
    with pytest.raises(UsageError, match=rf"--fold is {fold}; DeepWeeds has the folds 0 to 4"):
        deepweeds.read(checkout, fold)


def test_a_fold_whose_lists_are_missing_says_where_they_are(checkout: Path) -> None:
    with pytest.raises(
        InputError, match=r"lacks train_subset3\.csv, val_subset3\.csv, .*AlexOlsen"
    ):
        deepweeds.read(checkout, 3)


def test_a_missing_list_a_missing_archive_and_a_missing_folder_are_one_sentence(
    checkout: Path,
) -> None:
    (checkout / "labels" / "val_subset0.csv").unlink()
    with pytest.raises(InputError, match=r"lacks val_subset0\.csv\. Take it from labels/"):
        deepweeds.read(checkout)
    (checkout / "images.zip").unlink()
    with pytest.raises(InputError, match=r"neither images\.zip nor a folder 'images'"):
        deepweeds.read(checkout)
    with pytest.raises(InputError, match="does not exist"):
        deepweeds.read(checkout / "nowhere")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["Filename,Label", "a.jpg,9"], "line 2: the label of 'a.jpg' is '9', where 0 to 8"),
        (["Filename,Label", "a.jpg,-1"], "the label of 'a.jpg' is '-1'"),
        (["Filename,Label", "a.jpg"], "the label of 'a.jpg' is ''"),
        (["Filename,Label", "a.jpg,0", "a.jpg,1"], "line 3: 'a.jpg' is there twice"),
        (["Filename,Label", "../a.jpg,0"], "'../a.jpg' is no file name"),
        (["Filename,Label", "..\\a.jpg,0"], "is no file name"),
        (["Filename,Species", "a.jpg,Lantana"], "has no columns Filename and Label"),
        (["Filename,Label"], "names no picture"),
        ([], "has no columns Filename and Label"),
    ],
)
def test_an_odd_list_is_one_sentence(tmp_path: Path, lines: list[str], words: str) -> None:
    path = tmp_path / "train_subset0.csv"
    path.write_text("\n".join(lines))
    with pytest.raises(InputError) as caught:
        deepweeds.read_list(path)
    assert words in str(caught.value)
    assert "AlexOlsen/DeepWeeds" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_list_that_is_no_text_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "train_subset0.csv"
    path.write_bytes(b"Filename,Label\n\xff\xfe,1\n")
    with pytest.raises(InputError, match="cannot be read"):
        deepweeds.read_list(path)


def test_a_list_with_three_columns_is_read_like_labels_csv(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("\ufeffFilename,Label,Species\na.jpg,1,Lantana\nb.jpg,8,Negative\n", "utf-8")
    assert deepweeds.read_list(path) == {"a.jpg": 1, "b.jpg": 8}


def archive_of(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def test_pictures_that_the_archive_lacks_are_counted(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    path = archive_of(tmp_path / "images.zip", ("a.jpg", b"x"))
    with pytest.raises(InputError, match=r"lacks 2 of 3 pictures, 'b\.jpg' among them"):
        JpegImages(path, ["a.jpg", "b.jpg", "c.jpg"], 256)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (lambda: picture(COLOURS[0], side=128), "is a picture of 128x128 in RGB, where 256x256"),
        (lambda: picture(COLOURS[0], mode="L"), "is a picture of 256x256 in L"),
        (lambda: picture(COLOURS[0], mode="CMYK"), "is a picture of 256x256 in CMYK"),
        (lambda: picture(COLOURS[0])[:800], "is damaged or no JPEG picture"),
        (lambda: b"\x89PNG\r\n\x1a\n" + bytes(50), "is damaged or no JPEG picture"),
        (lambda: b"", "is damaged or no JPEG picture"),
    ],
)
def test_an_odd_picture_is_one_sentence_with_its_name(
    tmp_path: Path, data: Callable[[], bytes], words: str
) -> None:
    pytest.importorskip("PIL")
    path = archive_of(tmp_path / "images.zip", ("a.jpg", data()))
    with pytest.raises(InputError) as caught:
        JpegImages(path, ["a.jpg"], 256).check()
    assert words in str(caught.value)
    assert "images.zip: a.jpg" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_picture_whose_checksum_is_wrong_is_refused(tmp_path: Path) -> None:
    data = picture(COLOURS[0])
    path = archive_of(tmp_path / "images.zip", ("a.jpg", data))
    raw = bytearray(path.read_bytes())
    raw[raw.index(data) + len(data) // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(InputError, match=r"a\.jpg' is damaged or no JPEG picture \(Bad CRC"):
        JpegImages(path, ["a.jpg"], 256).check()


@pytest.mark.parametrize("share", [0.0, 0.4, 0.95])
def test_a_truncated_archive_is_one_sentence(checkout: Path, share: float) -> None:
    path = checkout / "images.zip"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match="truncated or no zip archive") as caught:
        deepweeds.read(checkout)
    assert "\n" not in str(caught.value)


def test_a_member_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    path = archive_of(tmp_path / "images.zip", ("a.jpg", b"1"), ("other/a.jpg", b"2"))
    with pytest.raises(InputError, match=r"other/a\.jpg' is there twice"):
        JpegImages(path, ["a.jpg"], 256)


def test_a_member_that_is_a_link_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    link = zipfile.ZipInfo("a.jpg")
    link.external_attr = 0o120777 << 16
    path = archive_of(tmp_path / "images.zip", (link, b"/etc/hostname"))
    with pytest.raises(InputError, match=r"a\.jpg' is a link or a device"):
        JpegImages(path, ["a.jpg"], 256)


def test_an_oversized_member_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("PIL")
    monkeypatch.setattr(jpegs, "MAX_FILE_BYTES", 10)
    path = archive_of(tmp_path / "images.zip", ("a.jpg", bytes(11)))
    with pytest.raises(InputError, match="has 11 bytes, more than any such picture"):
        JpegImages(path, ["a.jpg"], 256)


def test_without_pillow_it_says_what_to_install(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"need Pillow\. .*pip install 'xbackend\[pictures\]'"):
        deepweeds.read(checkout)
