"""Baselines: verdicts against an oracle, the file as text, and what git makes of it."""

from __future__ import annotations

import json
import random
import struct
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xbackend.comparison.findings import (
    BEYOND,
    EXACT,
    NOT_JUDGED,
    ROUNDING,
    Certificate,
    LayerCertificate,
)
from xbackend.errors import UsageError
from xbackend.facts.baseline.collect import collect
from xbackend.facts.baseline.entries import Baseline
from xbackend.facts.baseline.file import baseline_text, json_schema, parse_baseline, read_baseline
from xbackend.facts.baseline.judge import judge
from xbackend.facts.baseline.verdicts import BaselineVerdict, Nothing
from xbackend.facts.gates import parse_gate
from xbackend.testing.store_builder import StoreBuilder

Values = list[float]
ONE = [0.25, 0.5]
NEAR = [0.25, float(np.nextafter(np.float32(0.5), np.float32(1)))]
FAR = [0.25, 0.5078125]
FLIPPED = [0.5, 0.25]


def machine(name: str, emulated: bool = False) -> dict[str, Any]:
    more = {"hypervisor": "TCGTCGTCGTCG"} if emulated else {}
    return {"hardware": {"vendor": "Maker", "microarchitecture": name, "flags": ["avx2"], **more}}


def baseline_of(bench: StoreBuilder, layers: bool = False) -> Baseline:
    found = collect(bench.compare().runs, bench.store, layers)
    return parse_baseline(baseline_text(found))


def verdicts(folder: Path, known: Baseline, *runs: dict[str, Any], rules: Any = ()) -> list[str]:
    bench = StoreBuilder(folder)
    for run in runs:
        bench.run(**run)
    judged = judge(bench.compare(), known, [parse_gate(rule) for rule in rules])
    return [found.verdict.value for found in judged.findings]


@pytest.fixture
def known(bench: StoreBuilder) -> Baseline:
    """One class, which an emulated Alpha gave."""
    bench.run({"y": ONE}, {"conv": [1.0]}, **machine("Alpha", emulated=True))
    return baseline_of(bench)


@pytest.mark.parametrize(
    ("run", "rules", "said"),
    [
        ({"outputs": {"y": ONE}, **machine("Alpha")}, (), "known class on a known kind of machine"),
        ({"outputs": {"y": ONE}, **machine("Beta")}, (), "known class on a new kind of machine"),
        ({"outputs": {"y": NEAR}, **machine("Alpha")}, (), "new class that nothing judged"),
        ({"outputs": {"y": NEAR}}, ["output: bits>=22"], "new class within a rule"),
        ({"outputs": {"y": NEAR}}, ["y: ulp<=1, bits>=9"], "new class within a rule"),
        ({"outputs": {"y": NEAR}}, ["output: bits>=23"], "fewer bits"),
        ({"outputs": {"y": FAR}}, ["output: ulp<=64"], "fewer bits"),
        ({"outputs": {"y": FLIPPED}}, ["output: bits>=0"], "a label flips"),
        ({"outputs": {"z": ONE}}, (), "nothing to compare"),
        ({"outputs": {"y": ONE}, "inputs_digest": "other"}, (), "nothing to compare"),
        ({"outputs": {"y": ONE}, "precision": "float16"}, (), "nothing to compare"),
    ],
)
def test_a_class_has_one_verdict(
    known: Baseline, tmp_path: Path, run: dict[str, Any], rules: Any, said: str
) -> None:
    assert verdicts(tmp_path / "later", known, run, rules=rules) == [said]


def test_only_known_classes_and_near_ones_pass() -> None:
    assert {verdict.value: verdict.exit_status for verdict in BaselineVerdict} == {
        "known class on a known kind of machine": 0,
        "known class on a new kind of machine": 0,
        "known class that this kind of machine did not give before": 0,
        "new class within rounding": 0,
        "new class within a rule": 0,
        "new class that nothing judged": 1,
        "fewer bits": 1,
        "beyond rounding": 1,
        "a label flips": 1,
        "nothing to compare": 1,
    }


def test_a_kind_of_machine_that_changes_its_class_is_told(
    bench: StoreBuilder, tmp_path: Path
) -> None:
    bench.run({"y": ONE}, **machine("Alpha"))
    bench.run({"y": NEAR}, **machine("Beta"))
    run = {"outputs": {"y": NEAR}, **machine("Alpha")}
    assert verdicts(tmp_path / "later", baseline_of(bench), run) == [
        "known class that this kind of machine did not give before"
    ]


def test_what_known_classes_share_with_one_another_bounds_new_ones(
    bench: StoreBuilder, tmp_path: Path
) -> None:
    for values in (ONE, NEAR):
        bench.run({"y": values})
    assert verdicts(tmp_path / "later", baseline_of(bench), {"outputs": {"y": FAR}}) == [
        "fewer bits"
    ]


def test_a_run_that_failed_and_an_empty_store_are_no_pass(known: Baseline, tmp_path: Path) -> None:
    bench = StoreBuilder(tmp_path / "later")
    error = {"stage": "run", "symptom": "signal 11", "message": "It crashed."}
    bench.run(status="failed", error=error)
    judged = judge(bench.compare(), known)
    assert [found.nothing for found in judged.findings] == [Nothing.NO_RUN, Nothing.FAILED]
    assert not judged.passes
    assert [section.model for section in judged.not_run] == ["net"]


def test_the_number_of_threads_and_the_version_are_part_of_a_kind(
    known: Baseline, tmp_path: Path
) -> None:
    runs = [
        {"outputs": {"y": ONE}, "settings": {"threads": 2}, **machine("Alpha")},
        {"outputs": {"y": ONE}, "backend_version": "1.1", **machine("Alpha")},
    ]
    assert verdicts(tmp_path / "later", known, *runs) == ["known class on a new kind of machine"]


def test_layers_are_judged_where_the_baseline_knows_them(
    bench: StoreBuilder, tmp_path: Path
) -> None:
    bench.run({"y": ONE}, {"conv": [1.0]})
    run = {"outputs": {"y": ONE}, "taps": {"conv": [2.0]}}
    known = ["known class on a known kind of machine"]
    assert verdicts(tmp_path / "without", baseline_of(bench), run) == known
    found = verdicts(tmp_path / "with", baseline_of(bench, layers=True), run)
    assert found == [*known, "new class that nothing judged"]


def certificate(run: Any, *layers: str) -> Certificate:
    """A certificate whose layers have the given verdicts."""
    found = [
        LayerCertificate(f"t{at}", at, "Conv", word, "", None) for at, word in enumerate(layers)
    ]
    return Certificate(run, tuple(found), "torch", 1)


@pytest.mark.parametrize(
    ("layers", "rules", "said"),
    [
        ([EXACT, ROUNDING, NOT_JUDGED], (), BaselineVerdict.WITHIN),
        ([EXACT, BEYOND], (), BaselineVerdict.BEYOND),
        ([EXACT, BEYOND], ["output: bits>=1"], BaselineVerdict.BEYOND),
        ([ROUNDING], ["output: bits>=23"], BaselineVerdict.FEWER_BITS),
        ([NOT_JUDGED], (), BaselineVerdict.UNJUDGED),
    ],
)
def test_a_certificate_judges_a_new_class(
    known: Baseline, tmp_path: Path, layers: list[str], rules: Any, said: BaselineVerdict
) -> None:
    bench = StoreBuilder(tmp_path / "later")
    bench.run({"y": NEAR})
    compared = bench.compare()
    certified = replace(compared, certificates=(certificate(compared.runs[0], *layers),))
    (found,) = judge(certified, known, [parse_gate(rule) for rule in rules]).findings
    assert found.verdict is said
    assert found.metrics is not None
    assert found.metrics.remaining_precision == 22
    if said is BaselineVerdict.WITHIN:
        assert found.decided_by == "certificate"
        assert found.rounding is not None
        assert (found.rounding.judged, found.rounding.layers) == (2, 3)


def test_large_outputs_are_known_by_digest_and_labels(bench: StoreBuilder, tmp_path: Path) -> None:
    scores = np.zeros((1, 2000), np.float32)
    scores[0, 7] = 1
    bench.run({"y": scores})
    known = baseline_of(bench)
    (only,) = known.classes.values()
    assert (only.data, only.labels) == (None, (7,))
    other = scores.copy()
    other[0, 9] = 2
    same = scores.copy()
    same[0, 7] = 1.5
    assert verdicts(tmp_path / "a", known, {"outputs": {"y": other}}) == ["a label flips"]
    assert verdicts(tmp_path / "b", known, {"outputs": {"y": same}}) == [
        "new class that nothing judged"
    ]


def test_an_output_of_another_shape_is_no_pass(known: Baseline, tmp_path: Path) -> None:
    for name, shape in (("empty", (0, 2)), ("more", (2, 2)), ("flat", (4,))):
        run = {"outputs": {"y": np.zeros(shape, np.float32)}}
        (found,) = verdicts(tmp_path / name, known, run)
        assert found in ("new class that nothing judged", "a label flips")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_change_of_a_file_ends_otherwise_than_in_a_sentence(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = StoreBuilder(Path(folder))
        bench.run({"y": ONE}, **machine("Alpha"))
        text = baseline_text(baseline_of(bench))
        place = data.draw(st.integers(0, len(text) - 1))
        put = data.draw(
            st.sampled_from(["", "0", '"', "{}", "[", "null", "-1", "1e999", "\\ud800"])
        )
        file = Path(folder) / "baseline.json"
        file.write_text(text[:place] + put + text[place + data.draw(st.integers(0, 9)) :])
        said, found = "", None
        try:
            found = read_baseline(file)
        except UsageError as error:
            said = str(error)
        assert found is not None or said.startswith(f"{file} is no sound baseline: ")
        assert found is None or judge(bench.compare(), found).findings


def shared_bits(one: Values, other: Values) -> int:
    """Count the leading mantissa bits that float32 numbers share, element by element, by hand."""
    least = 23
    for first, second in zip(one, other, strict=True):
        a, b = (struct.unpack(">I", struct.pack(">f", value))[0] for value in (first, second))
        if a >> 23 != b >> 23:
            return 0
        texts = [format(bits & 0x7FFFFF, "023b") for bits in (a, b)]
        while texts[0][:least] != texts[1][:least]:
            least -= 1
    return least


def expected(before: list[tuple[str, Values]], kind: str, values: Values, least: int | None) -> str:
    """Say what a class is, from the words of the documentation alone."""
    classes = [list(each) for each in {tuple(given) for _, given in before}]
    if values in classes:
        own = [given for name, given in before if name == kind]
        if values in own:
            return "known class on a known kind of machine"
        return (
            "known class that this kind of machine did not give before"
            if own
            else "known class on a new kind of machine"
        )
    if (values[1] > values[0]) not in [given[1] > given[0] for given in classes]:
        return "a label flips"
    nearest = max(shared_bits(values, given) for given in classes)
    if least is not None:
        return "new class within a rule" if nearest >= least else "fewer bits"
    spread = min(shared_bits(one, two) for one in classes for two in classes)
    far = len(classes) > 1 and nearest < spread
    return "fewer bits" if far else "new class that nothing judged"


POOL = [
    [1.0, 1.25], [1.0, 1.25 + 2**-20], [1.0, 1.25 + 2**-10], [1.0, 1.75], [1.0 + 2**-23, 1.25],
    [1.5, 1.25], [1.5, 1.25 + 2**-12],
]  # fmt: skip
SEEN = st.tuples(st.sampled_from(["Alpha", "Beta", "Gamma"]), st.sampled_from(POOL))


@settings(max_examples=40, deadline=None)
@given(st.lists(SEEN, min_size=1, max_size=4), SEEN, st.none() | st.integers(0, 23))
def test_verdicts_are_those_of_an_oracle(
    before: list[tuple[str, Values]], later: tuple[str, Values], least: int | None
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = StoreBuilder(Path(folder) / "before")
        for name, values in before:
            bench.run({"y": values}, **machine(name))
        kind, values = later
        run = {"outputs": {"y": values}, **machine(kind)}
        rules = [] if least is None else [f"output: bits>={least}"]
        found = verdicts(Path(folder) / "later", baseline_of(bench), run, rules=rules)
    assert found == [expected(before, kind, values, least)]


def test_the_file_is_the_same_whatever_the_order_of_runs_and_lines(
    bench: StoreBuilder, tmp_path: Path
) -> None:
    other = StoreBuilder(tmp_path / "other")
    runs = [({"y": values}, machine(name)) for values in (ONE, NEAR) for name in ("A", "B")]
    for outputs, where in runs:
        bench.run(outputs, **where)
    for outputs, where in reversed(runs):
        other.run(outputs, **where)
    text = baseline_text(baseline_of(bench))
    assert text == baseline_text(baseline_of(other))
    head, *lines, tail = text.splitlines()
    random.Random(0).shuffle(lines)
    assert baseline_text(parse_baseline("\n".join([head, *lines, *lines, tail]))) == text
    assert json.loads(text)["entries"][-1] == {}


def test_git_merges_what_two_branches_added(bench: StoreBuilder, tmp_path: Path) -> None:
    def git(*words: str) -> None:
        identity = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=0")
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True)

    file = tmp_path / "baseline.json"
    bench.run({"y": ONE}, **machine("Alpha"))
    start = baseline_of(bench)
    additions = {}
    for branch, values in (("left", NEAR), ("right", FAR)):
        one = StoreBuilder(tmp_path / branch)
        one.run({"y": values}, **machine(branch))
        additions[branch] = start.merged(baseline_of(one))
    git("init", "-q", "-b", "main")
    (tmp_path / ".gitattributes").write_text("baseline.json merge=union\n")
    file.write_text(baseline_text(start))
    git("add", ".gitattributes", "baseline.json")
    git("commit", "-q", "-m", "start")
    for branch, found in additions.items():
        git("checkout", "-q", "-b", branch, "main")
        file.write_text(baseline_text(found))
        git("commit", "-q", "-a", "-m", branch)
    git("merge", "-q", "--no-edit", "left")
    merged = additions["left"].merged(additions["right"])
    assert read_baseline(file) == merged
    assert len(merged.classes) == 3


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"entries":[', '"entries":{', "is no sound baseline: "),
        ('"schema_version":1', '"schema_version":2', "'schema_version' is not from 1 to 1"),
        ('"dtype":"float32"', '"dtype":"float31"', "none of bool"),
        ('"shape":[1,2]', '"shape":[1,3]', "are not those of its digest"),
        ('"data":"', '"data":"!', "are no base64"),
        ('"tensor":"y"', '"tensor":"x"', "was changed by hand"),
        ('"vendor":"Maker"', '"vendor":"Faker"', "was changed by hand"),
        ('"seen":"', '"seen":"0', "has 17 characters, more than 16"),
        ('{"kind":', '{"sort":', "has none of the keys section, kind, class, seen"),
        ("{}]}", "<<<<<<< HEAD\n{}]}", "a merge left its marks in it"),
    ],
)
def test_a_file_that_is_no_baseline_is_refused_in_one_sentence(
    known: Baseline, tmp_path: Path, old: str, new: str, said: str
) -> None:
    text = baseline_text(known)
    file = tmp_path / "baseline.json"
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(UsageError) as caught:
        read_baseline(file)
    message = str(caught.value)
    assert said in message
    assert message.startswith(str(file))
    assert "\n" not in message


def test_bytes_that_are_no_text_and_a_file_that_is_not_there_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    with pytest.raises(UsageError, match="Make one with 'xbackend baseline"):
        read_baseline(file)
    for data in (b"\xff\xfe\x00", b"[" * 100_000, b"7", b""):
        file.write_bytes(data)
        with pytest.raises(UsageError, match="is no sound baseline"):
            read_baseline(file)


def test_an_entry_that_names_what_is_not_there_is_refused(known: Baseline) -> None:
    lines = baseline_text(known).splitlines()
    for word in ("section", "kind", "class"):
        rest = [line for line in lines if not line.startswith(f'{{"{word}":')]
        with pytest.raises(ValueError, match="which is not in it"):
            parse_baseline("\n".join(rest))


def test_the_schema_is_published_and_a_baseline_is_of_it(known: Baseline, root: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    published = json.loads((root / "docs/reference/baseline.schema.json").read_text("utf-8"))
    assert published == json_schema()
    document = json.loads(baseline_text(known))
    jsonschema.validate(document, published)
    for wrong in ({"sort": "x"}, {"seen": "0" * 16}, {**document["entries"][0], "inputs": None}):
        changed = {**document, "entries": [wrong]}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(changed, published)
        with pytest.raises(ValueError, match="entries"):
            parse_baseline(json.dumps(changed))
