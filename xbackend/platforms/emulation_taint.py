"""Which tensors of a run are not a real processor's, because an emulator computed before them.

An emulator's arithmetic is exact, but for the estimates `rcpps` and `rsqrtps`; what a framework
rests on them is in its `BackendSpec.unfaithful`. Nothing that is computed from such a value can
be trusted to have the bits of a real processor either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from xbackend.worker.contract import UnfaithfulOperators
from xbackend.worker.machine.environment import TCG

Record = dict[str, Any]

X86 = ("x86_64", "i686", "i386")
"""Machines, as `uname` names them, that have the estimates; ARM's are defined to the last bit."""
UNKNOWN = "operators that are not known"
"""What a run's tensors rest on where nothing is known of its graph."""


def mark_emulated(record: Record, rules: Sequence[UnfaithfulOperators]) -> Record:
    """Return a run's record with what an emulator may have spoilt; others as they are.

    `emulation_unsafe` names tensors, outputs among them, in graph order. `emulation_reasons`
    says for each operator from which they come why it cannot be trusted.
    """
    if not is_emulated(record.get("hardware") or {}):
        return record
    reasons = unfaithful_operators(record, rules)
    layers = record["layers"]
    if not layers and rules:
        return {
            **record,
            "emulation_unsafe": _recorded(record),
            "emulation_reasons": {UNKNOWN: rules[0].reason},
        }
    met = {row["operator"] for row in layers}
    return {
        **record,
        "emulation_unsafe": tainted_tensors(layers, reasons, _recorded(record)),
        "emulation_reasons": {name: why for name, why in reasons.items() if name in met},
    }


def is_emulated(hardware: Mapping[str, Any]) -> bool:
    """Tell whether QEMU computed as an x86 processor."""
    return hardware.get("hypervisor") == TCG and hardware.get("machine", X86[0]) in X86


def unfaithful_operators(record: Record, rules: Iterable[UnfaithfulOperators]) -> dict[str, str]:
    """Return the operators that cannot be trusted under a run's settings, with the reason."""
    settings = {**record["settings"], "precision": record["precision"]}
    flags = set(record["hardware"].get("flags", ()))
    found: dict[str, str] = {}
    for rule in rules:
        holds = all(settings.get(key) in values for key, values in rule.where.items())
        excused = record["backend_version"] in rule.unless_version or flags & set(rule.unless_flag)
        if holds and not excused:
            for operator in rule.operators:
                found.setdefault(operator, rule.reason)
    return found


def tainted_tensors(
    layers: Iterable[Mapping[str, Any]], operators: Iterable[str], recorded: Iterable[str] = ()
) -> list[str]:
    """Return the tensors that such an operator computes, or that are computed from such a tensor.

    Where a layer does not say what it reads, it may read everything before it. A tensor that was
    recorded and that no layer computes may come from anywhere.

    >>> rows = [("s", "Softmax", ["x"]), ("c", "Conv", ["x"]), ("a", "Add", ["s", "c"])]
    >>> layers = [dict(zip(("tap", "operator", "inputs"), row)) for row in rows]
    >>> tainted_tensors(layers, {"Softmax"})
    ['s', 'a']
    """
    suspects = set(operators)
    found: dict[str, None] = {}
    known = set()
    for row in layers:
        known.add(row["tap"])
        reads = row.get("inputs")
        spoilt = bool(found) if reads is None else any(name in found for name in reads)
        if spoilt or row["operator"] in suspects:
            found[row["tap"]] = None
    if found:
        found.update(dict.fromkeys(name for name in recorded if name not in known))
    return list(found)


def last_faithful_tensors(
    layers: Iterable[Mapping[str, Any]], rules: Iterable[UnfaithfulOperators], precision: str
) -> list[str]:
    """Return the last tensors that are safe by any rules, where outputs may not be.

    Those that a spoilt layer reads. Settings, versions and flags excuse nothing.

    >>> rows = [("c", "Conv", ["x"]), ("s", "Softmax", ["c"])]
    >>> layers = [dict(zip(("tap", "operator", "inputs"), row)) for row in rows]
    >>> last_faithful_tensors(layers, [UnfaithfulOperators(("Softmax",), "why")], "float32")
    ['c']
    """
    known = list(layers)
    suspects = {
        operator
        for rule in rules
        if precision in rule.where.get("precision", (precision,))
        for operator in rule.operators
    }
    spoilt = set(tainted_tensors(known, suspects))
    read = {name for row in known if row["tap"] in spoilt for name in row.get("inputs") or ()}
    return [row["tap"] for row in known if row["tap"] in read and row["tap"] not in spoilt]


def _recorded(record: Record) -> list[str]:
    """Return the names of all tensors that a run recorded, taps first."""
    return list(
        dict.fromkeys(
            row["name"]
            for kind in ("taps", "outputs")
            for result in record["results"]
            for row in result[kind]
        )
    )
