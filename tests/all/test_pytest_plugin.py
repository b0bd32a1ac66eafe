"""`assert_consistent` over real runtimes: what a failure says."""

from __future__ import annotations

import pytest

from xbackend.pytest import assert_consistent


def test_two_runtimes_are_near_but_not_the_same(tmp_path: object) -> None:
    both = {"backends": ["ort", "tflite"], "store": tmp_path}
    found = assert_consistent("cifar10-small", min_bits=4, **both)
    assert len(found.classes) == 2
    assert assert_consistent("cifar10-small", certify=True, **both).runs
    with pytest.raises(AssertionError) as caught:
        assert_consistent("cifar10-small", **both)
    lines = str(caught.value).splitlines()
    assert "2 classes" in lines[0]
    assert lines[1].startswith("* Gate 'output: classes<=1' fails at 'softmax' of cifar10-small")
    assert lines[-1] == f"Look further: xbackend explain --store {tmp_path}"
