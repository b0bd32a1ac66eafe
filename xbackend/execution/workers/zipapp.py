"""The one file that is shipped to a platform: the worker and one adapter as a zipapp.

It holds sources, which any Python from 3.8 on reads, and beside them the bytecode of the
coordinator's Python, which saves a worker of the same version compiling them.
"""

from __future__ import annotations

import hashlib
import io
import marshal
from importlib.util import MAGIC_NUMBER, find_spec, source_hash
from pathlib import Path

from xbackend.errors import PluginError, StoreError
from xbackend.plugins.installed import private_folder
from xbackend.store.files import digest_of
from xbackend.worker.contract import BackendSpec
from xbackend.worker.objects import write_atomic

PACKAGE = b'"""The half of xbackend that runs on a platform."""\n'
"""What the package's first file holds there: the coordinator's imports what is not shipped."""
ENTRY = "from xbackend.worker.main import main\nmain()\n"
ZIP_TIMESTAMP = (1980, 1, 1, 0, 0, 0)
"""One fixed time for all members: equal sources give an equal file."""


def worker_zipapp(spec: BackendSpec) -> Path:
    """Return the zipapp of a backend's worker, made if the user's cache has no sound one.

    Its name tells the digest of its sources, and that of its own bytes, which are read once in a
    process: no file is started that another put there, or that a disk has changed.
    """
    sources = _sources(spec)
    digest = hashlib.sha256(MAGIC_NUMBER)
    for name, data in sources.items():
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    folder, stem = private_folder("workers"), f"{spec.word}-{digest.hexdigest()[:32]}"
    for path in folder.glob(f"{stem}-*.pyz"):
        if _is_sound(path):
            return path.absolute()
    data = _zip(sources)
    path = folder / f"{stem}-{hashlib.sha256(data).hexdigest()[:32]}.pyz"
    try:
        write_atomic(str(path), data)
    except OSError as error:
        raise StoreError(
            f"Cannot write {path}: {error.strerror or error}. Free space or permissions there, or "
            "name another folder with XDG_CACHE_HOME."
        ) from error
    return path.absolute()


def _is_sound(path: Path) -> bool:
    try:
        return digest_of(path).startswith(path.stem.rpartition("-")[2])
    except (OSError, StoreError):
        return False


def _sources(spec: BackendSpec) -> dict[str, bytes]:
    """Return name in the zipapp to source, sorted."""
    kernel = Path(__file__).parents[2]
    files = {"__main__.py": ENTRY.encode(), "xbackend/__init__.py": PACKAGE}
    for path in (kernel / "worker").rglob("*.py"):
        files[f"xbackend/{path.relative_to(kernel).as_posix()}"] = _read(path)
    package = _package(spec)
    parents = package.split(".")[:-1]
    for depth in range(1, len(parents) + 1):
        files.setdefault("/".join([*parents[:depth], "__init__.py"]), b"")
    files.update(_package_files(package))
    return dict(sorted(files.items()))


def _package(spec: BackendSpec) -> str:
    """Return the package that holds the adapter, or its module where it stands alone."""
    module = spec.adapter.partition(":")[0]
    return module.rpartition(".")[0] or module


def _package_files(package: str) -> dict[str, bytes]:
    try:
        found = find_spec(package)
    except Exception as error:  # finding it imports the packages around it, which raise anything
        raise PluginError(
            f"The adapter's package '{package}' cannot be imported: {error}"
        ) from error
    if found is None or found.origin is None:
        raise PluginError(
            f"The adapter's package '{package}' cannot be found. Install what brings it again."
        )
    origin = Path(found.origin)
    inside = package.replace(".", "/")
    if origin.name != "__init__.py":
        return {f"{inside}.py": _read(origin)}
    paths = sorted(origin.parent.rglob("*.py"))
    return {f"{inside}/{p.relative_to(origin.parent).as_posix()}": _read(p) for p in paths}


def _read(path: Path) -> bytes:
    return path.read_bytes()


def _zip(sources: dict[str, bytes]) -> bytes:
    import zipfile

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sources.items():
            archive.writestr(zipfile.ZipInfo(name, ZIP_TIMESTAMP), data)
            bytecode = _bytecode(name, data) if name != "__main__.py" else b""
            if bytecode:
                archive.writestr(zipfile.ZipInfo(f"{name}c", ZIP_TIMESTAMP), bytecode)
    return stream.getvalue()


def _bytecode(name: str, source: bytes) -> bytes:
    """Compile to an unchecked hash-based .pyc (PEP 552), which another Python passes over.

    Nothing where the source does not compile: the worker says so if it comes to import it.
    """
    try:
        code = compile(source, name, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return b""
    unchecked = (1).to_bytes(4, "little")
    return MAGIC_NUMBER + unchecked + source_hash(source) + marshal.dumps(code)
