"""Free axes: what is chosen, what is tied, what is taken, and how that is said."""

import pytest

from xbackend.errors import InputError, UsageError
from xbackend.preparation.samples.axes import fill_axes, narrow_axes
from xbackend.preparation.samples.choice import sample_choice
from xbackend.worker.artifact import ValueInfo

IDS = ValueInfo("input_ids", "int64", (None, None), ("batch", "seq"))
MASK = ValueInfo("attention_mask", "int64", (None, None), ("batch", "seq"))
BERT = (IDS, MASK)
PADDLE = (ValueInfo("x", "float32", (None, 3, None, None)),)


def shapes(values):
    return [value.shape for value in values]


def test_a_default_is_taken_for_each_name_once_and_said_with_the_cure():
    filled, free = fill_axes(BERT)
    assert shapes(filled) == [(1, 16), (1, 16)]
    said = [axis.sentence((1, 16)) for axis in free]
    assert said == [
        "batch: free, 1 taken; change with --dim batch=…",
        "seq: free, 16 taken; change with --dim seq=…",
    ]


def test_an_axis_without_a_name_is_changed_by_the_whole_shape():
    filled, free = fill_axes(PADDLE)
    assert shapes(filled) == [(1, 3, 224, 224)]
    assert free[1].sentence((1, 3, 224, 224)) == (
        "axis 2 of 'x': free, 224 taken; change with --shape x=1,3,224,224"
    )


@pytest.mark.parametrize(
    ("value", "axis", "extent"),
    [
        (ValueInfo("waveforms", "float32", (None, None), ("batch_size", "N")), 1, 16_000),
        (ValueInfo("input", "float32", (None, None), ("batch", "samples")), 1, 16_000),
        (ValueInfo("input", "float32", (None, None), ("batch", "sequence")), 1, 512),
        (ValueInfo("input", "float32", (None, None)), 1, 512),
        (ValueInfo("ids", "int64", (None, None)), 1, 16),
        (ValueInfo("x", "float32", (None, None, 80)), 1, 16),
        (ValueInfo("state", "float32", (2, None, 128)), 1, 1),
        (ValueInfo("h0", "float32", (1, None, 64)), 1, 1),
        (ValueInfo("x", "float32", (None, None, None, 3)), 1, 224),
        (ValueInfo("x", "float32", (None, None, None, None), ("N", "C", "H", "W")), 1, 3),
    ],
)
def test_what_is_taken_follows_names_and_places(value, axis, extent):
    filled, _ = fill_axes([value])
    assert filled[0].shape[axis] == extent


def test_equal_names_have_equal_extents_however_one_of_them_is_chosen():
    by_dim = narrow_axes(BERT, sample_choice(dims=["seq=5"]))
    assert shapes(by_dim) == [(None, 5), (None, 5)]
    by_shape = narrow_axes(BERT, sample_choice(["input_ids=2,7"]))
    assert shapes(by_shape) == [(2, 7), (2, 7)]


def test_a_name_that_is_a_sum_follows_its_terms():
    total = ValueInfo("mask", "int64", (None, None), ("batch", "past + seq"))
    past = ValueInfo("past", "float32", (None, 2, None, 8), ("batch", "", "past", ""))
    chosen = narrow_axes((IDS, total, past), sample_choice(dims={"past": 4, "seq": 3}))
    assert shapes(chosen) == [(None, 3), (None, 7), (None, 2, 4, 8)]
    filled, _ = fill_axes((IDS, total, past))
    assert filled[1].shape == (1, 32)


def test_a_sum_that_stands_before_its_terms_agrees_with_them():
    total = ValueInfo("mask", "int64", (None, None), ("batch", "past + seq"))
    past = ValueInfo("past", "float32", (None, 2, None, 8), ("batch", "", "past", ""))
    filled, _ = fill_axes((total, IDS, past))
    assert shapes(filled) == [(1, 32), (1, 16), (1, 2, 16, 8)]


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (sample_choice(dims=["sequence=4"]), r"'--dim sequence=4' names no axis.*'batch', 'seq'"),
        (sample_choice(["ids=1,4"]), r"'--shape ids=…' names no input.*'input_ids'"),
        (sample_choice(["input_ids=1,4,4"]), r"no shape that the model takes there: batch,seq"),
        (sample_choice(["input_ids=1,4"], ["seq=5"]), r"contradicts --shape, by which it is 4"),
        (
            sample_choice(["input_ids=1,4", "attention_mask=1,5"]),
            r"makes 'seq' 5, and another --shape 4",
        ),
    ],
)
def test_what_the_model_does_not_have_or_contradicts_itself_is_refused(choice, said):
    with pytest.raises(InputError, match=said):
        narrow_axes(BERT, choice)


def test_an_extent_that_the_model_fixes_cannot_be_another():
    fixed = [ValueInfo("x", "float32", (1, 3, 8, 8))]
    with pytest.raises(InputError, match="no shape that the model takes there: 1,3,8,8"):
        narrow_axes(fixed, sample_choice(["x=1,3,16,16"]))


@pytest.mark.parametrize(
    "given",
    [
        {"shapes": ["x"]},
        {"shapes": ["x=a,b"]},
        {"shapes": {"x": (-1, 3)}},
        {"shapes": {"x": (1.5,)}},
        {"dims": ["seq"]},
        {"dims": {"seq": -4}},
        {"dims": ["=4"]},
        {"resize": "224x224x3"},
        {"resize": 0},
        {"mean": "a"},
        {"std": (1.0, 0.0)},
    ],
)
def test_what_is_no_shape_extent_or_number_is_wrong_usage(given):
    with pytest.raises(UsageError):
        sample_choice(**given)


def test_numpy_integers_are_extents():
    import numpy as np

    assert sample_choice({"x": (np.int64(1), 3)}, {"s": np.int32(4)}).dims == (("s", 4),)
