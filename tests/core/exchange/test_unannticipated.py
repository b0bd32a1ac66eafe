"""The importer of the published study, on small files of its format that are written by hand."""

from __future__ import annotations

import base64
import copy
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xbackend.comparison.compare import compare
from xbackend.converters.importers.unannticipated import runs
from xbackend.exchange.importing import import_runs
from xbackend.plugins.importer import ImportedRun, ImportIssue
from xbackend.store.store import Store

Write = Callable[..., Path]

CPU = {
    "python_version": "3.6.9.final.0 (64 bit)",
    "cpuinfo_version_string": "8.0.0",
    "count": 4,
    "arch_string_raw": "x86_64",
    "vendor_id_raw": "GenuineIntel",
    "brand_raw": "Intel(R)  Imaginary CPU",
    "family": 6,
    "model": 63,
    "stepping": 2,
    "flags": ["fma", "avx2", "avx2", "sse"],
    "l1_data_cache_size": 32768,
    "l2_cache_size": "1.5 MiB",
    "l3_cache_size": 26214400,
}
GPU_NAME = {"name": "NVIDIA GeForce RTX 2070", "compute capability": "7.5"}
GPU = {"device_type": "GPU", "memory_limit": 7000, "physical_description": GPU_NAME}
AWS = "equivalence_classes/aws/cpu"


def array(*values: float, shape: list[int] | None = None, dtype: str = "float32") -> dict[str, Any]:
    """Return numbers as the study keeps them."""
    letter = {"float16": "e", "float32": "f", "float64": "d"}[dtype]
    data = struct.pack(f"<{len(values)}{letter}", *values)
    return {
        "bytes": base64.b64encode(data).decode(),
        "dtype": dtype,
        "shape": shape or [1, len(values)],
    }


def result(*values: float, **keys: Any) -> dict[str, Any]:
    """Return a file's object: these numbers on an imaginary Haswell."""
    return {
        "cpu_info": copy.deepcopy(CPU),
        "memory": {"total": 8000, "free": 1},
        "device": {"name": "/device:CPU:0", "device_type": "CPU"},
        "prediction": array(*values),
        "model_type": "net_small",
        "batch_dissemination": True,
        **keys,
    }


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file of a made-up checkout."""

    def write(path: str, content: Any) -> Path:
        file = tmp_path / "checkout" / "experiments" / "results" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        return file

    return write


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return tmp_path / "checkout"


def split(folder: Path) -> tuple[list[ImportedRun], list[str]]:
    """Return what is imported, and what is said of the rest."""
    found = list(runs(folder))
    good = [each for each in found if isinstance(each, ImportedRun)]
    return good, [each.message for each in found if isinstance(each, ImportIssue)]


def bits(run: ImportedRun) -> dict[str, bytes]:
    """Return a run's samples and their bytes."""
    return {sample.input: sample.outputs["prediction"].data() for sample in run.samples}


def test_the_files_of_one_machine_and_model_are_one_run(write: Write, checkout: Path) -> None:
    for sample, value in ((0, 1.0), (1, 2.0), (6, 3.0)):
        write(f"{AWS}/t9.large-Imaginary__1_-net_small-i{sample}.json", result(value))
    (run,), said = split(checkout)
    assert said == []
    assert bits(run) == {
        "0": b"\x00\x00\x80\x3f", "1": b"\x00\x00\x00\x40", "6": b"\x00\x00\x40\x40",
    }  # fmt: skip
    assert (run.model, run.precision, run.backend, run.backend_version) == (
        "net_small", "float32", "tf", "2.5.0",
    )  # fmt: skip
    assert run.platform == "aws:t9.large"
    assert run.settings == {"device": "cpu"}
    assert run.software == {"python": "3.6.9"}
    assert run.hardware == {
        "vendor": "Intel", "device": "Intel(R) Imaginary CPU", "microarchitecture": "Haswell",
        "cores": 4, "memory_bytes": 8000, "flags": ["avx2", "fma", "sse"],
        "caches": {"L1d": 32768, "L3": 26214400}, "machine": "x86_64",
        "family": 6, "model": 63, "stepping": 2,
    }  # fmt: skip
    assert run.facts["experiment"] == "equivalence_classes"
    assert run.facts["files"][0] == f"{AWS}/t9.large-Imaginary__1_-net_small-i0.json"
    assert run.facts["batch_dissemination"] is True


def test_every_experiments_folder_tells_what_its_files_do_not(write: Write, checkout: Path) -> None:
    half = result(1.0, prediction=array(1.0, dtype="float16"), model_type="net_small_float16")
    write("precision/net_small_float16/amd-rome-2.json", half)
    write("race_conditions/amd-rome-4.json", result(1.0))
    layer = result(1.0, model_type="net-conv_3")
    write("input_distribution/net-conv_3/permutation_i0/amd_rome_8.json", layer)
    fitted = result(1.0, model_type="fitted_distribution")
    here = "parameter_distribution/net-conv_3"
    write(f"{here}/fitted_distribution-samples_normal_seed42/amd_milan.json", fitted)
    write(f"{here}/fitted_distribution/amd_milan-random.json", fitted)
    found, said = split(checkout)
    assert said == []
    told = {
        (run.facts["experiment"], run.model, run.precision, run.platform, sample.input)
        for run in found
        for sample in run.samples
    }
    model = "net-conv_3-fitted_distribution"
    assert told == {
        ("precision", "net_small", "float16", "gcloud:amd-rome-2", "0"),
        ("race_conditions", "net_small", "float32", "gcloud:amd-rome-4", "0"),
        ("input_distribution", "net-conv_3", "float32", "gcloud:amd-rome-8", "permutation_i0"),
        ("parameter_distribution", model, "float32", "gcloud:amd-milan", "samples_normal_seed42"),
        ("parameter_distribution", model, "float32", "gcloud:amd-milan", "random"),
    }


@pytest.mark.parametrize(
    "below", ["", "experiments/results", f"experiments/results/{AWS}", "experiments/results/equiv*"]
)
def test_any_folder_above_or_among_the_data_gives_the_same_runs(
    write: Write, checkout: Path, below: str
) -> None:
    write(f"{AWS}/t9.large-X-net_small-i0.json", result(1.0))
    (folder,) = checkout.glob(below) if below else [checkout]
    (whole,), _ = split(checkout)
    (part,), _ = split(folder)
    assert part.facts == whole.facts
    assert (part.platform, part.model, bits(part)) == (whole.platform, whole.model, bits(whole))


def test_what_lies_in_no_experiments_folder_is_passed_over(write: Write, checkout: Path) -> None:
    write("instrumental/other.json", "[]")
    write("race_conditions/amd-rome-4.json", result(1.0))
    found, said = split(checkout)
    assert (len(found), said) == (1, [])


def test_an_output_with_and_without_an_axis_for_the_batch_is_the_same(
    write: Write, checkout: Path, tmp_path: Path
) -> None:
    for name, shape in (("one", [2]), ("two", [1, 2])):
        row = result(1.0, prediction=array(1.0, 2.0, shape=shape))
        write(f"equivalence_classes/local/cpu/{name}-X-net_small-i0.json", row)
    store = Store(tmp_path / "store")
    store.create()
    import_runs(store, "unannticipated", runs(checkout))
    (sample,) = compare(store).samples
    assert [len(ids) for ids in sample.eqcs] == [2]
    assert sample.outputs[0].shape == (1, 2)


def test_a_machine_of_the_same_name_with_another_processor_is_another_run(
    write: Write, checkout: Path
) -> None:
    write(f"{AWS}/m5.large-One-net_small-i0.json", result(1.0))
    write(f"{AWS}/m5.large-Two-net_small-i0.json", result(1.0, cpu_info={**CPU, "brand_raw": "B"}))
    found, _ = split(checkout)
    assert [run.platform for run in found] == ["aws:m5.large"] * 2
    assert {run.hardware["device"] for run in found} == {"B", "Intel(R) Imaginary CPU"}


def test_a_checkout_that_is_there_twice_adds_no_run(
    write: Write, checkout: Path, tmp_path: Path
) -> None:
    for folder in ("", "copy/"):
        write(f"{folder}{AWS}/t9.large-X-net_small-i0.json", result(1.0))
    store = Store(tmp_path / "store")
    store.create()
    assert import_runs(store, "unannticipated", runs(checkout)).added == 1


def test_a_gpu_is_the_hardware_and_the_processor_its_host(write: Write, checkout: Path) -> None:
    row = result(1.0, device=GPU)
    write("equivalence_classes/local/gpu/consumer-RTX_2070-net_small-i0.json", row)
    (run,), _ = split(checkout)
    assert run.settings == {"device": "gpu"}
    host = run.hardware["host"]
    assert (host["vendor"], host["cores"]) == ("Intel", 4)
    assert {key: run.hardware[key] for key in run.hardware if key != "host"} == {
        "vendor": "NVIDIA", "device": "GeForce RTX 2070", "microarchitecture": "Turing",
        "memory_bytes": 7000, "flags": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    "every",
    [
        array(1, 2, 1, 3, 1, 2, shape=[3, 2]),
        array(1, 2, 1, 3, 1, 2, shape=[3, 1, 2]),
        [array(1, 2, shape=[2]), array(1, 3), array(1, 2)],
    ],
    ids=["array", "array with batches", "list"],
)
def test_repeats_are_further_runs_and_the_prediction_is_the_first_of_them(
    write: Write, checkout: Path, every: Any
) -> None:
    row = result(1.0, 2.0, all_predictions=every, count=2)
    write("race_conditions/amd-rome-4.json", row)
    found, said = split(checkout)
    assert said == []
    assert [run.repeat for run in found] == [0, 1, 2]
    assert [struct.unpack("<2f", bits(run)["0"]) for run in found] == [(1, 2), (1, 3), (1, 2)]


def test_a_count_that_the_bits_contradict_is_named(write: Write, checkout: Path) -> None:
    every = array(1, 2, 1, 3, shape=[2, 2])
    write("race_conditions/a.json", result(1.0, 2.0, all_predictions=every, count=2))
    write("race_conditions/b.json", result(1.0, 4.0, all_predictions=every))
    found, said = split(checkout)
    assert [run.repeat for run in found] == [0, 1, 0, 1, 2]
    assert said == [
        "race_conditions: imported, 1 file with 2 equal predictions counted, where 1 are.",
        "race_conditions: imported, 1 file with a prediction that is none of all_predictions.",
    ]


def test_files_that_lack_fields_are_imported_and_named(write: Write, checkout: Path) -> None:
    bare = {"prediction": array(1.0)}
    write(f"{AWS}/t9.large-X-net_small-i0.json", bare)
    write(f"{AWS}/t9.large-X-net_small-i1.json", bare)
    (run,), said = split(checkout)
    assert (run.model, run.platform, sorted(bits(run))) == ("net_small", "aws:t9.large", ["0", "1"])
    assert run.hardware == {}
    assert said == [
        f"{AWS}: imported, 2 files without 'model_type'.",
        f"{AWS}: imported, 2 files without 'cpu_info'.",
        f"{AWS}: imported, 2 files without 'memory'.",
    ]


def test_a_part_of_the_processor_that_is_not_told_is_named(write: Write, checkout: Path) -> None:
    told = {key: value for key, value in CPU.items() if key not in ("flags", "count")}
    write("race_conditions/a.json", result(1.0, cpu_info=told))
    (run,), said = split(checkout)
    assert {"flags", "cores"} & set(run.hardware) == set()
    assert said == [
        "race_conditions: imported, 1 file without 'cpu_info.count'.",
        "race_conditions: imported, 1 file without 'cpu_info.flags'.",
    ]


def test_a_stepping_that_is_left_out_is_zero(write: Write, checkout: Path) -> None:
    cpu = {key: value for key, value in CPU.items() if key != "stepping"}
    write("race_conditions/a.json", result(1.0, cpu_info=cpu))
    (run,), _ = split(checkout)
    assert (run.hardware["stepping"], run.hardware["microarchitecture"]) == (0, "Haswell")


BAD: dict[str, tuple[Any, str]] = {
    "not JSON": ("{", "it is not sound JSON"),
    "too deep": ("[" * 100_000, "it is nested too deeply"),
    "a list": ("[]", "it is not a JSON object"),
    "a huge number": ("1" * 5000, "it is not sound JSON"),
    "nothing": ({}, "it has no 'prediction'"),
    "no base64": (
        result(prediction={"bytes": "AA=A", "dtype": "float32", "shape": [1]}),
        "are not base64",
    ),
    "no ASCII": (
        result(prediction={"bytes": "é===", "dtype": "float32", "shape": [1]}),
        "are not base64",
    ),
    "a number of bytes": (
        result(prediction={**array(1.0), "shape": [1, 2]}),
        "'prediction' has 4 bytes; float32 [1, 2] has 8",
    ),
    "an object's dtype": (result(prediction={**array(1.0), "dtype": "object"}), "dtype 'object'"),
    "a structured dtype": (result(prediction={**array(1.0), "dtype": "f4,f4"}), "dtype 'f4,f4'"),
    "no dtype": (result(prediction={"bytes": "", "shape": [1]}), "has dtype None"),
    "a negative extent": (result(prediction={**array(1.0), "shape": [-1, -1]}), "has shape"),
    "no extent": (result(prediction={**array(1.0), "shape": [0]}), "has shape"),
    "a fraction": (result(prediction={**array(1.0), "shape": [1.0]}), "has shape"),
    "a truth": (result(prediction={**array(1.0), "shape": [True]}), "has shape"),
    "no shape": (result(prediction={**array(1.0), "shape": None}), "has no shape"),
    "another model": (result(1.0, model_type="net_large"), "its path names the model 'net_small'"),
    "repeats of another shape": (
        result(1.0, all_predictions=array(1, 2, 3, 4, shape=[2, 2])),
        "'all_predictions' has float32 [1, 2], 'prediction' float32 [1, 1]",
    ),
    "repeats of another dtype": (
        result(1.0, all_predictions=[array(1.0, dtype="float64")]),
        "'all_predictions' has float64",
    ),
    "repeats of nothing": (result(1.0, all_predictions=[]), "neither an array nor a list"),
    "repeats without an axis": (
        result(1.0, all_predictions=array(1, shape=[1])),
        "without an axis for the repeats",
    ),
    "too many repeats": (
        result(1.0, all_predictions=array(*range(2000), shape=[2000, 1])),
        "2000 repeats, more than 1000",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_is_not_sound_is_named_and_the_others_are_imported(
    write: Write, checkout: Path, case: str
) -> None:
    content, why = BAD[case]
    write(f"{AWS}/good-X-net_small-i0.json", result(1.0))
    write(f"{AWS}/bad-X-net_small-i0.json", content)
    found, said = split(checkout)
    assert [run.platform for run in found] == ["aws:good"]
    (sentence,) = said
    assert sentence.startswith(f"{AWS}/bad-X-net_small-i0.json is not imported: ")
    assert why in sentence
    assert len(sentence) < 300


@pytest.mark.parametrize(
    ("path", "why"),
    [
        (f"{AWS}/nothing.json", "its name is not of the form MACHINE-DEVICE-MODEL-iSAMPLE.json"),
        ("equivalence_classes/a.json", "it is not at equivalence_classes/CLOUD/cpu|gpu/"),
        ("precision/net_small/a.json", "the name of its folder 'net_small' does not end with"),
        ("precision/net_small_float16/a.json", "its path names the model 'net_small_float16'"),
        ("race_conditions/one/a.json", "it is not at race_conditions/MACHINE.json"),
        ("parameter_distribution/net-conv/fitted/a.json", "neither its folder nor its name tells"),
    ],
)
def test_a_path_that_is_not_of_the_studys_form_is_named(
    write: Write, checkout: Path, path: str, why: str
) -> None:
    write(path, result(1.0))
    found, (sentence,) = split(checkout)
    assert found == []
    assert sentence.startswith(f"{path} is not imported: ")
    assert why in sentence


def test_a_format_that_is_not_the_folders_is_named(write: Write, checkout: Path) -> None:
    write("precision/net_float16/a.json", result(1.0, model_type="net_float16"))
    _, (sentence,) = split(checkout)
    assert "its path names float16, the prediction is float32" in sentence


def test_a_machine_keeps_its_row_when_one_of_its_files_is_damaged(
    write: Write, checkout: Path, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        for sample in (0, 1):
            bad = (name, sample) == ("two", 1)
            content = "{" if bad else result(1.0)
            write(f"{AWS}/{name}-X-net_small-i{sample}.json", content)
    store = Store(tmp_path / "store")
    store.create()
    import_runs(store, "unannticipated", runs(checkout))
    first, second = compare(store).samples
    assert [[len(ids) for ids in each.eqcs] for each in (first, second)] == [[2], [1]]


def test_the_command_reads_a_checkout(write: Write, checkout: Path, xbackend) -> None:
    write(f"{AWS}/t9.large-X-net_small-i0.json", result(1.0))
    write(f"{AWS}/bad-X-net_small-i0.json", "{")
    done = xbackend("import", "unannticipated", checkout, "--store", "s")
    assert done.status == 0, done
    assert done.out.startswith("1 run imported, 1 remark is above; they are in s;")
    assert f"{AWS}/bad-X-net_small-i0.json is not imported" in done.sentence
    done = xbackend("compare", "--store", "s", "--where", "facts.experiment=equivalence_classes")
    assert "aws:t9.large" in done.out


def test_a_folder_without_any_of_it_is_refused(checkout: Path, xbackend) -> None:
    checkout.mkdir()
    done = xbackend("import", "unannticipated", checkout, "--store", "s")
    assert (done.status, done.out) == (2, "")
    assert "has results" in done.sentence
