"""Runs in one ZIP file, with all that they refer to, to be carried to another store.

The file holds a store's own files under their own names, so unpacked it is one. Whoever takes it
in believes nothing of it: names, sizes and digests are checked, and nothing is unpacked that no
record of it refers to.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from xbackend.errors import StoreError, UsageError
from xbackend.store.artifact_files import file_fault
from xbackend.store.files import WORD, open_plain
from xbackend.store.records import Run, read_run
from xbackend.store.schema.record import byte_count, tensors
from xbackend.store.store import MAX_RECORD, Store
from xbackend.store.upkeep.merge import MAX_LOG, MergeResult, keys_of, merge

SAFE = r"[0-9A-Za-z_][0-9A-Za-z_.@+,\-]*"
MEMBER = re.compile(
    rf"runs/{WORD}\.json|objects/[0-9a-f]{{2}}/[0-9a-f]{{62}}|"
    rf"artifacts/[0-9a-f]{{64}}(/{SAFE})+|inputs/[0-9a-f]{{64}}\.npy|"
    rf"keys/[0-9a-f]{{64}}|logs/{WORD}\.txt"
)
"""The names that a file may have in a bundle."""
SMALL = {"runs": MAX_RECORD, "keys": 1 << 10, "logs": MAX_LOG}
"""Bytes of a file of a kind at most, where no record tells."""
MAX_RATIO = 1100
"""How much smaller ZIP can make anything: more is no honest size."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of all files, so that the same runs make the same bundle."""
Progress = Callable[[str], None]


def export_bundle(
    store: Store, runs: Sequence[Run], path: Path, progress: Progress = lambda text: None
) -> int:
    """Write runs with all that they refer to into a new file, and return its bytes.

    Raises UsageError where the file is there already, StoreError where a tensor is gone or damaged
    or the file cannot be written; then there is none.
    """
    if os.path.lexists(path):
        raise UsageError(f"{path} is there already. Remove it, or name another file.")
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with zipfile.ZipFile(part, "x", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
            for name, source in _members(store, runs, progress):
                info = zipfile.ZipInfo(name, EPOCH)
                info.compress_type = zipfile.ZIP_DEFLATED
                with (
                    open_plain(source, store.folder) as stream,
                    archive.open(info, "w", force_zip64=True) as target,
                ):
                    shutil.copyfileobj(stream, target, 1 << 20)
        os.replace(part, path)
    except OSError as error:
        raise StoreError(
            f"Cannot write {path}: {error.strerror or error}. Free space or permissions there, "
            "or name another file."
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return path.stat().st_size


def _members(store: Store, runs: Sequence[Run], progress: Progress) -> Iterator[tuple[str, Path]]:
    """Yield the name and the file of each thing that belongs to some runs, each checked."""
    written: set[str] = set()

    def once(path: Path) -> Iterator[tuple[str, Path]]:
        name = path.relative_to(store.folder).as_posix()
        if name not in written:
            written.add(name)
            yield name, path

    for number, run in enumerate(runs, 1):
        progress(f"[{number}/{len(runs)}] {run.id}")
        yield from once(store.folder / "runs" / f"{run.id}.json")
        for row in tensors(list(run.results)):
            target = store.object_path(str(row["digest"]))
            if run.kept == "all" or target.exists():
                yield from once(store.verify_object(str(row["digest"]), byte_count(row)))
        folder = store.folder / "artifacts" / str((run.row.get("artifact") or {}).get("digest"))
        if folder.is_dir() and not file_fault(folder):
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                yield from once(path)
        log = store.folder / "logs" / f"{run.id}.txt"
        if log.is_file():
            yield from once(log)
    for key in keys_of(store, {run.id for run in runs}):
        yield from once(key)
    for path in sorted((store.folder / "inputs").glob("*.npy")):
        if MEMBER.fullmatch(f"inputs/{path.name}"):
            yield from once(path)


def import_bundle(store: Store, path: Path, progress: Progress = lambda text: None) -> MergeResult:
    """Take the runs of a bundle into a store, as `merge` does.

    Raises UsageError for what is no such file, StoreError where there is no room for it.
    """
    store.create()
    scratch = store.folder / "scratch" / f"import-{secrets.token_hex(6)}"
    try:
        with zipfile.ZipFile(path) as archive:
            _unpack(archive, path, Store(scratch), progress)
        return merge(store, Store(scratch), progress=progress)
    except FileNotFoundError as error:
        cure = "Name one that 'xbackend store export' wrote"
        raise UsageError(f"There is no file {path}. {cure}.") from error
    except IsADirectoryError as error:
        raise UsageError(f"{path} is a folder. For a store, use 'xbackend store merge'.") from error
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError) as error:
        raise UsageError(
            f"{path} is no ZIP file of 'xbackend store export', or is damaged ({error})."
        ) from error
    except OSError as error:
        raise StoreError(
            f"Cannot unpack {path} into {scratch}: {error.strerror or error}. Free space there."
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _unpack(archive: zipfile.ZipFile, path: Path, into: Store, progress: Progress) -> None:
    """Unpack what records refer to, after looking at all names and sizes."""
    into.create()
    members = {}
    for info in archive.infolist():
        if info.is_dir():
            continue
        _check_member(info, path, info.filename in members)
        members[info.filename] = info
    records = [name for name in members if name.startswith("runs/")]
    if not records:
        raise UsageError(f"{path} holds no runs, so it is no file of 'xbackend store export'.")
    _check_room(members.values(), path, into.folder)
    expected: dict[str, int] = {}
    artifacts: set[str] = set()
    for name in records:
        target = into.folder / name
        _extract(archive, members[name], target)
        try:
            run = read_run(into.read_run(target), target)
        except StoreError:
            continue  # merging refuses it, by name
        for row in tensors(list(run.results)):
            digest = str(row["digest"])
            expected[f"objects/{digest[:2]}/{digest[2:]}"] = byte_count(row)
        artifacts.add(str((run.row.get("artifact") or {}).get("digest")))
    progress(f"{len(records)} runs in {path}")
    for name, info in members.items():
        kind, _, rest = name.partition("/")
        wanted = {
            "objects": expected.get(name) == info.file_size,
            "artifacts": rest.partition("/")[0] in artifacts,
            "runs": False,
        }
        if wanted.get(kind, True):
            _extract(archive, info, into.folder / name)


def _check_member(info: zipfile.ZipInfo, path: Path, seen: bool) -> None:
    """Raise UsageError for a file that does not belong into a bundle, or lies about its size."""
    name = info.filename
    kind = name.partition("/")[0]
    honest = info.file_size <= MAX_RATIO * (info.compress_size + 100)
    if seen or not MEMBER.fullmatch(name) or not honest or info.flag_bits & 1:
        raise UsageError(
            f"{path} holds '{ascii(name[:80])[1:-1]}', which no 'xbackend store export' writes: "
            "nothing of it was taken."
        )
    if info.file_size > SMALL.get(kind, info.file_size):
        raise UsageError(f"{path} holds '{name}' of {info.file_size} bytes, more than any has.")


def _check_room(members: Iterable[zipfile.ZipInfo], path: Path, folder: Path) -> None:
    size = sum(info.file_size for info in members)
    free = shutil.disk_usage(folder).free
    if 2 * size > free:
        raise StoreError(
            f"{path} needs {2 * size} bytes while it is unpacked, and {folder} has {free} free. "
            "Name a store on a larger disk with --store."
        )


def _extract(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> None:
    """Write one file; zipfile stops at the size that its entry tells, and checks its CRC."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(info) as stream, target.open("xb") as copy:
        shutil.copyfileobj(stream, copy, 1 << 20)
