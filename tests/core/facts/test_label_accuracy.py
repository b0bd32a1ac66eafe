"""How many labels are right, from outputs and labels that were written by hand."""

import json
from pathlib import Path

import numpy as np
import pytest

from xbackend.comparison.compare import compare
from xbackend.comparison.summary import summaries
from xbackend.facts.label_accuracy import label_accuracies
from xbackend.plugins import registry
from xbackend.testing.store_builder import StoreBuilder

CAT, DOG = np.float32([[0.9, 0.1]]), np.float32([[0.2, 0.8]])


@pytest.fixture
def build(tmp_path: Path):
    builder = StoreBuilder(tmp_path / "store")

    def write(*outputs, labels=None, **keys):
        results = [
            builder.result(str(place), {"y": scores}, {}) for place, scores in enumerate(outputs)
        ]
        told = {} if labels is None else {"samples": {"labels": labels}}
        return builder.write(results=results, taps_neutral=True, **told, **keys)

    write.store = builder.store
    return write


def test_labels_are_counted_for_each_row_of_runs(build):
    labels = {"0": 0, "1": 1}
    good = build(CAT, DOG, labels=labels)
    bad = build(CAT, CAT, labels=labels, backend="torch")
    (summary,) = summaries(compare(build.store))
    found = label_accuracies(summary, build.store)
    assert [(each.runs, each.right, each.labelled) for each in found] == [
        ((good,), 2, 2),
        ((bad,), 1, 2),
    ]
    text = " ".join(registry.report("table")(compare(build.store)).split())
    assert "Labels are right for 2 of 2 samples (100 %) in" in text
    assert "1 of 2 samples (50.0 %) in" in text
    (section,) = json.loads(registry.report("json")(compare(build.store)))["sections"]
    assert [each["right"] for each in section["label_accuracy"]] == [2, 1]


def test_one_share_of_all_runs_is_said_once(build):
    build(CAT, CAT, labels={"0": 1, "1": 0})
    build(CAT, CAT, labels={"0": 1, "1": 0}, backend="torch")
    text = " ".join(registry.report("table")(compare(build.store)).split())
    assert "Labels are right for 1 of 2 samples (50.0 %) in all runs." in text


def test_nothing_is_said_without_labels_or_without_scores(build):
    build(CAT, DOG)
    (summary,) = summaries(compare(build.store))
    assert label_accuracies(summary, build.store) == ()
    build(np.zeros((1, 3, 4, 4), np.float32), labels={"0": 0}, inputs_digest="b")
    found = [label_accuracies(each, build.store) for each in summaries(compare(build.store))]
    assert found == [(), ()]
