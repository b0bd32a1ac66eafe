"""The table of operators: how each ONNX operator's rounding is bounded."""

from __future__ import annotations

from collections.abc import Mapping

from . import elements, integers, movement, normalisations, quantized, sums
from .bound import Rule
from .composed import attention, recurrent

RULES: Mapping[str, Rule] = {
    **movement.RULES,
    **elements.RULES,
    **sums.RULES,
    **normalisations.RULES,
    **quantized.RULES,
    **attention.RULES,
    **recurrent.RULES,
}
"""By the operator's name; ONNX's own domain, and `com.microsoft` for what begins with QLinear."""
LIPSCHITZ = frozenset(("Relu", "Clip", "Identity"))
"""Operators of single elements that no error grows in: a kernel may compute them with the node
before them, of which nothing is recorded then."""


def rule_for(operator: str, domain: str = "", dtype: str = "") -> Rule | None:
    """Return how an operator is judged that gives a format; None where no bound is known.

    >>> rule_for("Conv") is not None, rule_for("Conv", "com.example") is None
    (True, True)
    """
    if domain in ("", "ai.onnx") and dtype in integers.KINDS and operator in integers.RULES:
        return integers.RULES[operator]
    own = domain in ("", "ai.onnx") or (domain == "com.microsoft" and operator[:7] == "QLinear")
    return RULES.get(operator) if own or (domain, operator) in ALIASES else None


def reason_against(operator: str, domain: str = "") -> str:
    """Return why no bound is known for an operator, in one clause.

    >>> reason_against("RandomNormal"), reason_against("Foo", "com.example")
    ('it draws numbers at random', 'no bound is known for com.example.Foo')
    """
    told = WITHOUT_BOUND.get((domain, operator))
    return told or f"no bound is known for {f'{domain}.' if domain else ''}{operator}"


_RANDOM = "Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike"
_SEQUENCES = (
    "Optional OptionalGetElement OptionalHasElement SequenceAt SequenceConstruct SequenceEmpty "
    "SequenceErase SequenceInsert SequenceLength SequenceMap SplitToSequence ConcatFromSequence"
)
_NOT_CARRIED = "no error is carried through its steps"
_UNFOLLOWED = (
    "AffineGrid CausalConvWithState LinearAttention NegativeLogLikelihoodLoss RoiAlign "
    "SoftmaxCrossEntropyLoss SwiGLU BlackmanWindow HammingWindow HannWindow"
)
_POWERS = "GlobalLpPool LpPool"
_FUSED = (
    ("", "SimplifiedLayerNormalization"),
    *(
        ("com.microsoft", name)
        for name in (
            "BiasGelu DynamicQuantizeMatMul FastGelu FusedMatMul MatMulIntegerToFloat MatMulNBits "
            "MultiHeadAttention QuickGelu RotaryEmbedding SimplifiedLayerNormalization "
            "SkipLayerNormalization SkipSimplifiedLayerNormalization"
        ).split()
    ),
)
_ML = (
    "ArrayFeatureExtractor Binarizer LinearClassifier LinearRegressor Normalizer Scaler "
    "TreeEnsembleClassifier TreeEnsembleRegressor"
)
FUSED_BY_ORT = "ONNX Runtime's optimiser makes it of several operators, which are judged apart"
WITHOUT_BOUND: Mapping[tuple[str, str], str] = {
    **{("", name): "its own graph's values are not recorded" for name in ("If", "Loop", "Scan")},
    **{("", name): "sequences are not recorded" for name in _SEQUENCES.split()},
    **{("", name): _NOT_CARRIED for name in _UNFOLLOWED.split()},
    ("com.microsoft", "DynamicQuantizeLSTM"): _NOT_CARRIED,
    ("com.microsoft", "GroupQueryAttention"): _NOT_CARRIED,
    **{("", name): "it draws numbers at random" for name in _RANDOM.split()},
    ("", "NonMaxSuppression"): "ties of overlaps decide what it names",
    ("", "Det"): "how far its pivots grow is not bounded",
    **{
        ("ai.onnx.ml", name): "trees and steps of ai.onnx.ml are not bounded"
        for name in _ML.split()
    },
    **{("", name): "no error is carried through its powers" for name in _POWERS.split()},
    **dict.fromkeys(_FUSED, FUSED_BY_ORT),
    ("com.microsoft", "Attention"): "what its mask means depends on its shape and attributes",
}
"""Operators that are not judged, to the reason; a test holds this against what backends know."""
ALIASES = frozenset(
    (
        ("com.microsoft", "Gelu"),
        ("com.microsoft", "QGemm"),
        ("com.microsoft", "QuantizeLinear"),
        ("com.microsoft", "DequantizeLinear"),
    )
)
"""Operators of ONNX Runtime that mean what those of ONNX do."""
