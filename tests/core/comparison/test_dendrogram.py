"""Trees of classes by the mantissa bits that they share, against pairs of bit patterns."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xbackend.comparison.comparison import TapComparison
from xbackend.comparison.dendrogram import Node, build_tree, output_tree
from xbackend.errors import StoreError
from xbackend.numerics.floats import FORMATS, remaining_precision
from xbackend.reports import dendrogram
from xbackend.testing.store_builder import StoreBuilder

FLOAT32 = FORMATS["float32"]
ONE = 0x3F80_0000

TEXT = """\
net, float32, input 0: 4 classes
3 bits
├─ 20 bits
│  ├─ class 1: ort a, b
│  └─ class 2: ort c
└─ 22 bits
   ├─ class 3: ort d
   └─ class 4: ort e

Bits are the leading mantissa bits that all outputs below share at their worst element.
The tree is exact: shared bits are an ultrametric.
To draw it: --output figure.svg, .png or .pdf.
"""


def write(bench: StoreBuilder, *patterns: int | tuple[int, ...], dtype: str = "uint32") -> None:
    """Write a run for each bit pattern, on platforms a, b, c …"""
    for place, bits in enumerate(patterns):
        row = np.array([bits if isinstance(bits, tuple) else (bits,)], dtype)
        bench.run({"y": row.view(dtype.replace("uint", "float"))}, platform="abcdefgh"[place])


def output(bench: StoreBuilder) -> TapComparison:
    (sample,) = bench.compare().samples
    return sample.outputs[0]


def below(node: Node) -> set[tuple[int, tuple[int, ...]]]:
    """Return bits and classes of a node and of all below."""
    mine = {(node.bits, node.classes)}
    return mine.union(*(below(child) for child in node.children))


def test_classes_that_share_more_bits_are_nearer(bench: StoreBuilder) -> None:
    write(bench, ONE, ONE, ONE | 1 << 2, ONE | 1 << 19, ONE | 1 << 19 | 1)
    root = output_tree(bench.store, output(bench))
    assert root is not None
    assert below(root) == {
        (3, (0, 1, 2, 3)), (20, (0, 1)), (22, (2, 3)),
        (23, (0,)), (23, (1,)), (23, (2,)), (23, (3,)),
    }  # fmt: skip
    assert dendrogram.render(bench.compare()) == TEXT


def test_the_worst_element_counts(bench: StoreBuilder) -> None:
    write(bench, (ONE, ONE), (ONE | 1, ONE | 1 << 10))
    root = output_tree(bench.store, output(bench))
    assert root is not None
    assert root.bits == 12


def test_other_signs_and_exponents_share_nothing(bench: StoreBuilder) -> None:
    write(bench, ONE, ONE | 1 << 31, ONE + (1 << 23))
    root = output_tree(bench.store, output(bench))
    assert root is not None
    assert root.bits == 0
    assert len(root.children) == 3


def test_every_pair_shares_the_bits_of_the_node_where_it_parts() -> None:
    @given(st.sets(st.integers(0, 2**32 - 1), min_size=2, max_size=9))
    def check(patterns: set[int]) -> None:
        numbers = sorted(patterns)
        shared = [[remaining_precision(FLOAT32, a, b) for b in numbers] for a in numbers]
        root = build_tree(shared, tuple(range(len(numbers))), 23)
        for one, other in itertools.combinations(range(len(numbers)), 2):
            node = root
            while near := [c for c in node.children if {one, other} <= set(c.classes)]:
                (node,) = near
            assert node.bits == shared[one][other]

    check()


def test_integers_and_shapes_that_differ_have_no_tree(bench: StoreBuilder) -> None:
    for value in (3, 5):
        bench.run({"y": np.array([[value]], np.int8)}, precision="int8")
    assert output_tree(bench.store, output(bench)) is None
    assert dendrogram.render(bench.compare()).startswith("No output has several classes")


def test_a_tensor_that_is_damaged_is_named(bench: StoreBuilder) -> None:
    write(bench, ONE, ONE | 1)
    found = output(bench)
    for path in (Path(bench.store.folder) / "objects").rglob("*"):
        if path.is_file():
            path.write_bytes(b"1234")
    with pytest.raises(StoreError, match="does not hold the bytes"):
        output_tree(bench.store, found)


def test_trees_of_other_inputs_are_told_apart_by_digests(bench: StoreBuilder) -> None:
    for digest in ("a" * 64, "b" * 64):
        for value in (1.0, 1.5):
            bench.run({"y": [value]}, inputs_digest=digest)
    titles = dendrogram.render(bench.compare()).splitlines()
    for digest in ("aaaaaaaa", "bbbbbbbb"):
        assert f"net, float32, input 0, model dddddddd, inputs {digest}: 2 classes" in titles
