"""Inputs: what fits a model, what is refused and how it is said, what is made from a seed."""

import hashlib

import numpy as np
import pytest

from xbackend.errors import InputError
from xbackend.preparation.inputs import builtin_inputs, load_inputs, random_inputs
from xbackend.store.store import Store
from xbackend.worker.artifact import ValueInfo

IMAGE = ValueInfo("image", "float32", (1, 4, 4, 3))
FREE = ValueInfo("image", "float32", (None, 4, 4, 3))


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store")
    store.create()
    return store


@pytest.fixture
def given(tmp_path, store):
    def give(array, *interface, **options):
        path = tmp_path / "x.npy"
        np.save(path, array)
        return load_inputs(path, interface, store, **options)

    return give


def _read(sample, name="image"):
    where = sample.inputs[name]
    rows = np.load(where.file)[where.start : where.stop]
    return rows[0] if where.drop_axis else rows


def _numbers(*shape, dtype=np.float32):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@pytest.mark.parametrize("interface", [IMAGE, FREE])
@pytest.mark.parametrize(
    ("shape", "count"), [((1, 4, 4, 3), 1), ((4, 4, 3), 1), ((5, 4, 4, 3), 5), ((5, 1, 4, 4, 3), 5)]
)
def test_an_array_holds_one_sample_or_many(given, interface, shape, count):
    array = _numbers(*shape)
    inputs = given(array, interface)
    samples = inputs.samples([interface])
    assert [sample.name for sample in samples] == [str(i) for i in range(count)]
    for index, sample in enumerate(samples):
        expected = array.reshape(count, 1, 4, 4, 3)[index]
        assert _read(sample).tobytes() == expected.tobytes()
        assert _read(sample).shape == (1, 4, 4, 3)


def test_the_order_of_the_bytes_in_the_file_changes_no_bit(given):
    array = _numbers(2, 4, 4, 3)
    little, big = given(array, FREE), given(array.astype(">f4"), FREE)
    assert big.digest == little.digest
    (first, _) = big.samples([FREE])
    assert _read(first).tobytes() == array[:1].tobytes()


def test_a_model_with_a_fixed_batch_takes_that_many_rows_at_a_time(given):
    value = ValueInfo("image", "float32", (2, 3))
    array = _numbers(6, 3)
    samples = given(array, value).samples([value])
    assert [_read(s).tolist() for s in samples] == [array[i : i + 2].tolist() for i in (0, 2, 4)]


def test_a_scalar_input_is_given_as_a_scalar_or_as_a_list_of_them(given):
    value = ValueInfo("n", "float32", ())
    assert _read(given(np.float32(3), value).samples([value])[0], "n").shape == ()
    assert len(given(np.ones(4, np.float32), value).samples([value])) == 4


@pytest.mark.parametrize("shape", [(4, 4), (1, 3, 4, 4), (0, 4, 4, 3), (2, 2, 4, 4, 3)])
def test_a_wrong_shape_is_told_with_both_shapes(given, shape):
    with pytest.raises(InputError) as caught:
        given(np.zeros(shape, np.float32), IMAGE)
    assert str(tuple(shape)) in str(caught.value)
    assert "(1, 4, 4, 3)" in str(caught.value)


def test_a_wrong_dtype_is_told_with_the_cure(given):
    with pytest.raises(InputError, match=r"float64.*array\.astype\('float32'\)"):
        given(np.zeros((1, 4, 4, 3)), IMAGE)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_unless_asked_for(given, bad):
    array = np.zeros((1, 4, 4, 3), np.float32)
    array[0, 0, 0, 0] = bad
    with pytest.raises(InputError, match=r"1 NaN or infinite values.*--allow-nonfinite"):
        given(array, IMAGE)
    kept = _read(given(array, IMAGE, allow_nonfinite=True).samples([IMAGE])[0])
    assert kept.tobytes() == array.tobytes()


def test_a_wrong_name_is_told_with_the_right_ones(tmp_path, store):
    np.savez(tmp_path / "x.npz", picture=np.zeros((1, 4, 4, 3), np.float32))
    with pytest.raises(InputError, match=r"'picture'.*'image'"):
        load_inputs(tmp_path / "x.npz", [IMAGE], store)


def test_several_inputs_come_by_name(tmp_path, store):
    two = [ValueInfo("a", "float32", (None, 2)), ValueInfo("b", "int64", (None,))]
    np.savez(tmp_path / "x.npz", b=np.array([7, 8]), a=np.ones((2, 2), np.float32))
    samples = load_inputs(tmp_path / "x.npz", two, store).samples(two)
    assert _read(samples[1], "b").tolist() == [8]
    np.savez(tmp_path / "y.npz", b=np.array([7]), a=np.ones((2, 2), np.float32))
    with pytest.raises(InputError, match="different numbers of samples"):
        load_inputs(tmp_path / "y.npz", two, store)


def test_a_pickle_in_an_npy_file_is_not_executed(tmp_path, store):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    np.save(tmp_path / "x.npy", np.array([Bomb()], object), allow_pickle=True)
    with pytest.raises(InputError, match=r"numpy\.save"):
        load_inputs(tmp_path / "x.npy", [IMAGE], store)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("data", [b"", b"\x93NUMPY", b"PK\x03\x04", b"nonsense"])
def test_a_file_that_is_no_array_is_told_in_one_sentence(tmp_path, store, data):
    (tmp_path / "x.npy").write_bytes(data)
    with pytest.raises(InputError) as caught:
        load_inputs(tmp_path / "x.npy", [IMAGE], store)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_told(tmp_path, store):
    with pytest.raises(InputError, match=r"none\.npy: No such file"):
        load_inputs(tmp_path / "none.npy", [IMAGE], store)


def test_made_samples_have_bits_that_were_written_down(store):
    samples = random_inputs([IMAGE], store).samples([IMAGE])
    assert [sample.name for sample in samples] == ["random-0", "random-1", "random-2"]
    array = np.concatenate([_read(sample) for sample in samples])
    generator = np.random.Generator(np.random.PCG64([0, 0]))
    whole = generator.integers(0, 1 << 24, (3, 4, 4, 3), dtype=np.int64)
    assert (array * np.float32(1 << 24)).astype(np.int64).tolist() == whole.tolist()
    assert hashlib.sha256(array.tobytes()).hexdigest()[:16] == "039d7b38e15014d9"


def test_inputs_of_any_number_of_axes_cannot_be_made(store):
    with pytest.raises(InputError, match=r"any number of axes.*--shape x=…, or give one with"):
        random_inputs([ValueInfo("x", "float32", None)], store)


def test_made_integers_are_small_and_made_bools_are_bools(store):
    interface = [ValueInfo("i", "int64", (1, 64)), ValueInfo("b", "bool", (1, 64))]
    sample = random_inputs(interface, store).samples(interface)[0]
    assert set(_read(sample, "i").ravel()) == set(range(8))
    assert _read(sample, "b").dtype == np.bool_


def test_shipped_samples_are_used_where_they_lie(tmp_path):
    np.save(tmp_path / "s.npy", _numbers(2, 4, 4, 3))
    samples = builtin_inputs(tmp_path / "s.npy", ("one", "two"), "abc").samples([IMAGE])
    assert [sample.name for sample in samples] == ["one", "two"]
    assert _read(samples[1]).ravel()[0] == 48


def test_all_samples_go_into_one_npz_by_input_name(given, tmp_path):
    path = given(_numbers(2, 4, 4, 3), FREE).write_npz(tmp_path / "all.npz", [FREE])
    with np.load(path) as arrays:
        assert list(arrays) == ["image"]
        assert arrays["image"].shape == (2, 1, 4, 4, 3)


def test_samples_of_several_rows_keep_an_axis_of_their_own(given, tmp_path):
    state = ValueInfo("state", "float32", (2, None, 3))
    path = given(_numbers(3, 2, 1, 3), state).write_npz(tmp_path / "all.npz", [state])
    rows = given(_numbers(6, 1, 3), state).write_npz(tmp_path / "rows.npz", [state])
    with np.load(path) as whole, np.load(rows) as flat:
        assert whole["state"].shape == (3, 2, 1, 3)
        assert flat["state"].tobytes() == whole["state"].tobytes()


def test_an_input_of_bfloat16_is_given_and_made_in_float32(given, store):
    value = ValueInfo("x", "bfloat16", (1, 2))
    array = np.array([[0.5, 1.25]], np.float32)
    (sample,) = given(array, value).samples([value])
    assert _read(sample, "x").tobytes() == array.tobytes()
    made = random_inputs([value], store).samples([value])
    assert _read(made[0], "x").dtype == np.float32


@pytest.mark.parametrize("dtype", ["object", "float8e4m3fn", "str"])
def test_an_input_of_no_numbers_is_refused(given, store, dtype):
    value = ValueInfo("words", dtype, (1, 2))
    with pytest.raises(InputError, match=f"'words' takes {dtype}, which is no format of numbers"):
        random_inputs([value], store)
    with pytest.raises(InputError, match="no format of numbers"):
        given(_numbers(1, 2), value)
