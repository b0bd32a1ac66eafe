"""The set-up for ARM: a Python of Debian's arm64 packages and aarch64 wheels, in the user's cache.

Nothing is installed in the system. APT and pip are asked with their own configuration, APT in
folders of its own. What is finished is renamed into place, then named by `current.json`, so that a
set-up that was cut off is never taken for done; what it fetched is used by the next one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path, PurePosixPath

from xbackend.errors import UsageError, XbackendError
from xbackend.platforms.sysroot import (
    Sysroot,
    find_sysroot,
    sysroots_folder,
    with_packages,
)
from xbackend.plugins.installed import importable, version
from xbackend.worker.objects import write_atomic

DEBIAN = ("python3", "libstdc++6", "libgomp1", "zlib1g")
"""What the wheels need of a system; APT adds what these need."""

WHEELS: dict[str, tuple[str, ...]] = {
    "numpy": ("numpy",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "ai-edge-litert": ("ai-edge-litert",),
    "tflite-runtime": ("tflite-runtime",),
    "protobuf": ("protobuf",),
    "flatbuffers": ("flatbuffers",),
    "packaging": ("packaging",),
    "ml-dtypes": ("ml-dtypes",),
    "typing-extensions": ("typing-extensions",),
    "backports.strenum": ("backports.strenum",),
    "tqdm": ("tqdm",),
}
"""A distribution to those of this environment whose version it takes: two frameworks, and what they
import."""

LAST_PYTHON = {"tflite-runtime": (3, 11)}
"""The newest Python that a distribution has wheels for; a newer one does without it."""

COMMANDS = {"qemu-aarch64": "qemu-user", "apt-get": "apt", "dpkg-deb": "dpkg"}
"""What a set-up needs, and Debian's package of it."""

APT = """\
{include}APT::Architecture "arm64";
APT::Architectures {{ "arm64"; }};
APT::Sandbox::User "";
Dir::State "{folder}/state";
Dir::State::status "{folder}/state/status";
Dir::Cache "{folder}/cache";
Dir::Log "{folder}/log";
"""

APT_CURE = "Check that this machine is online and that APT's sources have the architecture arm64"
PIP_CURE = "Check that this machine is online and that pip's index has wheels for aarch64"

Log = Callable[[str], None]


def set_up(log: Log) -> Sysroot:
    """Fetch and unpack all that emulated ARM needs, unless it is there already.

    Raises UsageError where a command is missing, XbackendError where something cannot be fetched
    or does not work.
    """
    commands = _commands()
    asked = {name: _version(sources) for name, sources in WHEELS.items()}
    with _locked(sysroots_folder()):
        found = find_sysroot()
        if found is not None and found.asked == asked:
            log(f"ARM is set up already; delete {sysroots_folder()} to begin anew")
            return found
        return _build(asked, commands, log)


def _version(sources: Sequence[str]) -> str | None:
    return next((found for name in sources if (found := version(name))), None)


def _commands() -> dict[str, str]:
    """Return the path of each command. Raises UsageError for the first that is missing."""
    paths = {}
    for command, package in COMMANDS.items():
        path = shutil.which(command)
        if path is None:
            raise UsageError(
                f"The set-up for ARM needs the command {command}, which Debian and Ubuntu have in "
                f"their package {package}. Install it with: apt install {package}"
            )
        paths[command] = path
    if not importable("pip"):
        raise UsageError(
            f"The set-up for ARM needs pip, which {sys.executable} does not have. "
            "Install it with: python -m ensurepip"
        )
    return paths


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder for one set-up at a time. Raises XbackendError while another one runs."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise XbackendError(
                f"Another set-up for ARM is at work in {folder}. Wait until it has ended."
            ) from error
        yield


def _build(asked: dict[str, str | None], commands: Mapping[str, str], log: Log) -> Sysroot:
    base, fetched = sysroots_folder(), sysroots_folder() / "fetched"
    for leftover in base.glob("new-*"):
        shutil.rmtree(leftover)
    new = Path(tempfile.mkdtemp(prefix="new-", dir=base))
    debs = fetch_debs(fetched / "apt", commands["apt-get"], log)
    log(f"unpacking {len(debs)} of Debian's packages")
    for deb in debs:
        run_command([commands["dpkg-deb"], "-x", str(deb), str(new / "root")], f"unpack {deb.name}")
    _merge_lib(new / "root")
    debian = dict(_deb_name(deb) for deb in debs)
    python = python_version(new / "root")
    wheels = fetch_wheels(fetched / "wheels", asked, python, glibc_minor(debian), log)
    log(f"unpacking {len(wheels)} wheels")
    for wheel in wheels:
        unpack_wheel(wheel, new / "site")
    packages = dict(_wheel_name(wheel) for wheel in wheels)
    log(f"starting Python {python} for ARM")
    check_python(commands["qemu-aarch64"], new, python)
    digest = hashlib.sha256(json.dumps([python, packages, debian]).encode()).hexdigest()[:16]
    return _publish(new, Sysroot(digest, asked, python, packages, debian))


def _publish(new: Path, made: Sysroot) -> Sysroot:
    """Put a finished folder into place, name it, and delete what is no longer of use."""
    base = sysroots_folder()
    if (base / made.folder).exists():
        shutil.rmtree(base / made.folder)
    os.rename(new, base / made.folder)
    write_atomic(str(base / "current.json"), json.dumps(asdict(made), indent=1).encode())
    for path in base.iterdir():
        if path.is_dir() and path.name != made.folder:
            shutil.rmtree(path)
    return made


def fetch_debs(folder: Path, apt: str, log: Log) -> list[Path]:
    """Fetch Debian's packages and all that they need, with APT's sources and own folders here."""
    for name in ("state/lists/partial", "cache/archives/partial", "log"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "state" / "status").touch()
    given = os.environ.get("APT_CONFIG")
    include = f'#include "{given}";\n' if given else ""
    config = folder / "apt.conf"
    config.write_text(APT.format(folder=folder, include=include), encoding="utf-8")
    environment = {**os.environ, "APT_CONFIG": str(config), "LC_ALL": "C"}
    install = ["install", "--yes", "--no-install-recommends", "--download-only", *DEBIAN]
    log("asking APT for its lists of arm64 packages")
    subprocess.run([apt, "update"], env=environment, capture_output=True, check=False)
    log(f"fetching {', '.join(DEBIAN)} and what they need")
    run_command([apt, *install], "fetch Debian's arm64 packages", APT_CURE, environment)
    run_command([apt, "autoclean"], "drop old packages", environment=environment)
    return sorted((folder / "cache" / "archives").glob("*.deb"))


def fetch_wheels(
    folder: Path,
    asked: Mapping[str, str | None],
    python: str,
    glibc: int,
    log: Log,
) -> list[Path]:
    """Fetch one wheel for each distribution, in the version that is asked for if it exists."""
    tags = [f"--platform=manylinux_2_{minor}_aarch64" for minor in range(glibc, 16, -1)]
    pip = [
        *(sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--no-deps"),
        *("--only-binary=:all:", "--implementation=cp", f"--python-version={python}", *tags),
        "--platform=manylinux2014_aarch64",
    ]
    wheels = []
    for name, wanted in asked.items():
        if tuple(map(int, python.split("."))) > LAST_PYTHON.get(name, (99,)):
            log(f"there is no {name} for Python {python}: left out")
            continue
        log(f"fetching {name} {wanted or ''}".rstrip())
        wheels.append(_fetch_wheel(folder, pip, name, wanted, f"{python}-{glibc}"))
    return wheels


def _fetch_wheel(
    folder: Path, pip: Sequence[str], name: str, wanted: str | None, system: str
) -> Path:
    """Return a distribution's wheel; each has a folder, which is there only if it is whole."""
    place = folder / system / f"{name}-{wanted or 'newest'}"
    if not place.is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix="new-", dir=folder))
        command = [*pip, f"--dest={new}"]
        try:
            run_command(
                [*command, f"{name}=={wanted}" if wanted else name], f"fetch {name}", PIP_CURE
            )
        except XbackendError:
            if wanted is None:
                raise
            run_command([*command, name], f"fetch {name} for aarch64", PIP_CURE)
        os.rename(new, place)
    (wheel,) = place.glob("*.whl")
    return wheel


def unpack_wheel(wheel: Path, site: Path) -> None:
    """Unpack a wheel's packages, as PEP 427 says, without its scripts.

    Raises XbackendError for a wheel that is damaged or leads out of the folder.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                name = _place(member.filename)
                if name is None or member.is_dir():
                    continue
                path = site / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.read(member))
    except (zipfile.BadZipFile, ValueError) as error:
        raise XbackendError(f"{wheel} is not a sound wheel: {error}. Delete it.") from error


def _place(member: str) -> str | None:
    """Return where a wheel's member goes, None for what is no package.

    >>> _place("a-1.data/purelib/a/b.py"), _place("a-1.data/scripts/a"), _place("a/b.py")
    ('a/b.py', None, 'a/b.py')
    """
    parts = PurePosixPath(member).parts
    if ".." in parts or member.startswith("/"):
        raise ValueError(f"its member '{member}' leads out of the folder")
    if parts[0].endswith(".data"):
        return "/".join(parts[2:]) if parts[1:2] in (("purelib",), ("platlib",)) else None
    return member


def check_python(emulator: str, folder: Path, python: str) -> None:
    """Start the emulated Python and import NumPy. Raises XbackendError where that fails."""
    root = folder / "root"
    interpreter = str(root / "usr" / "bin" / f"python{python}")
    command = [emulator, "-L", str(root), "-cpu", "cortex-a72", interpreter, "-c", "import numpy"]
    run_command([*with_packages(folder / "site"), *command], "import NumPy under qemu-aarch64")


def run_command(
    command: Sequence[str],
    purpose: str,
    cure: str = "What was fetched is kept",
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a command. Raises XbackendError with what it complained of and the cure."""
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise XbackendError(
            f"The set-up for ARM could not {purpose}: {_complaint(done.stderr)}. {cure}; run it "
            "again with: xbackend platforms --setup arm"
        )


def _complaint(text: str) -> str:
    """Return the line that says what is wrong: the first of APT's or pip's errors, or the last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "ERROR:"))]
    said = (errors or lines[-1:] or ["it says nothing"])[0]
    return said.removeprefix("E:").removeprefix("ERROR:").strip().rstrip(".")[:300]


def python_version(root: Path) -> str:
    """Return the version of the Python in a root, such as `3.11`."""
    names = [path.name for path in (root / "usr" / "bin").glob("python3.*")]
    versions = [name[6:] for name in names if re.fullmatch(r"python3\.\d+", name)]
    if len(versions) != 1:
        raise XbackendError(f"Debian's arm64 packages brought {len(versions)} Pythons, not one.")
    return versions[0]


def glibc_minor(debian: Mapping[str, str]) -> int:
    """Return the minor version of Debian's C library, which says which wheels run.

    >>> glibc_minor({"libc6": "2.36-9+deb12u10"})
    36
    """
    found = re.match(r"2\.(\d+)", debian.get("libc6", ""))
    if found is None:
        raise XbackendError(f"Debian's libc6 has the version {debian.get('libc6')}, not 2.x.")
    return int(found[1])


def _merge_lib(root: Path) -> None:
    """Make `/lib` the link to `/usr/lib` that newer packages expect to be there."""
    if not (root / "lib").exists():
        (root / "lib").symlink_to("usr/lib")


def _deb_name(path: Path) -> tuple[str, str]:
    name, number, _ = path.name.split("_")
    return name, number.replace("%3a", ":")


def _wheel_name(path: Path) -> tuple[str, str]:
    name, number = path.name.split("-")[:2]
    return name.lower().replace("_", "-"), number
