"""Writes the page that people look at, and tells whether one is of a store."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from xbackend.api.arguments import PathLike, StoreLike, store_of
from xbackend.api.comparison import Comparison, compare, compared
from xbackend.api.report_files import check_text, is_plot, write_text
from xbackend.api.runs import Runs
from xbackend.comparison import comparison as kernel
from xbackend.errors import InputError, StoreError, UsageError
from xbackend.facts.pairs import with_pairs
from xbackend.mitigation.evaluate import MitigationReport
from xbackend.plugins import registry
from xbackend.store.query import Query, select
from xbackend.store.records import Run
from xbackend.store.store import Store

Record = dict[str, Any]
PAGE = "report.html"
COMPUTED = ("page-data", "computed-data", "tried-data")
"""Blocks of data that a store alone does not give."""
MOST_ELEMENTS = 100_000_000
"""So many elements are read for pairs of classes, which takes half a minute."""
LARGEST = 1 << 28
"""Bytes of a page that is read."""
TOOK = re.compile(r"<!--took-->(?: \(about \d+ (?:second|minute|hour)s?\))?<!--/took-->")
"""What a page says of how long things took where it was made."""
MOST = 5
"""So many runs are named in a sentence."""


def report(
    comparison: Comparison | Runs | None = None,
    output: PathLike = PAGE,
    *,
    mitigations: MitigationReport | PathLike | None = None,
    store: StoreLike = None,
) -> Path:
    """Write one self-contained HTML page: the answer, charts, tables, and how to repeat it.

    Args:
        comparison: What `compare`, `isolate`, `certify` or `run` returned; default: all runs of
            the store.
        output: The file to write.
        mitigations: What `mitigate` returned, or the file of `xbackend mitigate --json`: the page
            shows what each leaves and costs.
        store: A folder, where no comparison is given; default: $XBACKEND_STORE or .xbackend.

    Returns:
        The file's path.

    Raises:
        UsageError: Where the extra `report` is not installed or the file cannot be written.

    Example:
        >>> import xbackend as xb
        >>> page = xb.report(xb.run(backends="fixed", threads=[1, 2]), "threads.html")
        >>> page.name, xb.verify(page).faults
        ('threads.html', ())
    """
    path, render = check_page(output), registry.report("html")
    tried = () if mitigations is None else (read_mitigations(mitigations),)
    found = compare(store=store) if comparison is None else compared(comparison)
    result = found.result if found.result.pairs else measured(found.result)
    write_text(path, render(dataclasses.replace(result, mitigations=tried)))
    return path


def read_mitigations(given: MitigationReport | PathLike) -> Record:
    """Return what mitigations did. Raises InputError for a file that does not tell of any."""
    if isinstance(given, MitigationReport):
        found: Record = json.loads(json.dumps(given.to_dict()))
        return found
    path = Path(given)
    told: Record | None = None
    try:
        told = json.loads(_read(path))
    except ValueError:
        pass
    if told is None or not _is_told(told):
        raise InputError(f"{path} is not what 'xbackend mitigate --json' prints.")
    return told


def _is_told(told: Any) -> bool:
    """Tell whether a document is of mitigations, as far as a page reads it."""
    if not isinstance(told, dict) or not isinstance(told.get("rows"), list) or not told["rows"]:
        return False
    named = isinstance(told.get("model"), str) and isinstance(told.get("advice"), str)
    platforms = isinstance(told.get("platforms"), list)
    return named and platforms and all(map(_is_tried, told["rows"]))


def _is_tried(row: Any) -> bool:
    """Tell whether a row of mitigations has what a page shows of it."""
    if not isinstance(row, dict):
        return False
    texts = all(isinstance(row.get(key), str) for key in ("backend", "mitigation"))
    kept = all(row.get(key) is None or isinstance(row[key], dict)
               for key in ("before", "after", "correctness"))  # fmt: skip
    counted = all(isinstance((row.get(key) or {"classes": 0}).get("classes"), int)
                  for key in ("before", "after"))  # fmt: skip
    numbers = all(row.get(key) is None or isinstance(row[key], (int, float))
                  for key in ("time", "fidelity"))  # fmt: skip
    return texts and kept and counted and numbers and isinstance(row.get("notes"), list)


def measured(result: kernel.Comparison) -> kernel.Comparison:
    """Return a comparison with what a page tells of pairs of classes, as far as time allows."""
    return with_pairs(result, MOST_ELEMENTS)


def check_page(output: PathLike) -> Path:
    """Return the path of a page. Raises UsageError, before anything is computed, if none can be."""
    path = Path(output)
    registry.report("html")
    if is_plot(path):
        raise UsageError(f"A report is a page, so {path} cannot be a picture. Name a .html file.")
    check_text(path)
    return path


def open_page(page: Path) -> None:
    """Show a page in a browser. Raises UsageError where there is none."""
    import webbrowser

    if not webbrowser.open(page.absolute().as_uri()):
        raise UsageError(f"No browser was found to show {page}. Open the file yourself.")


@dataclass(frozen=True)
class VerifiedReport:
    """Whether a page is of a store."""

    page: str
    store: str
    runs: int
    """How many runs the page is of."""
    faults: tuple[str, ...]
    """A sentence for each thing in which page and store do not agree; empty where all does."""
    notes: tuple[str, ...]
    """What was not checked, and what the store has besides."""

    def to_dict(self) -> Record:
        """Return JSON values: what `xbackend verify --json` prints."""
        rest = {key: list(getattr(self, key)) for key in ("faults", "notes")}
        return {"schema_version": 1, "page": self.page, "store": self.store, "runs": self.runs,
                **rest}  # fmt: skip

    def __str__(self) -> str:
        """Return the faults and notes, a line each, and a sentence."""
        told = "is not" if self.faults else "is"
        end = f"{self.page} {told} a report of the {self.runs} runs in {self.store}."
        return "\n".join([*self.faults, *self.notes, end])


def verify(page: PathLike, *, store: StoreLike = None) -> VerifiedReport:
    """Tell whether a page is a report of a store: of its runs, and with the numbers they give.

    The runs' records and tensors are read and compared anew, and the page is laid out again.

    Args:
        page: What `report` or `xbackend compare --format html` wrote.
        store: A folder; default: $XBACKEND_STORE or .xbackend.

    Returns:
        What does not agree: `faults`, empty where all does.

    Raises:
        UsageError: For a file that is no such page.
        StoreError: Where a tensor of the store is damaged.

    Example:
        >>> import xbackend as xb
        >>> xb.verify("nothing.html")
        Traceback (most recent call last):
        ...
        xbackend.errors.InputError: Cannot read nothing.html: No such file or directory.
    """
    text = _read(Path(page))
    blocks = _Blocks.of(text)
    made = blocks.get("page-data", {}).get("seal")
    if not _is_seal(made):
        raise UsageError(f"{page} is no page that 'xbackend report' wrote.")
    there = store_of(store)
    damaged: list[StoreError] = []
    held = {run.id: run for run in select(there, Query(helpers=True), damaged)}
    digest = registry.renderer("run-digest")
    faults = _run_faults(made["runs"], held, digest)
    notes = [*map(str, damaged), *_notes(made, held)]
    if not faults:
        runs = [held[name] for name in made["runs"]]
        for across in (None, True, False):  # what a page does not tell
            again = _again(there, runs, made, across)
            now = _Blocks.of(again)
            faults = _page_faults(text, again, blocks, now)
            if not faults:
                break
        notes += _version_notes(made, now)
    return VerifiedReport(str(page), str(there.folder), len(made["runs"]), tuple(faults),
                          tuple(notes))  # fmt: skip


def _read(page: Path) -> str:
    try:
        if page.stat().st_size > LARGEST:
            raise InputError(f"{page} has more than {LARGEST >> 20} MiB: it is too large.")
        return page.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{page} is no text.") from error
    except OSError as error:
        raise InputError(f"Cannot read {page}: {error.strerror or error}.") from error


def _is_seal(made: Any) -> bool:
    """Tell whether what a page says of its runs has the form that it should have."""
    if not isinstance(made, dict) or not isinstance(made.get("runs"), dict):
        return False
    lists = (made.get(key) for key in ("where", "group_by", "computed"))
    texts = all(isinstance(of, list) and all(isinstance(x, str) for x in of) for of in lists)
    return texts and isinstance(made.get("pairs"), int)


def _run_faults(sealed: Record, held: dict[str, Run], digest: Any) -> list[str]:
    missing = [name for name in sealed if name not in held]
    other = [name for name in sealed if name in held and digest(held[name]) != sealed[name]]
    faults = []
    if missing:
        faults.append(f"{_count(missing)} not in the store: {_few(missing)}.")
    if other:
        faults.append(f"{_count(other)} another in the store: {_few(other)}.")
    return faults


def _count(names: list[str]) -> str:
    return "A run of the page is" if len(names) == 1 else f"{len(names)} runs of the page are"


def _few(names: list[str]) -> str:
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(map(repr, names[:MOST])) + more


def _notes(made: Record, held: dict[str, Run]) -> list[str]:
    more = len(set(held) - set(made["runs"]))
    notes = [f"The store has {more} more, which the page does not show."] if more else []
    if made["computed"]:
        names = ", ".join(made["computed"])
        notes.append(f"Not checked, as models would have to run again for it: {names}.")
    return notes


def _again(store: Store, runs: list[Run], made: Record, across: bool | None) -> str:
    """Return the page that runs give now."""
    found = compare(
        runs, store=store, where=made["where"], group_by=made["group_by"], across=across
    ).result
    if made["pairs"]:
        some = measured(found)
        found = some if len(some.pairs) == made["pairs"] else with_pairs(found)
    return registry.report("html")(found)


def _page_faults(text: str, again: str, blocks: Record, now: Record) -> list[str]:
    """Return what is other in the page than in one that is made now."""
    made = blocks["page-data"]["seal"]
    if made["computed"] or _version_notes(made, now):
        shared = [name for name in now if name not in COMPUTED]
        other = [name for name in shared if blocks.get(name) != now[name]]
        return [f"The data '{name}' are not what the store gives." for name in other]
    if TOOK.sub("", text).strip() == TOOK.sub("", again).strip():
        return []
    return ["The page is not what the store's runs give: it was changed, or made otherwise."]


def _version_notes(made: Record, now: Record) -> list[str]:
    """Return that a page is of another version, whose layout is not that of this one."""
    old, new = (str(seal.get("xbackend")) for seal in (made, now["page-data"]["seal"]))
    if old == new:
        return []
    return [f"The page is of xbackend {old!r} and this is {new}: only its data was checked."]


class _Blocks(HTMLParser):
    """Reads the data of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.name: str | None = None
        self.texts: dict[str, str] = {}

    @classmethod
    def of(cls, text: str) -> Record:
        """Return each block of data by its id; nothing of what is no JSON."""
        parser = cls()
        parser.feed(text)
        found: Record = {}
        for name, block in parser.texts.items():
            try:
                found[name] = json.loads(block)
            except ValueError:
                continue
        return found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember the id where a block of data begins."""
        given = dict(attrs)
        data = tag == "script" and given.get("type") == "application/json"
        self.name = given.get("id") if data else None

    def handle_endtag(self, tag: str) -> None:
        """Take what comes no longer for data."""
        self.name = None

    def handle_data(self, data: str) -> None:
        """Take the text of a block."""
        if self.name is not None:
            self.texts[self.name] = self.texts.get(self.name, "") + data
