"""The charts of the page as Vega-Lite specifications, without data: Altair checks them.

Data come under names, such as `threads`, from the page's script or from `picture`. Colours are told
apart by who cannot see all of them (Okabe and Ito), and each comes in three dashes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import altair as alt

Spec = dict[str, Any]
PALETTE = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#8C6BB1", "#7F7F7F",
)  # fmt: skip
DASHES = ((1, 0), (6, 2), (2, 2))
FLAW = "#D55E00"
BAND = "#56B4E9"
WIDTH = 900
"""Pixels, until the page knows how wide it is."""


def charts() -> Mapping[str, Spec]:
    """Return all charts by name."""
    made = {
        "river": river_chart(),
        "own": own_chart(),
        "truth": truth_chart(),
        "histogram": histogram_chart(),
        "places": places_chart(),
        "cumulative": cumulative_chart(),
        "dendrogram": dendrogram_chart(),
        "frontier": frontier_chart(),
    }
    return {name: _spec(chart) for name, chart in made.items()}


def _spec(chart: Any) -> Spec:
    """Return a chart's specification; what is named in data is given when it is drawn."""
    spec: Spec = chart.to_dict()
    for key in ("datasets", "config"):
        spec.pop(key, None)
    return spec


def _named(name: str) -> Any:
    import altair as alt

    return alt.NamedData(name=name)


def _layer_axis(title: str | None) -> alt.X:
    """Return the axis of layers, which is cut where `first` and `last` say; with names or bare."""
    import altair as alt

    scale = alt.Scale(
        domainMin=alt.ExprRef("first"), domainMax=alt.ExprRef("last"), nice=False, zero=False
    )
    bare = alt.Axis(labels=False, ticks=False, grid=False, title=None, domain=False)
    names = alt.Axis(
        labelExpr="datum.value == floor(datum.value) ? names[datum.value] || '' : ''",
        labelAngle=-40, labelLimit=110, labelOverlap="greedy", tickMinStep=1, grid=False,
        title=title, titlePadding=6,
    )  # fmt: skip
    return alt.X("x:Q", scale=scale, axis=bare if title is None else names)


def _hue() -> alt.Color:
    import altair as alt

    scale = alt.Scale(domain=list(range(len(PALETTE))), range=list(PALETTE))
    return alt.Color("hue:N", scale=scale, legend=None)


def _dash() -> alt.StrokeDash:
    import altair as alt

    scale = alt.Scale(domain=list(range(len(DASHES))), range=[list(dash) for dash in DASHES])
    return alt.StrokeDash("dash:N", scale=scale, legend=None)


def _layer_columns() -> alt.Chart:
    """Return the invisible columns that are pointed at, one for each layer."""
    import altair as alt

    tooltip = [
        alt.Tooltip("name:N", title="layer"),
        alt.Tooltip("operator:N", title="operator"),
        alt.Tooltip("classes:N", title="classes"),
        alt.Tooltip("born:N", title="born here"),
        alt.Tooltip("bits:N", title="bits all share"),
        alt.Tooltip("ulp:N", title="largest distance in ULP"),
        alt.Tooltip("deviating:N", title="deviating elements"),
    ]
    columns: alt.Chart = (
        alt.Chart(_named("layers"))
        .mark_rect(opacity=0.001, fill="#888888", clip=True)
        .encode(x=alt.X("left:Q").title(None), x2="right:Q", tooltip=tooltip)
    )
    return columns


def _parameters(chart: Any) -> Any:
    import altair as alt

    return chart.add_params(
        alt.param(name="first", value=-0.5),
        alt.param(name="last", value=10.5),
        alt.param(name="names", value=[]),
    )


def river_chart() -> Any:
    """Return the river of classes, the kernels, and the bits that all share."""
    import altair as alt

    axis = alt.Axis(labels=False, ticks=False, grid=False, domain=False, title="runs")
    scale = alt.Scale(
        reverse=True, nice=False, zero=False, domainMin=-1, domainMax=alt.ExprRef("deep")
    )
    y = alt.Y("y:Q", scale=scale, axis=axis)
    threads = (
        alt.Chart(_named("threads"))
        .mark_line(interpolate="monotone", strokeWidth=2.2, clip=True, strokeCap="butt")
        .encode(
            x=_layer_axis(None), y=y, detail="thread:N", color=_hue(), strokeDash=_dash(),
            tooltip=[alt.Tooltip("name:N", title="run")],
        )
    )  # fmt: skip
    points = (
        alt.Chart(_named("alone"))
        .mark_point(filled=True, size=28, clip=True)
        .encode(x=_layer_axis(None), y=y, color=_hue(), tooltip=["name:N"])
    )
    born = (
        alt.Chart(_named("born"))
        .mark_rule(color=FLAW, strokeDash=[3, 3], opacity=0.8, clip=True)
        .encode(x=_layer_axis(None))
    )
    parts = alt.layer(_layer_columns(), born, threads, points).properties(width=WIDTH, height=260)
    return _parameters(
        alt.vconcat(parts, _kernel_strip(), _bits(), spacing=6).resolve_scale(color="independent")
    )


def _kernel_strip() -> Any:
    import altair as alt

    axis = alt.Axis(title=None, grid=False, domain=False, ticks=False, labelLimit=110)
    return (
        alt.Chart(_named("kernels"))
        .mark_rect(clip=True, stroke="#ffffff", strokeWidth=0.6)
        .encode(
            x=alt.X("left:Q", axis=alt.Axis(labels=False, ticks=False, grid=False, title=None),
                    scale=alt.Scale(domainMin=alt.ExprRef("first"), domainMax=alt.ExprRef("last"),
                                    nice=False, zero=False)),
            x2="right:Q",
            y=alt.Y("who:N", axis=axis, sort=None),
            color=_hue(),
            tooltip=[alt.Tooltip("who:N", title="run"), alt.Tooltip("layer:N"),
                     alt.Tooltip("kernel:N", title="kernel"), alt.Tooltip("change:N")],
        )
        .properties(width=WIDTH, height=alt.Step(14))
    )  # fmt: skip


def _bits() -> Any:
    import altair as alt

    y = alt.Y(
        "bits:Q", title="bits all share",
        scale=alt.Scale(domainMin=0, domainMax=alt.ExprRef("whole"), nice=False),
        axis=alt.Axis(tickMinStep=1, tickCount=4),
    )  # fmt: skip
    line = (
        alt.Chart(_named("layers"))
        .mark_line(point=alt.OverlayMarkDef(size=22), color=PALETTE[0], strokeWidth=1.4, clip=True)
        .encode(x=_layer_axis("layer, in the order of the graph"), y=y)
    )
    both = alt.layer(_layer_columns(), line).properties(width=WIDTH, height=90)
    return both.add_params(alt.param(name="whole", value=23), alt.param(name="deep", value=10))


def own_chart() -> Any:
    """Return each layer's own error in roundings, with what rounding allows as a band."""
    import altair as alt

    y = alt.Y("error:Q", title="own error, in roundings", scale=_log(), axis=_powers(".3~g"))
    band = _band("bounds")
    dots = (
        alt.Chart(_named("own"))
        .mark_point(size=26, clip=True)
        .encode(
            x=_layer_axis("layer"), y=y, color=_hue(),
            shape=alt.Shape("verdict:N", legend=alt.Legend(title=None, orient="top"),
                            scale=alt.Scale(domain=["rounding", "beyond rounding"],
                                            range=["circle", "cross"])),
            tooltip=[alt.Tooltip("name:N", title="run"), alt.Tooltip("layer:N"),
                     alt.Tooltip("error:Q", format=".3g"), alt.Tooltip("limit:Q", format=".3g"),
                     alt.Tooltip("verdict:N")],
        )
    )  # fmt: skip
    return _parameters(alt.layer(band, dots).properties(width=WIDTH, height=180))


def truth_chart() -> Any:
    """Return each run's error against float64 over the layers, with the bound as a band."""
    import altair as alt

    y = alt.Y("error:Q", title="relative error against float64", scale=_log(),
              axis=_powers(".0e"))  # fmt: skip
    band = _band("relative_bounds")
    lines = (
        alt.Chart(_named("truth"))
        .mark_line(point=alt.OverlayMarkDef(size=18), strokeWidth=1.4, clip=True)
        .encode(
            x=_layer_axis("layer"), y=y, color=_hue(), strokeDash=_dash(), detail="name:N",
            tooltip=[alt.Tooltip("name:N", title="run"), alt.Tooltip("layer:N"),
                     alt.Tooltip("error:Q", format=".3g")],
        )
    )  # fmt: skip
    return _parameters(alt.layer(band, lines).properties(width=WIDTH, height=220))


def _band(name: str) -> Any:
    """Return what rounding allows at each layer that has a bound."""
    import altair as alt

    return (
        alt.Chart(_named(name))
        .mark_rect(opacity=0.25, color=BAND, clip=True)
        .encode(
            x=alt.X("left:Q").title(None), x2="right:Q",
            y=alt.Y("least:Q", title=None, scale=_log()), y2="limit:Q",
        )
    )  # fmt: skip


def _log() -> alt.Scale:
    import altair as alt

    return alt.Scale(type="log", nice=True)


def _powers(form: str) -> alt.Axis:
    import altair as alt

    return alt.Axis(format=form, tickCount=5, grid=False)


def histogram_chart() -> Any:
    """Return how many elements of a layer are how many ULP apart, for one pair of classes."""
    import altair as alt

    return (
        alt.Chart(_named("histogram"))
        .mark_bar(color=PALETTE[0])
        .encode(
            x=alt.X("from:N", sort=None, title="distance in ULP", axis=alt.Axis(labelAngle=-40)),
            y=alt.Y("count:Q", title="elements", scale=alt.Scale(type="symlog")),
            tooltip=[alt.Tooltip("from:N", title="ULP"), alt.Tooltip("count:Q", title="elements")],
        )
        .properties(width=320, height=170)
    )


def places_chart() -> Any:
    """Return where in a tensor elements deviate: channels by positions, shares as shades."""
    import altair as alt

    return (
        alt.Chart(_named("places"))
        .mark_rect()
        .encode(
            x=alt.X("position:O", title="position", axis=_sparse(), sort=None),
            y=alt.Y("channel:O", title="channel", axis=_sparse(), sort=None),
            color=alt.Color("share:Q", title="deviating",
                            scale=alt.Scale(domain=[0, 1], scheme="viridis"),
                            legend=alt.Legend(format=".0%")),
            tooltip=[alt.Tooltip("channel:O"), alt.Tooltip("position:O"),
                     alt.Tooltip("share:Q", format=".1%", title="deviating")],
        )
        .properties(width=320, height=200)
    )  # fmt: skip


def _sparse() -> alt.Axis:
    import altair as alt

    return alt.Axis(labelOverlap="greedy", labelAngle=0, ticks=False, domain=False)


def cumulative_chart() -> Any:
    """Return how many classes have been seen from the first machine on."""
    import altair as alt

    return (
        alt.Chart(_named("cumulative"))
        .mark_line(interpolate="step-after", point=alt.OverlayMarkDef(size=18), strokeWidth=1.8)
        .encode(
            x=alt.X("machine:Q", title="machines, by vendor, age and cores",
                    axis=alt.Axis(tickMinStep=1, grid=False), scale=alt.Scale(zero=False)),
            y=alt.Y("classes:Q", title="classes so far", axis=alt.Axis(tickMinStep=1),
                    scale=alt.Scale(domainMin=0)),
            color=_hue(), strokeDash=_dash(), detail="curve:N",
            tooltip=[alt.Tooltip("curve:N", title="of"), alt.Tooltip("name:N", title="machine"),
                     alt.Tooltip("classes:Q", title="classes so far")],
        )
        .properties(width=WIDTH, height=200)
    )  # fmt: skip


def dendrogram_chart() -> Any:
    """Return a tree of classes by the mantissa bits that they share."""
    import altair as alt

    x = alt.X("bits:Q", title="mantissa bits shared", axis=alt.Axis(tickMinStep=1),
              scale=alt.Scale(zero=False))  # fmt: skip
    y = alt.Y("row:Q", axis=None, scale=alt.Scale(reverse=True, nice=False, zero=False, padding=12))
    lines = (
        alt.Chart(_named("branches"))
        .mark_rule(strokeWidth=1.4, color="currentColor")
        .encode(x=x, y=y, x2="bits2:Q", y2="row2:Q")
    )
    leaves = (
        alt.Chart(_named("leaves"))
        .mark_text(align="left", dx=6, limit=360, fill="currentColor", fontSize=12)
        .encode(x=x, y=y, text="name:N", tooltip=["name:N"])
    )
    dots = (
        alt.Chart(_named("leaves")).mark_point(filled=True, size=50).encode(x=x, y=y, color=_hue())
    )
    return alt.layer(lines, leaves, dots).properties(width=WIDTH, height=160)


def frontier_chart() -> Any:
    """Return what mitigations leave over time and error; the figure in a point is the classes."""
    import altair as alt

    x = alt.X("time:Q", title="time of an inference, as a ratio to the model as it is",
              scale=alt.Scale(type="log", padding=20), axis=_powers(".3~g"))  # fmt: skip
    y = alt.Y("error:Q", title="relative error against float64",
              scale=alt.Scale(type="log", padding=20), axis=_powers(".0e"))  # fmt: skip
    told = [
        alt.Tooltip("backend:N"), alt.Tooltip("mitigation:N"), alt.Tooltip("classes:Q"),
        alt.Tooltip("error:Q", format=".3g"), alt.Tooltip("time:Q", format=".3g"),
    ]  # fmt: skip
    dots = (
        alt.Chart(_named("frontier"))
        .mark_point(size=320, filled=True, opacity=0.85)
        .encode(x=x, y=y, color=_hue(), tooltip=told,
                shape=alt.Shape("best:N", legend=alt.Legend(title=None, orient="top"),
                                scale=alt.Scale(domain=["on the frontier", "beaten"],
                                                range=["circle", "square"])))
    )  # fmt: skip
    numbers = (
        alt.Chart(_named("frontier"))
        .mark_text(fill="#000000", fontWeight="bold", fontSize=11)
        .encode(x=x, y=y, text="classes:Q", tooltip=told)
    )
    return alt.layer(dots, numbers).properties(width=WIDTH, height=280)


def picture(spec: Spec, data: Mapping[str, Sequence[Mapping[str, Any]]], kind: str) -> bytes:
    """Draw a chart without a browser, as `svg` or `png`."""
    import json

    import vl_convert

    whole = {**spec, "datasets": {name: list(rows) for name, rows in data.items()}}
    text = json.dumps(whole)
    if kind == "svg":
        return str(vl_convert.vegalite_to_svg(text)).encode()
    return bytes(vl_convert.vegalite_to_png(text, scale=2))
