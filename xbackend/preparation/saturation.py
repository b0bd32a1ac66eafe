"""Which layers of an int8 model overflow where a kernel adds pairs of products in 16 bits.

Some kernels multiply unsigned by signed 8 bits and add two neighbouring products in 16 bits that
saturate (the instruction `vpmaddubsw`), before they widen to 32. Which products are neighbours was
found by trying all pairs in ONNX Runtime 1.31.1 on an emulated Haswell:

* in a matrix product those of rows 0 and 1 of the weights, 2 and 3, and so on;
* in a convolution the same of its weights in the order kernel row, kernel column, input channel of
  the group; a depthwise one, with one output for each input, adds in 32 bits;
* signed activations go through the same kernel between QuantizeLinear and DequantizeLinear, where
  the optimiser adds 128 to them; in integer operators they do not. Unsigned weights never do.

Raw integers are multiplied, zero points are taken off afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from xbackend.worker.geometry.sliding_window import kernel_positions, window_of
from xbackend.worker.graph import Graph, Node, read_graph

Array = np.ndarray[Any, Any]
Activations = Callable[[str], Iterable[Array]]

INT16_MIN, INT16_MAX = -(1 << 15), (1 << 15) - 1
"""What 16 bits hold."""

UINT8_MAX = 255
"""The greatest unsigned activation."""

HINT = (
    "--option onnx_to_int8.weight=uint8 or --option onnx_to_int8.reduce_range=true quantizes "
    "without that"
)


@dataclass(frozen=True)
class SaturationRisk:
    """A layer of which two neighbouring products may not fit into 16 bits."""

    tap: str
    """The ONNX value that the layer gives."""
    operator: str
    possible: int
    """The sum of two products that is farthest from 0, for any input."""
    reached: int | None = None
    """The same for certain inputs, among the pairs that can overflow; None where none were seen."""
    share: float | None = None
    """Which part of the layer's elements has a pair that overflows, for these inputs."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class _PairedProduct:
    """A layer that such a kernel computes."""

    node: Node
    activation: str
    """Name of the unsigned or signed 8-bit value that is multiplied."""
    weights: Array
    """One row for each output, in the order in which products are neighbours; int32."""
    shift: int
    """What the kernel adds to activations so that they are unsigned."""
    kernel: tuple[int, ...]
    """Extents of a convolution's kernel; empty for a matrix product."""
    padding: int
    """What stands for 0 among the activations."""


def saturation_risks(graph: Graph) -> tuple[SaturationRisk, ...]:
    """Return the layers that overflow for some input, in graph order."""
    found = ((product, _farthest(product.weights)) for product in _products(graph))
    return tuple(
        SaturationRisk(_tap(product.node), product.node.operator, possible)
        for product, possible in found
        if not INT16_MIN <= possible <= INT16_MAX
    )


def artifact_saturation_risks(folder: Path) -> tuple[SaturationRisk, ...]:
    """Return the exposed layers of a prepared graph on disk, empty where it is none."""
    return saturation_risks(read_graph(folder)) if (folder / "graph.json").is_file() else ()


def measure_saturation(graph: Graph, activations: Activations) -> tuple[SaturationRisk, ...]:
    """Return the exposed layers with what certain inputs reach in each.

    `activations` gives the exact integers under a value's name, one array for each sample; none
    where they are not known.
    """
    products = {_tap(product.node): product for product in _products(graph)}
    return tuple(
        _reach(exposure, products[exposure.tap], activations)
        for exposure in saturation_risks(graph)
    )


@dataclass(frozen=True)
class SaturationReach:
    """What certain inputs do to the layers that can overflow; each is in one of the tuples."""

    over: tuple[str, ...]
    """Layers in which a pair overflows."""
    clear: tuple[str, ...]
    """Layers in which none does."""
    unknown: tuple[str, ...]
    """Layers of which no activations were recorded."""


def saturation_reach(found: Sequence[SaturationRisk]) -> SaturationReach:
    """Return which layers overflow for certain inputs, which do not, and which nobody knows of."""
    known = [each for each in found if each.share is not None]
    return SaturationReach(
        over=tuple(each.tap for each in known if each.share),
        clear=tuple(each.tap for each in known if not each.share),
        unknown=tuple(each.tap for each in found if each.share is None),
    )


def saturation_warning(model: str, where: str, exposed: Sequence[SaturationRisk]) -> str:
    """Return one sentence for a user: which layers, how far, on which processors, what to do."""
    names = [exposure.tap for exposure in exposed]
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more layers" if names[3:] else "")
    farthest = max((exposure.possible for exposure in exposed), key=abs)
    return (
        f"warning: in {shown} of {model} in int8 two products can add up to {farthest}, which 16 "
        f"bits do not hold: {where}; {HINT}."
    )


def _farthest(weights: Array) -> int:
    """Return the sum of two neighbouring products that is farthest from 0, for any activations."""
    high, low = _bounds(weights)
    greatest, least = int(high.max(initial=0)), int(low.min(initial=0))
    return greatest if greatest >= -least else least


def _bounds(weights: Array) -> tuple[Array, Array]:
    """Return the greatest and the least sum of each pair: (outputs, pairs)."""
    positive, negative = np.maximum(weights, 0), np.minimum(weights, 0)
    high, low = (UINT8_MAX * (w[:, 0::2] + w[:, 1::2]) for w in (positive, negative))
    return high, low


def _products(graph: Graph) -> Iterator[_PairedProduct]:
    """Yield the layers that multiply unsigned activations by signed weights in pairs."""
    makers = {name: node for node in graph.nodes for name in node.outputs if name}
    for node in graph.nodes:
        found = _integer_product(node, graph) or _float_product(node, graph, makers)
        if found is not None:
            yield found


def _integer_product(node: Node, graph: Graph) -> _PairedProduct | None:
    """Read an integer operator with unsigned activations and signed weights that are constant."""
    if node.operator not in INPUT_INDICES:
        return None
    weight, zero = INPUT_INDICES[node.operator]
    weights, point = (_constant(graph, node, place) for place in (weight, zero))
    if (
        weights is None
        or weights.dtype != np.int8
        or (point is not None and point.dtype.kind == "i")
    ):
        return None
    if point is None and node.operator not in ("MatMulInteger", "ConvInteger"):
        return None
    return _product(node, node.inputs[0], weights, 0, _padding(point))


def _padding(zero_point: Array | None) -> int:
    return 0 if zero_point is None else int(zero_point.reshape(-1)[0])


def _float_product(node: Node, graph: Graph, makers: Mapping[str, Node]) -> _PairedProduct | None:
    """Read a float operator whose two inputs are DequantizeLinear, which the optimiser fuses."""
    pair = [makers.get(name) for name in node.inputs[:2]]
    if node.operator not in ("Conv", "Gemm", "MatMul") or len(pair) < 2:
        return None
    left, right = pair
    if left is None or right is None:
        return None
    if left.operator != "DequantizeLinear" or right.operator != "DequantizeLinear":
        return None
    weights, point = _constant(graph, right, 0), _constant(graph, left, 2)
    if weights is None or weights.dtype != np.int8 or point is None:
        return None
    shift = 128 if point.dtype == np.int8 else 0
    return _product(node, left.inputs[0], weights, shift, _padding(point) + shift)


def _product(
    node: Node, activation: str, weights: Array, shift: int, padding: int
) -> _PairedProduct | None:
    if "Conv" in node.operator:
        groups = int(node.attributes.get("group", 1))
        if weights.shape[1] == 1 and weights.shape[0] == groups:
            return None
        rows = np.moveaxis(weights, 1, -1).reshape(weights.shape[0], -1)
        kernel = weights.shape[2:]
    elif weights.ndim != 2:
        return None
    else:
        rows = weights if node.attributes.get("transB", 0) else weights.T
        kernel = ()
    even = np.pad(rows.astype(np.int32), ((0, 0), (0, rows.shape[1] % 2)))
    return _PairedProduct(node, activation, even, shift, kernel, padding)


def _constant(graph: Graph, node: Node, place: int) -> Array | None:
    name = node.inputs[place] if place < len(node.inputs) else ""
    return graph.constants[name].array if name in graph.constants else None


def _tap(node: Node) -> str:
    return next(name for name in node.outputs if name)


def _reach(
    exposure: SaturationRisk, product: _PairedProduct, activations: Activations
) -> SaturationRisk:
    """Look at every pair that can overflow, for every element of the layer."""
    farthest, over, elements = 0, 0, 0
    for sample in activations(product.activation):
        for rows, seen in _seen(product, sample.astype(np.int32) + product.shift):
            low, high, overflown = _extremes(product.weights[rows], seen)
            farthest = max(farthest, low, high, key=abs)
            over, elements = over + int(overflown.sum()), elements + overflown.size
    if not elements:
        return exposure
    return replace(exposure, reached=farthest, share=over / elements)


def _extremes(weights: Array, seen: Array) -> tuple[int, int, Array]:
    """Return the least and greatest sum of a pair, and which elements have one that overflows.

    Only pairs that can overflow are computed. `seen` is (products, places).
    """
    high, low = _bounds(weights)
    least = greatest = 0
    overflown = np.zeros((len(weights), seen.shape[1]), np.bool_)
    risky = (high > INT16_MAX) | (low < INT16_MIN)
    for pair in np.flatnonzero(risky.any(0)):
        rows = np.flatnonzero(risky[:, pair])
        first, second = weights[rows, 2 * pair, None], weights[rows, 2 * pair + 1, None]
        sums = first * seen[2 * pair] + second * seen[2 * pair + 1]
        least, greatest = min(least, int(sums.min())), max(greatest, int(sums.max()))
        overflown[rows] |= (sums > INT16_MAX) | (sums < INT16_MIN)
    return least, greatest, overflown


def _seen(product: _PairedProduct, values: Array) -> Iterator[tuple[slice, Array]]:
    """Yield which outputs see which activations: (products, places), a zero behind odd ones."""
    count = product.weights.shape[1]
    if not product.kernel:
        turned = bool(product.node.attributes.get("transA", 0))
        columns = values if turned else values.reshape(-1, values.shape[-1]).T
        yield slice(None), np.pad(columns, ((0, count - len(columns)), (0, 0)))
        return
    window = window_of(product.node, values.shape[2:], product.kernel)
    padded = window.pad(values, product.padding)
    groups = int(product.node.attributes.get("group", 1))
    depth, each = values.shape[1] // groups, len(product.weights) // groups
    for group in range(groups):
        part = padded[:, group * depth : (group + 1) * depth]
        views = [
            np.moveaxis(part[index], 1, 0).reshape(depth, -1)
            for _, index in kernel_positions(window)
        ]
        columns = np.concatenate(views)
        yield (
            slice(group * each, (group + 1) * each),
            np.pad(columns, ((0, count - len(columns)), (0, 0))),
        )


INPUT_INDICES = {
    "QLinearConv": (3, 2),
    "QLinearMatMul": (3, 2),
    "QGemm": (3, 2),
    "ConvInteger": (1, 2),
    "MatMulInteger": (1, 2),
}
"""Integer operators, with which of their inputs are the weights and the activations' zero point."""
