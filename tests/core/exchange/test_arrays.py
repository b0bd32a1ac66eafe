"""Arrays of other tools, taken into a store as told runs, and written out of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xbackend.api.comparison import compare
from xbackend.api.stores import export_arrays, import_arrays
from xbackend.errors import InputError, UsageError
from xbackend.testing.store_builder import StoreBuilder

ENCODED = (
    "k05VTVBZAQB2AHsnZGVzY3InOiAnPGY0JywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzog"
    "KDEsIDIpLCB9ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg"
    "ICAgICAgIAoAAIA/AAAgQA=="
)
POLYGRAPHY = """{
    "lst": [["trt-runner-N0", [{
        "outputs": {"y": {
            "values": {
                "array": "ARRAY",
                "polygraphy_class": "ndarray"},
            "polygraphy_class": "LazyArray"}},
        "runtime": 0.25, "runner_name": "trt-runner-N0", "polygraphy_class": "IterationResult"}]]],
    "polygraphy_class": "RunResults"}""".replace("ARRAY", ENCODED)
"""What Polygraphy 0.53.6 saved of the output y = [[1, 2.5]]."""

CONV = np.arange(12, dtype=np.float32).reshape(1, 2, 2, 3)


def told(bench: StoreBuilder) -> list[dict[str, Any]]:
    """Return the records of the runs that were told."""
    return [run for run in bench.store.runs() if run["platform"] == "told"]


def values(bench: StoreBuilder, rows: list[dict[str, Any]], name: str) -> Any:
    """Return a recorded tensor as a nested list."""
    (row,) = (row for row in rows if row["name"] == name)
    return bench.store.read_tensor(row).array.tolist()


def test_arrays_become_a_run_beside_the_one_that_they_are_like(
    bench: StoreBuilder, tmp_path: Path
) -> None:
    bench.run({"y": [1.0, 2.5]}, {"conv": CONV})
    np.savez(tmp_path / "p.npz", y=np.float32([[1.0, 2.0]]), conv=CONV.transpose(0, 2, 3, 1))
    done = import_arrays(
        tmp_path / "p.npz",
        like="run-0",
        name="phone",
        device="Pixel 6",
        notes=["GPU delegate"],
        store=bench.store,
    )
    assert (done.added, done.known, done.refusals) == (1, 0, 0)
    (record,) = told(bench)
    assert record["backend"] == "phone"
    assert record["facts"]["told"]["notes"] == ["GPU delegate"]
    assert record["hardware"] == {"device": "Pixel 6"}
    assert values(bench, record["results"][0]["taps"], "conv") == CONV.tolist()
    found = compare(store=bench.store)
    assert [len(ids) for ids in found.classes] == [1, 1]
    assert "phone is told by p.npz, not measured here, by what was said Pixel 6; GPU" in " ".join(
        str(found).split()
    )


def test_what_polygraphy_saved_is_read(bench: StoreBuilder, tmp_path: Path) -> None:
    bench.run({"y": [1.0, 2.5]})
    (tmp_path / "o.json").write_text(POLYGRAPHY)
    import_arrays(tmp_path / "o.json", like="run-0", store=bench.store)
    (record,) = told(bench)
    assert (record["backend"], record["seconds"]) == ("trt-runner-N0", 0.25)
    assert values(bench, record["results"][0]["outputs"], "y") == [[1.0, 2.5]]
    assert len(compare(store=bench.store).classes) == 1


def test_the_same_arrays_are_kept_once(bench: StoreBuilder, tmp_path: Path) -> None:
    bench.run({"y": [1.0, 2.5]})
    (tmp_path / "o.json").write_text(POLYGRAPHY)
    for known in (0, 1):
        done = import_arrays(tmp_path / "o.json", like="run-0", store=bench.store)
        assert (done.added, done.known) == (1 - known, known)


@pytest.mark.parametrize(
    "text",
    ["[]", "{", '{"lst": [["a", [{"outputs": {"y": {"values": {"array": "AAAA"}}}}]]]}'],
    ids=["a list", "no JSON", "no array"],
)
def test_other_json_is_refused_in_one_sentence(
    text: str, bench: StoreBuilder, tmp_path: Path
) -> None:
    bench.run({"y": [1.0, 2.5]})
    (tmp_path / "o.json").write_text(text)
    with pytest.raises(InputError, match="holds no outputs that Polygraphy saved"):
        import_arrays(tmp_path / "o.json", like="run-0", name="a", store=bench.store)


def test_a_pickled_tensor_is_refused(bench: StoreBuilder, tmp_path: Path) -> None:
    bench.run({"y": [1.0, 2.5]})
    document = json.loads(POLYGRAPHY)
    document["lst"][0][1][0]["outputs"]["y"]["values"] = {"tensor": "gAIu"}
    (tmp_path / "o.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="only unpickling reads"):
        import_arrays(tmp_path / "o.json", like="run-0", store=bench.store)


def test_an_output_of_another_name_is_found_by_its_shape(
    bench: StoreBuilder, tmp_path: Path
) -> None:
    bench.run({"y": [1.0, 2.5]})
    np.savez(tmp_path / "p.npz", Identity=np.float64([1.0, 2.5]))
    said: list[str] = []
    import_arrays(
        tmp_path / "p.npz",
        like="run-0",
        name="phone",
        store=bench.store,
        progress=lambda event: said.append(event.text),
    )
    assert said == ["'Identity' is taken for the output 'y': the shapes agree."]
    (record,) = told(bench)
    (row,) = record["results"][0]["outputs"]
    assert (row["dtype"], row["shape"]) == ("float32", [1, 2])  # no bit of these float64 is lost


def test_numbers_that_the_format_does_not_hold_stay_as_they_are(
    bench: StoreBuilder, tmp_path: Path
) -> None:
    bench.run({"y": [1.0, 2.5]})
    np.savez(tmp_path / "p.npz", y=np.float64([[0.1, 2.5]]))
    import_arrays(tmp_path / "p.npz", like="run-0", name="phone", store=bench.store)
    assert told(bench)[0]["results"][0]["outputs"][0]["dtype"] == "float64"


def test_samples_lie_along_the_first_axis(bench: StoreBuilder, tmp_path: Path) -> None:
    results = [bench.result(name, {"y": [1.0 + n, 2.0]}, {}) for n, name in enumerate(("a", "b"))]
    bench.write(results=results)
    np.savez(tmp_path / "p.npz", y=np.float32([[1.0, 2.0], [7.0, 8.0]]))
    import_arrays(tmp_path / "p.npz", like="run-0", name="phone", store=bench.store)
    (record,) = told(bench)
    assert [values(bench, each["outputs"], "y") for each in record["results"]] == [
        [[1.0, 2.0]],
        [[7.0, 8.0]],
    ]
    np.savez(tmp_path / "q.npz", y=np.float32([[1.0, 2.0]] * 3))
    with pytest.raises(InputError, match=r"shape \[3, 2\] cannot be shared out to 2 samples"):
        import_arrays(tmp_path / "q.npz", like="run-0", name="phone", store=bench.store)


def test_arrays_without_an_output_are_refused(bench: StoreBuilder, tmp_path: Path) -> None:
    bench.run({"y": [1.0, 2.5]})
    np.savez(tmp_path / "p.npz", z=np.zeros((1, 3), np.float32))
    with pytest.raises(InputError, match=r"it has 'y' \[1, 2\], the file 'z' \[1, 3\]"):
        import_arrays(tmp_path / "p.npz", like="run-0", name="phone", store=bench.store)


def test_npz_files_do_not_say_what_gave_them(bench: StoreBuilder, tmp_path: Path) -> None:
    bench.run({"y": [1.0, 2.5]})
    np.savez(tmp_path / "p.npz", y=np.float32([[1.0, 2.5]]))
    with pytest.raises(UsageError, match="Name that with --as"):
        import_arrays(tmp_path / "p.npz", like="run-0", store=bench.store)


def test_what_is_written_is_read_by_numpy(bench: StoreBuilder, tmp_path: Path) -> None:
    results = [
        bench.result("a", {"y": [1.0, 2.0]}, {"conv": [3.0]}),
        bench.result("b", {"y": [5.0, 6.0]}, {"conv": [7.0, 8.0]}),
    ]
    bench.write(results=results)
    done = export_arrays("run-0", tmp_path / "o.npz", store=bench.store)
    with np.load(tmp_path / "o.npz") as found:
        held = {name: found[name].tolist() for name in found}
    assert held == {"y": [[1, 2], [5, 6]], "conv[a]": [[3]], "conv[b]": [[7, 8]]}
    assert set(done.names) == set(held)


def test_what_is_written_comes_back_with_all_bits(bench: StoreBuilder, tmp_path: Path) -> None:
    results = [
        bench.result("a", {"y": [1.0, 2.0]}, {"conv": [3.0]}),
        bench.result("b", {"y": [5.0, 6.0]}, {"conv": [7.0, 8.0]}),
    ]
    bench.write(results=results)
    export_arrays("run-0", tmp_path / "o.npz", store=bench.store)
    import_arrays(tmp_path / "o.npz", like="run-0", name="again", store=bench.store)
    found = compare(store=bench.store)
    assert [len(ids) for ids in found.classes] == [2]
    assert {tap.tap: tap.eqc_count for tap in found.layers} == {"conv": 1, "y": 1}


def test_several_runs_are_written_under_their_ids(bench: StoreBuilder, tmp_path: Path) -> None:
    bench.run({"y": [1.0]})
    bench.run({"y": [2.0]})
    export_arrays(["run-0", "run-1"], tmp_path / "o.npz", store=bench.store)
    with np.load(tmp_path / "o.npz") as found:
        assert {name: found[name].tolist() for name in found} == {
            "run-0/y": [[1.0]],
            "run-1/y": [[2.0]],
        }
