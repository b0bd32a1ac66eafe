"""What `xbackend models train` is asked for: names, variants, data, refusals."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from xbackend.commands.main import main
from xbackend.errors import InputError, UsageError
from xbackend.models import dataset
from xbackend.training import train
from xbackend.training.fit import Recipe
from xbackend.training.jpegs import JpegImages
from xbackend.training.train import DatasetSource, split_name


@pytest.mark.parametrize(
    ("name", "variant", "network", "word"),
    [
        ("cifar10-small", None, "cifar10-small", "relu"),
        ("cifar10-small", "linear", "cifar10-small", "linear"),
        ("cifar10-r18-sigmoid", None, "cifar10-r18", "sigmoid"),
        ("cifar10-r18-sigmoid", "sigmoid", "cifar10-r18", "sigmoid"),
        ("cifar10-small-relu", None, "cifar10-small", "relu"),
        ("deepweeds-r50v2", None, "deepweeds-r50v2", "relu"),
    ],
)
def test_a_variant_is_named_by_the_model_or_by_the_option(
    name: str, variant: str | None, network: str, word: str
) -> None:
    assert split_name(name, variant) == (network, word)


def test_a_name_and_an_option_that_do_not_agree_are_refused() -> None:
    with pytest.raises(UsageError, match="says 'sigmoid' and --variant says 'linear'"):
        split_name("cifar10-r18-sigmoid", "linear")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["cifar10-large", "--digits"], "no network 'cifar10-large' to train"),
        (["cifar10-r18-batchnorm", "--digits"], "no variant 'batchnorm'"),
        (["cifar10-r18", "--variant", "tanh", "--digits"], "no variant 'tanh'"),
        (["cifar10-small", "--digits", "--threads", "0"], "--threads is 0"),
        (["cifar10-small", "--digits", "--limit", "0"], "--limit is 0; give a number from 1"),
        (["cifar10-small", "--digits", "--fold", "1"], "--fold is for DeepWeeds"),
        (["deepweeds-r50v2", "--digits"], "The digits are 32x32"),
        (["deepweeds-r50v2", "--data", "nowhere"], "'nowhere' does not exist"),
        (["cifar10-r18", "--data", "nowhere"], "'nowhere' does not exist"),
    ],
)
def test_what_cannot_be_trained_is_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.chdir(tmp_path)
    assert main(["models", "train", *arguments, "--output", "out"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert words in said.err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_picture_is_told_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = pytest.importorskip("PIL.Image")
    stream = io.BytesIO()
    image.new("RGB", (256, 256)).save(stream, "JPEG")
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("a.jpg", stream.getvalue())
        archive.writestr("b.jpg", stream.getvalue()[:500])
    sound, damaged = (
        dataset.Images(JpegImages(tmp_path / "images.zip", [name], 256), np.zeros(1, np.int64))
        for name in ("a.jpg", "b.jpg")
    )
    data = dataset.Dataset(sound, damaged, ("a",), 255, "t", "s")
    monkeypatch.setattr(train, "check_recipe", lambda recipe: None)
    monkeypatch.setattr(train, "_read", lambda model, source: data)
    monkeypatch.setattr(train, "train_model", lambda *what: pytest.fail("it was trained"))
    told: list[str] = []
    with pytest.raises(InputError, match=r"images\.zip: b\.jpg' is damaged"):
        train.train(Recipe(), DatasetSource(None), tmp_path / "out", told.append)
    assert told == ["reading 2 pictures"]
