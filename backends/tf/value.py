"""A value of the ONNX graph in TensorFlow: a tensor, and how its axes lie in it.

TensorFlow's kernels for CPUs want the channels last, ONNX has them second. A value may be held
either way, so that transposing is done only where an operation needs the other way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Sequence, Tuple

import tensorflow as tf

from xbackend.worker.contract import Unsupported

if TYPE_CHECKING:
    from xbackend.worker.tensor import Tensor as Bits

Tensor = Any
"""A tf.Tensor, which has no type stubs."""

FORMATS = frozenset(
    ["bool", "bfloat16", "float16", "float32", "float64"]
    + [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
)
"""What TensorFlow computes with. It holds narrower ones too, but rounds in its own way."""


@dataclass(frozen=True)
class Value:
    """A tensor whose axes are ONNX's, or the same with axis 1 moved to the end."""

    tensor: Tensor
    channels_last: bool = False
    """Whether ONNX's axis 1 is the last one of `tensor`; only with three axes or more."""
    kept: Optional[Dict[str, Tensor]] = None
    """Other arrangements of a constant, made once; None for what differs from run to run."""

    @property
    def rank(self) -> int:
        """The number of axes. Raises Unsupported where TensorFlow cannot know it beforehand."""
        rank = self.tensor.shape.rank
        if rank is None:
            raise Unsupported(_depends(self.tensor, "rank"))
        return int(rank)

    @property
    def shape(self) -> List[int]:
        """The extents in ONNX's order. Raises Unsupported where they depend on data."""
        extents = [self.tensor.shape[self.physical(axis)] for axis in range(self.rank)]
        if any(extent is None for extent in extents):
            raise Unsupported(_depends(self.tensor, f"shape {extents}"))
        return [int(extent) for extent in extents]

    def physical(self, axis: int) -> int:
        """Return which axis of `tensor` is an axis of ONNX's, which may be negative."""
        axis %= max(self.rank, 1)
        if not self.channels_last or axis == 0:
            return axis
        return self.rank - 1 if axis == 1 else axis - 1

    def axes(self, axes: Sequence[int]) -> List[int]:
        """Return which axes of `tensor` are these axes of ONNX's."""
        return [self.physical(axis) for axis in axes]

    def arranged(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        """Return another arrangement of the tensor, made only once if this is a constant."""
        if self.kept is None:
            return make()
        if name not in self.kept:
            with tf.init_scope():
                self.kept[name] = make()
        return self.kept[name]

    def like(self, tensor: Tensor) -> Value:
        """Wrap another tensor whose axes lie as they do here."""
        return Value(tensor, self.channels_last)


def _depends(tensor: Tensor, what: str) -> str:
    return (
        f"The tensor '{tensor.name}' has a {what} that depends on data, and a graph of TensorFlow "
        "needs it beforehand. Run it with --set tf.mode=eager."
    )


def constant(bits: Bits) -> Value:
    """Make a value of a weight. Raises Unsupported for a format that is not computed with."""
    if bits.dtype not in FORMATS:
        raise Unsupported(f"TensorFlow cannot compute with the format {bits.dtype}.")
    array = bits.array
    if bits.dtype == "bfloat16":
        array = array.view(tf.bfloat16.as_numpy_dtype)
    return Value(tf.constant(array), kept={})


def to_last(rank: int) -> List[int]:
    """Return the transposition from ONNX's order to channels last."""
    return [0, *range(2, rank), 1]


def to_first(rank: int) -> List[int]:
    """Return the transposition from channels last to ONNX's order."""
    return [0, rank - 1, *range(1, rank - 1)]


def first(value: Value) -> Tensor:
    """Return the tensor with its axes in ONNX's order."""
    if not value.channels_last:
        return value.tensor
    return value.arranged("first", lambda: _moved(value.tensor, to_first(value.rank)))


def last(value: Value) -> Tensor:
    """Return the tensor with ONNX's axis 1 moved to the end."""
    if value.channels_last or value.rank < 3:
        return value.tensor
    return value.arranged("last", lambda: _moved(value.tensor, to_last(value.rank)))


def _moved(tensor: Tensor, order: Sequence[int]) -> Tensor:
    """Transpose; where only axes of one element change places, the same bytes are reshaped."""
    shape = [tensor.shape[axis] for axis in order]
    moving = [axis for axis in order if tensor.shape[axis] != 1]
    if None not in shape and moving == sorted(moving):
        return tf.reshape(tensor, shape)
    return tf.transpose(tensor, order)


def aligned(values: Sequence[Value]) -> Tuple[List[Tensor], bool]:
    """Return tensors that broadcast as ONNX broadcasts the values, and whether channels are last.

    Channels stay last if one of the values with most axes has them so.
    """
    rank = max(value.rank for value in values)
    if not any(value.channels_last and value.rank == rank for value in values):
        return [first(value) for value in values], False
    return [_aligned_last(value, rank) for value in values], True


def _aligned_last(value: Value, rank: int) -> Tensor:
    if value.rank == rank:
        return last(value)
    if all(extent == 1 for extent in value.tensor.shape):
        return first(value)
    return value.arranged(f"last {rank}", lambda: last(Value(_widened(first(value), rank))))


def _widened(tensor: Tensor, rank: int) -> Tensor:
    """Put axes of one element before the others, as broadcasting does."""
    return tf.reshape(tensor, [1] * (rank - tensor.shape.rank) + tensor.shape.as_list())


def as_bias(value: Value) -> Value:
    """Return a constant of one row as a vector, which broadcasts the same beside a matrix.

    The graph optimiser fuses a product and a sum even where the second summand is no vector, and
    the fused kernel then refuses it.
    """
    if value.kept is None or value.rank != 2 or value.shape[0] != 1:
        return value
    return Value(value.arranged("vector", lambda: tf.reshape(value.tensor, [-1])))


def without(value: Value, axes: Sequence[int]) -> Value:
    """Return the value so that dropping these axes of ONNX's leaves the others in its order."""
    if not value.channels_last:
        return value
    dropped = {axis % value.rank for axis in axes}
    rest = [axis for axis in to_last(value.rank) if axis not in dropped]
    return value if rest == sorted(rest) else Value(first(value))


def static(value: Value, what: str) -> Any:
    """Return the elements as a NumPy array. Raises Unsupported if they are known too late.

    `what` says of which operator's input they are.
    """
    array = tf.get_static_value(first(value))
    if array is None:
        raise Unsupported(
            f"The {what} is computed from data, and TensorFlow's graph needs it beforehand. Run it "
            "with --set tf.mode=eager."
        )
    return array


def integers(value: Value, what: str) -> List[int]:
    """Return the elements as integers; see `static`."""
    return [int(element) for element in static(value, what).reshape(-1)]
