"""What ONNX Runtime says when it refuses a model, in one sentence."""

from __future__ import annotations

import re

import onnxruntime

from xbackend.worker.contract import Unsupported

PREFIXES = (
    re.compile(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : "),
    re.compile(r"^Load model from .*? failed: ?"),
    re.compile(r"^/\S+\.(?:cc|h):\d+ .*?\) (?=[A-Z])"),
    re.compile(r"^This is an invalid model\. "),
)
"""What stands before the sentence: status codes, paths, signatures of C++ functions."""

LACKS = (
    "Could not find an implementation",
    "is not a registered function/op",
    "No Op registered",
    "Unsupported model IR version",
    "is newer than what it reads",
)
"""Parts of messages which say that ONNX Runtime lacks something, not that the model is broken."""

NEWER = re.compile(r"Opset (\d+) is under development.*till opset (\d+)")
"""What it says, in four sentences, of an opset that it does not read yet."""

UNTYPED = re.compile(r"^Type Error: Type 'tensor\((?:double|float16|bfloat16)\)'")
"""What it says of a float format that an operator did not have in the model's opset."""


def translate_error(error: Exception, precision: str) -> Exception:
    """Return the exception to raise for one that a session was not opened with.

    `Unsupported` where ONNX Runtime lacks a kernel, operator or opset; else one of the same class.
    """
    detail = sentence(str(error))
    if any(part in detail for part in LACKS) or UNTYPED.search(detail):
        version = onnxruntime.__version__
        return Unsupported(f"ONNX Runtime {version} cannot run this model in {precision}: {detail}")
    return type(error)(f"ONNX Runtime refuses the model: {detail}")


def sentence(message: str) -> str:
    """Return the first line of a message without what only its authors read.

    >>> sentence("[ONNXRuntimeError] : 1 : FAIL : Fatal error: a:B(-1) is not a registered")
    'Fatal error: a:B(-1) is not a registered.'
    """
    text = next((line for line in message.splitlines() if line.strip()), "it gives no reason")
    for prefix in PREFIXES:
        text = prefix.sub("", text)
    newer = NEWER.search(text)
    if newer:
        return (
            f"Opset {newer[1]} is newer than what it reads, up to {newer[2]}. "
            "Convert the model with onnx.version_converter."
        )
    return text.strip().rstrip(".") + "."
