"""Which boxes are left when those go that overlap a better one: ONNX's NonMaxSuppression.

Every step is a single operation in float32, so that any framework's arrays give the same choice.
"""

from __future__ import annotations

from typing import Any, List, Optional

import numpy as np

Array = np.ndarray[Any, Any]


def chosen_boxes(
    boxes: Array,
    scores: Array,
    most: int,
    overlap: float,
    least: Optional[float],
    centred: bool,
) -> Array:
    """Return [batch, class, box] of what is left, best first: boxes (B, N, 4), scores (B, C, N).

    At most `most` of each class, with scores above `least`; one goes if it overlaps a better one by
    more than `overlap`. Boxes are two corners, or a centre, width and height.
    """
    found: List[List[int]] = []
    for batch in range(scores.shape[0]):
        corners = _corners(boxes[batch].astype(np.float32), centred)
        for kind in range(scores.shape[1]):
            kept = _kept(corners, scores[batch, kind], most, np.float32(overlap), least)
            found += [[batch, kind, place] for place in kept]
    return np.array(found, np.int64).reshape(-1, 3)


def _corners(boxes: Array, centred: bool) -> Array:
    """Return the lesser and the greater corner of each box."""
    if centred:
        half = boxes[:, 2:] / np.float32(2)
        return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)
    low = np.minimum(boxes[:, :2], boxes[:, 2:])
    return np.concatenate([low, np.maximum(boxes[:, :2], boxes[:, 2:])], axis=1)


def _kept(
    corners: Array, scores: Array, most: int, overlap: Any, least: Optional[float]
) -> List[int]:
    order = np.argsort(-scores, kind="stable")
    candidates = [int(i) for i in order if least is None or scores[i] > np.float32(least)]
    kept: List[int] = []
    for place in candidates:
        if len(kept) >= most:
            break
        if all(_shared(corners[place], corners[other]) <= overlap for other in kept):
            kept.append(place)
    return kept


def _shared(one: Array, other: Array) -> Any:
    """Return the area that two boxes share, over the area that either has."""
    size = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    if (size <= 0).any():
        return np.float32(0)
    common = size[0] * size[1]
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    if areas[0] <= 0 or areas[1] <= 0:
        return np.float32(0)
    return common / (areas[0] + areas[1] - common)
