"""A word that is almost one that is known is answered with that one, wherever it is typed."""

import pytest

from xbackend.commands.main import main
from xbackend.errors import did_you_mean, nearest_words


def _refusal(capsys, *arguments):
    with pytest.raises(SystemExit) as leaving:
        raise SystemExit(main(arguments))
    said = capsys.readouterr()
    assert said.out == ""
    assert leaving.value.code == 2
    return said.err.strip().splitlines()


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        ("run --backends pytorch", "'torch'"),
        ("run --backends PyTorch", "'torch'"),
        ("run --backends onnxruntime", "'ort'"),
        ("run --backends tensorflow", "'tf'"),
        ("run --backends tflite-runtime", "'tflite'"),
        ("run --precision fp16", "'float16'"),
        ("run --precision bf16", "'bfloat16'"),
        ("run --precision flaot32", "'float32'"),
        ("run cifar10-smal", "'cifar10-small'"),
        ("run --backends ort --set ort.optimization=none", "'disabled'"),
        ("run --backends ort --set ort.optimisation=all", "'optimization'"),
        ("run --backends ort --set onnxruntime.optimization=all", "'ort'"),
        ("run --backends fixed --platform natve", "'native'"),
        ("run --backends fixed --platform haswell", "'qemu:Haswell'"),
        ("run --backends fixed --platform fleet:x68", "'x86'"),
        ("run --backends fixed --platform pyhton:/p", "'python:/p'"),
        ("run --backends fixed --option onnx_to_int8.weigth=uint8", "'weight'"),
        ("run --backends fixed --option onnx2int8.weight=uint8", "'onnx_to_int8'"),
        ("mitigate --backends ort --mitigations determinsm", "'determinism'"),
        ("mitigate --format jsno", "'json'"),
        ("compare --format jsno", "'json'"),
        ("compare --gate output:bit>=3", "'bits'"),
        ("compare --gate roundin", "'rounding'"),
        ("convert cifar10-small --to tfltie", "'tflite'"),
        ("study layrs", "'layers'"),
        ("models show cifar10-smal", "'cifar10-small'"),
    ],
)
def test_the_nearest_word_is_named_at_the_end_of_the_sentence(
    arguments, meant, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XBACKEND_STORE", str(tmp_path / "store"))
    last = _refusal(capsys, *arguments.split())[-1]
    assert last.endswith(f"Did you mean {meant}?")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("rn", "There is no command 'rn'."),
        (
            "run --bakends ort",
            "'xbackend run' has no option '--bakends'. Did you mean '--backends'?",
        ),
        ("run a b", "'xbackend run' takes no further argument 'b'."),
        ("compare --fail-under x", "'--fail-under x' must be a whole number."),
        ("run --timeout soon", "'--timeout soon' must be a number."),
        ("compare --model", "'--model' needs a value."),
        ("convert model.onnx", "These are needed: --to."),
        ("models shwo", "There is no action 'shwo'. Known: show, train. Did you mean 'show'?"),
    ],
)
def test_wrong_syntax_is_a_sentence_and_one_line_of_where_the_usage_is(arguments, sentence, capsys):
    first, second = _refusal(capsys, *arguments.split())
    assert first.startswith(f"xbackend: {sentence}")
    assert second.startswith("See 'xbackend ")
    assert second.endswith(" --help'.")


def test_a_word_that_is_like_none_is_answered_with_the_list_alone():
    assert did_you_mean("zebra", ["tf", "ort", "torch"]) == ""
    assert did_you_mean("anything", []) == ""


def test_a_word_that_differs_in_case_alone_is_meant_and_nothing_else():
    assert nearest_words("QEMU", ["qemu", "qemu-arm"]) == ["qemu"]


def test_another_name_for_a_word_that_is_not_among_the_known_ones_is_not_offered():
    assert nearest_words("fp16", ["int8"], {"fp16": "float16"}) == []


def test_at_most_three_words_are_named():
    assert len(nearest_words("model1", [f"model{n}" for n in range(2, 9)])) == 3
