"""Graphs within graphs: what they read, what their values are called, what is spelled out."""

from __future__ import annotations

from xbackend.worker.artifact import ValueInfo
from xbackend.worker.graph import Graph, Node, captured, last_readers
from xbackend.worker.subgraphs import every_value, expanded, is_wanted


def node(
    operator: str,
    inputs: str,
    outputs: str,
    function: Graph | None = None,
    name: str = "",
    **attributes: object,
) -> Node:
    """Make a node of names that are separated by blanks."""
    return Node(
        operator, "", name, tuple(inputs.split()), tuple(outputs.split()), attributes, function
    )


def graph(inputs: str, outputs: str, *nodes: Node) -> Graph:
    """Make a graph without constants."""
    values = [tuple(ValueInfo(n, "", None) for n in names.split()) for names in (inputs, outputs)]
    return Graph(17, values[0], values[1], {}, nodes)


INNER = graph("h x", "h2 y", node("Add", "h x", "s"), node("Mul", "s outer", "h2"),
              node("Identity", "h2", "y"))  # fmt: skip
LOOP = node("Scan", "h0 xs", "h3 ys", name="loop", body=INNER, num_scan_inputs=1)


def test_a_node_reads_what_its_body_takes_from_around() -> None:
    assert captured(INNER) == ["outer"]
    assert LOOP.reads == ("h0", "xs", "outer")


def test_a_value_that_only_a_body_reads_is_kept_until_then() -> None:
    whole = graph("h0 xs", "ys", node("Neg", "xs", "outer"), LOOP)
    assert last_readers(whole) == [(), ("outer", "h3", "ys")]


def test_values_of_a_body_are_named_after_the_node_and_come_before_its_outputs() -> None:
    whole = graph("h0 xs", "ys", node("Neg", "xs", "outer"), LOOP)
    inner = ["loop[]/s", "loop[]/h2", "loop[]/y"]
    assert list(every_value(whole)) == ["outer", *inner, "h3", "ys"]


def test_a_layer_that_is_wanted_means_each_of_its_iterations() -> None:
    assert is_wanted("loop[12]/s", {"loop[]/s"})
    assert is_wanted("loop[12]/s", {"loop[12]/s"})
    assert not is_wanted("loop[12]/s", {"loop[1]/s", "s"})


def test_what_is_not_known_is_spelled_out_in_bodies_and_in_functions_too() -> None:
    square = graph("", "b", node("Mul", "a a", "b"))
    norm = graph("", "c", node("Square", "a", "b", square), node("Sqrt", "b", "c"))
    body = graph("a", "c", node("Norm", "a", "c", norm))
    whole = graph("x", "y", node("Scan", "x", "y", name="loop", body=body, num_scan_inputs=1))
    (scan,) = expanded(whole, {"Scan", "Mul", "Sqrt"}).nodes
    assert [each.operator for each in scan.attributes["body"].nodes] == ["Mul", "Sqrt"]
    (scan,) = expanded(whole, {"Scan", "Norm"}).nodes
    assert [each.operator for each in scan.attributes["body"].nodes] == ["Norm"]
