"""What oneDNN says of the instructions that it uses, inside whatever framework it computes for."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Callable

VARIABLE = "ONEDNN_MAX_CPU_ISA"
"""Holds the most instructions that oneDNN uses; read once, when the library is loaded."""

SETS = ("sse41", "avx", "avx2", "avx512_core")
"""Instruction sets of oneDNN, each with all before it: values of the variable."""

NAMES = (("AVX-512", "avx512_core"), ("AVX2", "avx2"), ("AVX", "avx"), ("SSE4.1", "sse41"))
"""How oneDNN begins to name the set that it uses, and the variable's value for it."""

MORE = re.compile(r"DL Boost|bfloat16|float16|AMX")
"""What it names beyond avx512_core."""


def isa_from_log(text: str) -> str:
    """Return the instructions that a verbose log names; empty where it names none.

    >>> isa_from_log("onednn_verbose,info,cpu,isa:Intel AVX2\\n")
    'Intel AVX2'
    """
    found = re.search(r"info,cpu,isa:(.*)", text)
    return found[1].strip() if found else ""


def isa_told_by(
    operate: Callable[[], object], give_back: Callable[[int], None] | None = None
) -> str:
    """Return what oneDNN tells on the process's standard output while something is computed.

    `give_back` is called with a copy of the output's descriptor and puts it back; left out, the
    output goes on to where it went.
    """
    import tempfile  # costs as much as a small model, so only where it is needed

    sys.stdout.flush()
    kept = os.dup(1)
    with tempfile.TemporaryFile() as stream:
        os.dup2(stream.fileno(), 1)
        try:
            operate()
        finally:
            ctypes.CDLL(None).fflush(None)
            (give_back or restore)(kept)
        stream.seek(0)
        return isa_from_log(stream.read().decode(errors="replace"))


def restore(kept: int) -> None:
    """Let everything print to where it did."""
    os.dup2(kept, 1)
    os.close(kept)


def is_within_isa_limit(said: str, most: str) -> bool:
    """Tell whether what oneDNN says it uses is no more than a limit allows.

    >>> is_within_isa_limit("Intel AVX2", "avx512_core"), is_within_isa_limit("Intel AVX2", "avx")
    (True, False)
    """
    found = next((value for name, value in NAMES if name in said), None)
    if found is None or SETS.index(found) > SETS.index(most):
        return False
    return not (most == "avx512_core" and MORE.search(said))
