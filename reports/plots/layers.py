"""Plots of layers: classes and bits along the network, and both sides of each activation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from xbackend.comparison.activations import ActivationSummary, activations, summarise_activations
from xbackend.comparison.comparison import Comparison
from xbackend.comparison.layers import TapSummary
from xbackend.comparison.summary import Summary, summaries
from xbackend.errors import UsageError

from ..activations import by_section, title_of
from ..layers import trust_marks
from ..wording.formatting import DAGGER, heading, printable, shorten
from .figure_file import PALETTE, open_figure

WIDEST = 24.0
"""Inches: more layers than fit are drawn closer."""
STEP = 0.17
"""Inches for a layer whose name is shown."""
LEGIBLE = 140
"""With more layers than these, every second name and so on is left out."""
LONGEST = 28
SHADES = {"activation": "#ffe8c2", "pooling": "#cfe6f7"}
CLASSES, BITS, BORN, JOINED = PALETTE[0], PALETTE[3], PALETTE[2], PALETTE[5]
HEIGHT = 4.6
"""Inches for a cohort."""
MOST = 12
"""Sections in one figure."""


def draw_layers(comparison: Comparison, path: Path) -> None:
    """Draw classes and remaining bits along the layers of each cohort: see `open_figure`."""
    found = [each for each in summaries(comparison) if each.taps and each.run_count > 1]
    _check(len(found), "No two runs gave outputs of one model, so there is nothing to draw.")
    width = _width(max(len(summary.taps) for summary in found))
    with open_figure(path, width, HEIGHT * len(found)) as figure:
        figure.set_layout_engine("constrained")
        grids = figure.subplots(2 * len(found), 1, squeeze=False)
        for place, summary in enumerate(found):
            _draw_section(grids[2 * place, 0], grids[2 * place + 1, 0], summary)


def _check(sections: int, nothing: str) -> None:
    """Raise UsageError where there is nothing to draw, or too much."""
    if not sections:
        raise UsageError(nothing)
    if sections > MOST:
        raise UsageError(
            f"There are {sections} models, precisions and inputs, more than the {MOST} that fit a "
            "figure. Choose some with --model and --where."
        )


def _width(layers: int) -> float:
    return min(WIDEST, max(7.0, 1.5 + STEP * layers))


def _draw_section(above: Any, below: Any, summary: Summary) -> None:
    taps = summary.taps
    places = range(len(taps))
    for axes in (above, below):
        _shade(axes, taps)
        axes.set_xlim(-0.6, len(taps) - 0.4)
    counts = [tap.eqc_count for tap in taps]
    whole = [place for place, tap in enumerate(taps) if not tap.missing]
    fewer = [place for place, tap in enumerate(taps) if tap.missing]
    above.step(whole, [counts[n] for n in whole], where="mid", color=CLASSES, label="classes")
    if fewer:
        above.plot(
            fewer, [counts[n] for n in fewer], "_", color=CLASSES, markersize=7,
            label="of the runs that recorded it",
        )  # fmt: skip
    _mark(above, taps, counts, "^", BORN, "born", lambda tap: tap.origin.born)
    _mark(above, taps, counts, "v", JOINED, "collapse", lambda tap: tap.origin.collapsed)
    above.set_ylabel("classes")
    above.yaxis.get_major_locator().set_params(integer=True)
    above.set_ylim(0.5, max(counts) * 1.12 + 0.5)
    above.set_xticks(places, [])
    title = f"{shorten(heading(summary), 90)}:\nclasses and shared bits over the layers"
    above.set_title(title, loc="left", fontsize=10)
    above.legend(
        handles=[*above.get_legend_handles_labels()[0], *_patches(taps)], fontsize=7,
        loc="center left", bbox_to_anchor=(1, 0.5), frameon=False,
    )  # fmt: skip
    _draw_bits(below, taps, summary.mantissa_bits)
    _name(below, [f"{tap.tap}{trust_marks(tap)}" for tap in taps])
    below.set_xlabel("\n".join(filter(None, ["layer, in the order of the graph", _legend(taps)])))


def _draw_bits(axes: Any, taps: Sequence[TapSummary], whole: int | None) -> None:
    bits = [tap.metrics.remaining_precision for tap in taps]
    values = [float("nan") if each is None else each for each in bits]
    axes.plot(range(len(taps)), values, color=BITS, marker=".", linewidth=1)
    axes.set_ylabel(f"mantissa bits that\nall share (of {23 if whole is None else whole})")
    axes.set_ylim(-0.5, (23 if whole is None else whole) + 0.5)
    axes.yaxis.get_major_locator().set_params(integer=True)


def _shade(axes: Any, taps: Sequence[TapSummary]) -> None:
    for place, tap in enumerate(taps):
        if tap.kind is not None:
            axes.axvspan(place - 0.5, place + 0.5, color=SHADES[tap.kind], linewidth=0)


def _patches(taps: Sequence[TapSummary]) -> list[Any]:
    from matplotlib.patches import Patch

    kinds = [kind for kind in SHADES if any(tap.kind == kind for tap in taps)]
    return [Patch(color=SHADES[kind], label=kind) for kind in kinds]


def _mark(
    axes: Any,
    taps: Sequence[TapSummary],
    counts: Sequence[int],
    marker: str,
    color: str,
    label: str,
    number: Callable[[TapSummary], int | None],
) -> None:
    """Mark the layers at which classes are born or collapse; hollow where emulation may have."""
    for hollow in (False, True):
        at = [
            place
            for place, tap in enumerate(taps)
            if number(tap) and (label == "born" and bool(tap.origin.born_by_emulation)) == hollow
        ]
        if at:
            shown = f"{label} (by emulation)" if hollow else label
            axes.plot(
                at, [counts[place] for place in at], marker, color=color, label=shown, markersize=6,
                markerfacecolor="white" if hollow else color,
            )  # fmt: skip


def _legend(taps: Sequence[TapSummary | ActivationSummary]) -> str:
    said = {
        "*": "* with layers of runs whose bits the recording changed",
        DAGGER: f"{DAGGER} comes from emulated operators: perhaps the bits of no real processor",
    }
    return "\n".join(
        text for sign, text in said.items() if any(sign in trust_marks(tap) for tap in taps)
    )


def _name(axes: Any, names: Sequence[str]) -> None:
    every = 1 + (len(names) - 1) // LEGIBLE
    places = range(0, len(names), every)
    shown = [shorten(printable(names[place]), LONGEST) for place in places]
    axes.set_xticks(places, shown, rotation=90, fontsize=6)


def draw_activations(comparison: Comparison, path: Path) -> None:
    """Draw shares and bits before and after each activation and pooling layer."""
    sections = by_section(activations(comparison))
    found = [summarise_activations(passages) for passages in sections]
    _check(len(found), "No run recorded an activation or a pooling layer, see xbackend run --taps.")
    width = _width(max(map(len, found)))
    with open_figure(path, width, HEIGHT * len(found)) as figure:
        figure.set_layout_engine("constrained")
        grids = figure.subplots(2 * len(found), 1, squeeze=False)
        for place, (changes, passages) in enumerate(zip(found, sections, strict=True)):
            above, below = grids[2 * place, 0], grids[2 * place + 1, 0]
            title = f"{shorten(title_of(passages), 90)}:\nbefore and after each activation"
            above.set_title(title, loc="left", fontsize=10)
            _draw_sides(above, changes, lambda m: _percent(m.deviating_fraction))
            _draw_sides(below, changes, lambda m: m.remaining_precision)
            above.set_ylabel("deviating elements, %")
            above.set_ylim(-3, 103)
            above.set_xticks(range(len(changes)), [])
            above.legend(
                handles=_side_handles(changes), fontsize=7, ncols=4, frameon=False,
                loc="lower right", bbox_to_anchor=(1, 1),
            )  # fmt: skip
            below.set_ylabel("mantissa bits\nthat all share")
            below.set_ylim(bottom=-0.5)
            below.yaxis.get_major_locator().set_params(integer=True)
            _name(
                below,
                [f"{each.tap.tap} ({each.tap.operator}){trust_marks(each)}" for each in changes],
            )
            below.set_xlabel("\n".join(filter(None, ["layer", _legend(changes)])))


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _draw_sides(
    axes: Any, changes: Sequence[ActivationSummary], value: Callable[[Any], float | None]
) -> None:
    """Draw a hollow point before each layer, a full one after it, and a line between."""
    for place, change in enumerate(changes):
        if change.tap.kind is not None:
            axes.axvspan(place - 0.5, place + 0.5, color=SHADES[change.tap.kind], linewidth=0)
        if change.before is None or change.after is None:
            continue
        before, after = value(change.before), value(change.after)
        if before is None or after is None:
            continue
        axes.plot([place - 0.2, place + 0.2], [before, after], color=CLASSES, linewidth=1)
        axes.plot(place - 0.2, before, "o", color=CLASSES, markerfacecolor="white", markersize=5)
        axes.plot(place + 0.2, after, "o", color=CLASSES, markersize=5)
    axes.set_xlim(-0.6, len(changes) - 0.4)


def _side_handles(changes: Sequence[ActivationSummary]) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    hollow = {"markerfacecolor": "white", "markersize": 5, "color": CLASSES, "linestyle": ""}
    full = {"markersize": 5, "color": CLASSES, "linestyle": ""}
    points = [
        Line2D([], [], marker="o", label="before", **hollow),
        Line2D([], [], marker="o", label="after", **full),
    ]
    kinds = [kind for kind in SHADES if any(each.tap.kind == kind for each in changes)]
    return [*points, *(Patch(color=SHADES[kind], label=kind) for kind in kinds)]
