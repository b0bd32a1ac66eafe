"""Compares runs, and tells for each layer whether its error is inherited or its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xbackend.api.arguments import (
    PathLike,
    Progress,
    StoreLike,
    Where,
    Words,
    execution_context,
    one_text,
    store_of,
    texts,
    where_texts,
    words,
)
from xbackend.api.results import Listing, Section, data_frame
from xbackend.api.runs import Runs
from xbackend.comparison import comparison as kernel
from xbackend.comparison.across.sections import compare_across, compare_what_can_be
from xbackend.comparison.compare import compare_runs
from xbackend.comparison.comparison import Classes, TapComparison
from xbackend.comparison.findings import Certificate, Isolation, ReferenceComparison
from xbackend.comparison.layers import TapSummary
from xbackend.comparison.summary import summaries
from xbackend.diagnosis.certificate import certify as certify_runs
from xbackend.diagnosis.isolation_pairs import isolate_all
from xbackend.diagnosis.reference import BACKENDS, parse_reference
from xbackend.diagnosis.reference_comparison import compare_with_reference
from xbackend.errors import StoreError, UsageError, XbackendError
from xbackend.facts.certified import has_fault
from xbackend.facts.explanation import Explanation
from xbackend.facts.explanation import explain as explain_result
from xbackend.facts.gates import gate_failures, needs_certificates, needs_pairs, parse_gate
from xbackend.facts.pairs import with_pairs
from xbackend.plugins import registry
from xbackend.store.query import Query, filter_runs, select
from xbackend.store.records import Run

Record = dict[str, Any]


@dataclass(frozen=True)
class Comparison:
    """Runs compared bit by bit; `print` shows the report for a terminal, a notebook its tables."""

    result: kernel.Comparison
    """All that reports lay out."""

    @property
    def runs(self) -> tuple[Run, ...]:
        """Every run that was selected, failed and skipped ones among them."""
        return self.result.runs

    @property
    def sections(self) -> tuple[Section, ...]:
        """One for each model, precision and set of inputs, whose runs can be compared."""
        return tuple(map(Section, summaries(self.result)))

    @property
    def section(self) -> Section:
        """The only section. Raises UsageError where there are several or none."""
        found = self.sections
        if len(found) == 1:
            return found[0]
        known = "; ".join(f"{each.model} in {each.precision}" for each in found) or "nothing"
        raise UsageError(
            f"The comparison has {len(found)} sections ({known}). Take one of `sections`, or "
            "narrow with model= and where=."
        )

    @property
    def classes(self) -> Classes:
        """The equivalence classes of the only section, see `Section.classes`."""
        return self.section.classes

    @property
    def first_divergence(self) -> TapComparison | None:
        """The first tensor that differs in the only section."""
        return self.section.first_divergence

    @property
    def layers(self) -> Listing[TapSummary]:
        """The tensors of the only section, in graph order."""
        return self.section.layers

    @property
    def label_flips(self) -> tuple[str, ...]:
        """Ids of the only section's runs of which a label is not the first run's."""
        return self.section.label_flips

    @property
    def isolations(self) -> tuple[Isolation, ...]:
        """What `isolate` found: which layers have an error of their own."""
        return self.result.isolations

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """What `certify` found: which layers of which runs rounding does not explain."""
        return self.result.certificates

    @property
    def has_fault(self) -> bool:
        """Whether `certify` found a layer beyond rounding, or an export of another function."""
        return has_fault(self.result)

    @property
    def reference_comparisons(self) -> tuple[ReferenceComparison, ...]:
        """Who is nearer to the model in float64, where `reference` was asked for."""
        return self.result.reference_comparisons

    @property
    def left_out(self) -> tuple[str, ...]:
        """A sentence for each record of the store that is not sound, and so was not compared."""
        return tuple(map(str, self.result.left_out))

    def missed_thresholds(
        self, *, fail_under: int | None = None, max_eqcs: int | None = None
    ) -> list[str]:
        """Return a sentence for each output with fewer common mantissa bits or more classes."""
        return kernel.threshold_failures(self.result, fail_under, max_eqcs)

    def broken_gates(self, rules: str | Sequence[str]) -> list[str]:
        """Return a sentence for each tensor that breaks a rule: `output: bits>=16, flips=0`.

        One for which nothing was compared is broken. Of the rule `rounding` layers are certified,
        if they are not. Raises UsageError for what is no rule.
        """
        gates = [parse_gate(rule) for rule in texts(rules, "rules=")]
        result = with_pairs(self.result) if needs_pairs(gates) else self.result
        if needs_certificates(gates) and not self.certificates:
            with suppress(XbackendError):  # of what nobody can judge the gate says so
                result = certify(dataclasses.replace(self, result=result)).result
        return [str(failure) for failure in gate_failures(result, gates)]

    def with_pairs(self, most_elements: int | None = None) -> Comparison:
        """Return the same with all metrics of each pair of classes: `result.pairs`.

        Errors, norms, cosine, SNR, ULP distances, the worst elements, where elements deviate. At
        most so many elements are read, of outputs and of layers that bear classes first.
        """
        return dataclasses.replace(self, result=with_pairs(self.result, most_elements))

    def render(self, format: str = "table") -> str:
        """Return a report: table, json, markdown, csv, html or another that is installed."""
        return registry.report(format)(self.result)

    def render_certificates(self) -> str:
        """Return for a terminal what `certify` found, and nothing else."""
        return registry.renderer("certificates")(self.result)

    def plot(self, name: str, path: PathLike) -> None:
        """Draw layers, activations, cumulative or dendrogram into a .png, .svg or .pdf file.

        Raises UsageError for an unknown plot, and without matplotlib.
        """
        registry.plot(name)(self.result, Path(path))

    def to_json(self) -> str:
        """Return what `xbackend compare --format json` prints."""
        return self.render("json")

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame, a row for each tensor of each sample of each section.

        Raises UsageError where pandas is not installed.
        """
        rows = [tap.to_dict() for sample in self.result.samples for tap in sample.taps]
        return data_frame([{**row.pop("group"), **row} for row in rows])

    def __str__(self) -> str:
        """Return the report for a terminal."""
        return self.render("table")

    def _repr_html_(self) -> str:
        """Return the tables of the HTML report, for a notebook."""
        return registry.renderer("notebook")(self.result)


def compare(
    runs: Runs | Sequence[Run] | None = None,
    *,
    store: StoreLike = None,
    model: str | None = None,
    where: Where = None,
    group_by: Words = None,
    across: bool | None = None,
    reference: str | None = None,
    helpers: bool = False,
    timeout: float = 600.0,
    jobs: int | None = None,
    trust_platforms: bool = False,
    progress: Progress = None,
) -> Comparison:
    """Compare runs bit by bit: those that are given, or those of a store.

    Nothing is run, unless a `reference` is asked for that the store does not have.

    Args:
        runs: What `run` returned, or some of its runs with their `store`; default: every run of
            the store.
        store: A folder; default: $XBACKEND_STORE or .xbackend.
        model: Only runs of this model, by name.
        where: Only runs with these values: `{"backend": "ort", "settings.threads": [1, 2]}`.
        group_by: Keys in which runs must agree to be compared, such as `["platform"]`.
        across: Whether runs of different files become one section where they computed the same
            inputs and have outputs of the same shapes; default: where nothing else can be compared.
        reference: `float64`, or `float64:tf` for a backend: judge runs and layers by it.
        helpers: Whether runs that `mitigate`, `ablate` and references made for themselves are
            compared, too.
        timeout: Seconds for each worker that computes the reference.
        jobs: Workers at once; default: one for each core.
        trust_platforms: Whether interpreters, hosts and images that only records name are started.
        progress: A function that is told of each step by a `ProgressEvent`.

    Returns:
        A comparison, whose `classes`, `first_divergence`, `layers` and `label_flips` are those of
        its only section; see `sections` where several models or precisions are compared.

    Raises:
        UsageError: Where there is no store, or none of its runs is asked for.
        StoreError: Where a tensor, or every record, is damaged; for single ones see `left_out`.

    Example:
        >>> import xbackend as xb
        >>> runs = xb.run(backends="fixed", threads=[1, 2])
        >>> c = xb.compare(runs)
        >>> [len(ids) for ids in c.classes], c.first_divergence, c.label_flips
        ([2], None, ())
        >>> c.layers[0].tap, c.layers[0].operator, c.layers[0].eqc_count
        ('image/Transpose', 'Transpose', 1)
        >>> c.render("csv").splitlines()[0].split(",")[:4]
        ['model', 'group', 'inputs_digest', 'input']
    """
    query = Query(
        one_text("model=", model), where_texts(where), words(group_by, "group_by="), helpers
    )
    judge = one_text("reference=", reference)
    given = None if runs is None else _given(runs)
    there = runs.store if isinstance(runs, Runs) else store_of(store)
    damaged: list[StoreError] = []
    told = dataclasses.replace(query, helpers=True)  # who gives runs means them
    chosen = select(there, query, damaged) if given is None else filter_runs(given, told)
    found = _comparing(across)(there, chosen, query.group_by)
    found = dataclasses.replace(found, left_out=tuple(damaged), filters=query.where)
    if judge is not None:
        context = execution_context(there, jobs, timeout, progress, trust_platforms)
        found = compare_with_reference(found, context, parse_reference(judge))
    return Comparison(found)


def _comparing(across: bool | None) -> Callable[..., kernel.Comparison]:
    """Return what compares runs: of one model each, across files, or across where needed."""
    if across is None:
        return compare_what_can_be
    return compare_across if across else compare_runs


def _given(runs: object) -> tuple[Run, ...]:
    """Return runs that are given as objects. Raises UsageError for what are none."""
    found = tuple(runs) if isinstance(runs, (Runs, list, tuple)) else ()
    if found and all(isinstance(each, Run) for each in found):
        return found
    what = "holds no run" if isinstance(runs, Runs) or runs in ([], ()) else "is no runs"
    raise UsageError(
        f"A {type(runs).__name__} {what} that can be compared. Give what run() returned, some of "
        "its runs, or leave it out and name a store with store=."
    )


def compared(what: Comparison | Runs | Sequence[Run]) -> Comparison:
    """Return a comparison as it is, and runs compared."""
    return what if isinstance(what, Comparison) else compare(what)


def isolate(
    comparison: Comparison | Runs,
    pair: Words = None,
    *,
    reference: str | None = None,
    timeout: float = 600.0,
    jobs: int | None = None,
    trust_platforms: bool = False,
    progress: Progress = None,
) -> Comparison:
    """Tell for each layer whether its error is its own or inherited from the layers before.

    Each layer is run again on the inputs that the reference recorded.

    Args:
        comparison: What `compare` or `run` returned; its runs must have recorded their layers.
        pair: Two runs, by parts of their ids, the second against the first: `("ort", "torch")`.
            Default: a run of each class against one of class 1.
        reference: `float64`: against the model in double precision instead.
        timeout: Seconds for each worker.
        jobs: Workers at once; default: one for each core.
        trust_platforms: Whether interpreters, hosts and images that only records name are started.
        progress: A function that is told of each step by a `ProgressEvent`.

    Returns:
        The same comparison with `isolations`.

    Raises:
        UsageError: Where no two runs can be chosen.
        XbackendError: Where nothing can be isolated.

    Example:
        >>> import xbackend as xb
        >>> runs = xb.run(backends="fixed", precisions="float32", threads=[1, 2])
        >>> c = xb.isolate(xb.compare(runs), [run.id for run in runs])
        >>> [len(found.own) for found in c.isolations]
        [0]
    """
    given = compared(comparison)
    there = given.result.store
    context = execution_context(there, jobs, timeout, progress, trust_platforms)
    judge = one_text("reference=", reference)
    backends = BACKENDS if judge is None else parse_reference(judge)
    found = isolate_all(
        given.result, ",".join(words(pair, "pair=")), context, judge is not None, backends
    )
    return dataclasses.replace(given, result=found)


def check_gates(rules: str | Sequence[str], **thresholds: int | None) -> bool:
    """Raise UsageError for what has no meaning; tell whether a rule needs certificates."""
    kernel.check_thresholds(**thresholds)
    return needs_certificates([parse_gate(rule) for rule in texts(rules, "rules=")])


def explain(comparison: Comparison | Runs) -> Explanation:
    """Return all that is known of a comparison, each statement with how sure it is.

    Nothing is run. As text: `comparison.render("explain")`.

    Args:
        comparison: What `compare`, `isolate` or `run` returned.

    Returns:
        An explanation; of each of its `cohorts` the `facts`, what is `isolated`, what `switches`
        show, and the `next` commands with the seconds that they usually take.

    Example:
        >>> import xbackend as xb
        >>> runs = xb.run(backends="fixed", threads=[1, 2])
        >>> (found,) = xb.explain(xb.compare(runs)).cohorts
        >>> found.facts.outcome.value, found.verdict_grade.value
        ('the same bits', 'recorded')
    """
    return explain_result(compared(comparison).result)


def certify(
    comparison: Comparison | Runs,
    *,
    timeout: float = 600.0,
    jobs: int | None = None,
    progress: Progress = None,
) -> Comparison:
    """Tell for each layer of each run whether rounding explains its error, without a tolerance.

    Each layer is held against the same node in float64 on the inputs that the run recorded. One
    run is enough.

    Args:
        comparison: What `compare` or `run` returned; its runs must have recorded their layers.
        timeout: Seconds for each worker.
        jobs: Workers at once; default: one for each core.
        progress: A function that is told of each step by a `ProgressEvent`.

    Returns:
        The same comparison with `certificates`.

    Raises:
        UsageError: Where no run recorded its layers.
        XbackendError: Where nothing can be certified.

    Example:
        >>> import xbackend as xb
        >>> c = xb.certify(xb.compare(xb.run(backends="fixed", precisions="float32")))
        >>> [(len(found.layers), found.faults) for found in c.certificates]
        [(15, ())]
    """
    result = compared(comparison).result
    context = execution_context(result.store, jobs, timeout, progress)
    found = certify_runs(result, context)
    return Comparison(dataclasses.replace(result, certificates=found))
