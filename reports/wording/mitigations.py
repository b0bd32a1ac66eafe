"""Puts into words what to use for a model, and the smallest sets of mitigations that do."""

from __future__ import annotations

from collections.abc import Sequence

from xbackend.mitigation.recommend import Advice, AdviceKind, Price, advise
from xbackend.mitigation.results import ALL_BACKENDS, MitigationResult
from xbackend.mitigation.search import SearchResult
from xbackend.plugins.mitigation import BackendChange


def recommendation(rows: Sequence[MitigationResult], model: str) -> str:
    """Return what to use for a model: one sentence over each backend and all together.

    It ends with what unites the backends, if there are several.
    """
    found = advise(rows)
    said = [_together(each) if each.backend == ALL_BACKENDS else _alone(each) for each in found]
    return f"For {model} use {'; '.join(said)}." if said else f"Nothing ran {model}."


def _alone(found: Advice) -> str:
    """Return what is to be said of one backend."""
    word = found.backend
    if found.kind is AdviceKind.RAN_ONCE:
        return f"{word} as it is, which ran once only"
    if found.kind is AdviceKind.ONE_CLASS:
        return f"{word} as it is (one class of {found.runs} runs)"
    if found.chosen is None:
        lost = _without_loss(found)
        return (
            f"{word} as it is, as nothing here leaves fewer than its {found.classes} classes{lost}"
        )
    if found.price is not None:
        return f"{_with(word, found.chosen)} ({_price(found.price)})"
    return f"{_with(word, found.chosen)}, which leaves {found.left} of {found.classes} classes"


def _with(word: str, row: MitigationResult) -> str:
    """Return a backend with a mitigation; one that replaces it is called a replacement."""
    if row.replaced_by:
        return f"{row.replaced_by} in place of {word}, by {row.mitigation}"
    return f"{word} with {row.mitigation}"


def _together(found: Advice) -> str:
    """Return what is to be said of all backends together."""
    if found.kind is AdviceKind.ONE_CLASS:
        return "all backends give the same bits as they are"
    chosen, price = found.chosen, found.price
    if chosen is not None and price is not None and chosen.replaced_by:
        return (
            "nothing here gives all backends the same bits but a replacement: "
            f"{chosen.replaced_by} in place of others, by {chosen.mitigation} ({_price(price)})"
        )
    if chosen is not None and price is not None:
        return f"for the same bits in all backends {chosen.mitigation} ({_price(price)})"
    name = f", {found.left} with {chosen.mitigation}" if chosen is not None else ""
    return (
        f"nothing here gives all backends the same bits{_without_loss(found)} "
        f"({found.classes} classes as they are{name})"
    )


def _without_loss(found: Advice) -> str:
    return " without losing runs" if found.loses_runs else ""


def _price(price: Price) -> str:
    """Return what a mitigation costs."""
    parts = ["one run is left" if price.one_run_left else "one class"]
    if price.time is not None:
        parts.append(f"about {price.time:.2g} times the time")
    if price.fidelity is not None:
        now, before = price.fidelity
        parts.append(f"{now:.0f} bits of fidelity instead of {before:.0f}")
    return ", ".join(parts)


def set_text(found: SearchResult, model: str) -> str:
    """Return a sentence on the smallest set that was found, and the lines to paste."""
    who = ", ".join(found.backends)
    if found.names is None:
        left = "could not run" if found.classes is None else f"leaves {found.classes} classes"
        return f"{who}: no set gives one class; everything on together {left}."
    if not found.names:
        return f"{who}: one class as it is."
    lines = [f"{who}: one class with {' + '.join(found.names)} ({found.tried} sets tried)."]
    lines += [
        f"  That replaces {word}: {change.replacement_backend} runs in its place."
        for word, change in found.changes.items()
        if change.replacement_backend not in ("", word)
    ]
    for word, change in found.changes.items():
        if change != BackendChange():
            again = () if change.rewrite else (_rerun_command(word, change, model),)
            told = (line for line in change.user_code if not line.startswith("xbackend run "))
            lines += [f"  {word}:", *(f"    {line}" for line in (*told, *again))]
    return "\n".join(lines)


def _rerun_command(word: str, change: BackendChange, model: str) -> str:
    """Return the command that runs a backend so here, as far as a command can."""
    target = change.replacement_backend or word
    sets = [f"--set {target}.{key}={_text(value)}" for key, value in change.settings.items()]
    sets += [f"--precision {change.precision}"] if change.precision else []
    sets += [f"--threads {change.threads}"] if change.threads else []
    return " ".join(["xbackend run", model, "--backends", target, *sets])


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
