"""Takes a job to a host that SSH reaches, and brings the objects back as one archive."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import secrets
import shlex
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, cast

from xbackend.execution.workers.staged_job import (
    CLEANUP_TIMEOUT,
    Sizes,
    StagedJob,
    Unreachable,
)
from xbackend.platforms.platform import Platform
from xbackend.worker.job import Job, Sample
from xbackend.worker.objects import write_object

OBJECT = re.compile(r"(?:\./)?([0-9a-f]{2})/([0-9a-f]{62})")
FOLDER = re.compile(r"/[\w./-]+")
GREETING_LIMIT = 1 << 20
"""Bytes of what a host may say before it does what it is told, such as a message of the day."""
TAR_BLOCK = 512
TAR_MARGIN = 1 << 16
"""Bytes by which an archive, or one read of it, may be longer than what it must hold."""


@contextlib.contextmanager
def over_ssh(host: Host, platform: Platform, worker: Path, job: Job) -> Iterator[StagedJob]:
    """Copy all that the job needs to a host, and remove it there afterwards."""
    folder = _stage_in(host, worker, job)
    try:
        # What the host says beforehand may not end its line.
        command = f"cd {folder} && echo && exec {_joined(platform, folder, worker)}"
        yield StagedJob(
            host.command(command),
            _relocated(job, folder),
            lambda sizes: _stage_out(host, folder, job.store, sizes),
        )
    finally:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                host.command(f"rm -rf {folder}"),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=CLEANUP_TIMEOUT,
            )


def _joined(platform: Platform, folder: str, worker: Path) -> str:
    return shlex.join(platform.command(Path(folder, worker.name)))


@dataclass(frozen=True)
class Host:
    """A host that SSH reaches."""

    name: str
    timeout: float
    """Seconds for each thing that it is told to do."""

    def command(self, script: str) -> list[str]:
        """Return the command `ssh`, or what `$XBACKEND_SSH` says instead, which never asks."""
        command = shlex.split(os.environ.get("XBACKEND_SSH", "ssh"))
        return [*command, "-o", "BatchMode=yes", "-o", "ConnectTimeout=20", self.name, script]

    @property
    def seconds(self) -> float:
        """The time as `subprocess` takes it."""
        return min(self.timeout, threading.TIMEOUT_MAX)


def _stage_in(host: Host, worker: Path, job: Job) -> str:
    """Copy all that the job needs into a new folder of the host, and return its path."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.add(worker, worker.name)
        archive.add(job.artifact, "artifact")
        for place, name in _input_names(job).items():
            archive.add(place, name)
    mark = secrets.token_hex(16)
    script = f'set -e; d=$(mktemp -d); cd "$d"; tar xf -; mkdir out; echo; echo "{mark}$d"'
    try:
        done = subprocess.run(
            host.command(script),
            input=stream.getvalue(),
            capture_output=True,
            check=False,
            timeout=host.seconds,
        )
    except subprocess.TimeoutExpired as error:
        raise Unreachable(
            f"'{host.name}' did not take the worker within {host.timeout:g} s. Allow more with "
            "--timeout."
        ) from error
    said = done.stdout.decode("utf-8", "replace").splitlines()
    folder = next((line[len(mark) :] for line in said if line.startswith(mark)), "")
    if done.returncode or not FOLDER.fullmatch(folder):
        raise Unreachable(f"Cannot take the worker to '{host.name}' over SSH: {_last(done.stderr)}")
    return folder


def _input_names(job: Job) -> dict[str, str]:
    """Return each input file's place here and its name there."""
    files = {slice_.file for sample in job.samples for slice_ in sample.inputs.values()}
    return {file: f"inputs/{index}.npy" for index, file in enumerate(sorted(files))}


def _relocated(job: Job, folder: str) -> Job:
    """Return the job with the places of the other machine."""
    names = _input_names(job)
    samples = tuple(
        Sample(
            sample.name,
            {
                key: replace(slice_, file=f"{folder}/{names[slice_.file]}")
                for key, slice_ in sample.inputs.items()
            },
        )
        for sample in job.samples
    )
    return replace(job, artifact=f"{folder}/artifact", store=f"{folder}/out", samples=samples)


def _stage_out(host: Host, folder: str, store: str, sizes: Sizes) -> None:
    """Bring objects back, each checked against its name and size; nothing else is taken.

    A host may greet before it sends: the archive begins after a mark on a line of its own.
    """
    if not sizes:
        return
    mark = secrets.token_hex(16)
    script = f"cd {folder}/out/objects && echo && echo {mark} && tar cf - -T -"
    with tempfile.TemporaryFile() as wanted, tempfile.TemporaryFile() as told:
        wanted.write("".join(f"{digest[:2]}/{digest[2:]}\n" for digest in sizes).encode())
        wanted.seek(0)
        process = subprocess.Popen(
            host.command(script), stdin=wanted, stdout=subprocess.PIPE, stderr=told
        )
        timer = threading.Timer(host.seconds, process.kill)
        timer.daemon = True
        timer.start()
        try:
            assert process.stdout is not None
            _skip_greeting(process.stdout, mark)
            _unpack(host, _Limited(process.stdout, _archive_size(sizes)), store, sizes)
        except (tarfile.TarError, EOFError) as error:
            process.kill()
            told.seek(0)
            last = _last(told.read(GREETING_LIMIT))
            raise Unreachable(
                f"Cannot bring the results back from '{host.name}' ({error}): {last}"
            ) from error
        finally:
            timer.cancel()
            process.kill()
            if process.stdout is not None:
                process.stdout.close()
            process.wait()


def _archive_size(sizes: Sizes) -> int:
    """Return the most bytes that an archive of objects has: headers, and blocks that are full."""
    return sum(size + 2 * TAR_BLOCK for size in sizes.values()) + TAR_MARGIN


@dataclass
class _Limited:
    """A stream that gives so many bytes and no more."""

    stream: IO[bytes]
    left: int

    def read(self, size: int) -> bytes:
        """Read as a file does. Raises ReadError where more is sent than was asked for."""
        if size > self.left + TAR_MARGIN:
            raise tarfile.ReadError("it is longer than what was asked for")
        data = self.stream.read(size)
        self.left -= len(data)
        return data


def _skip_greeting(stream: IO[bytes], mark: str) -> None:
    """Read up to the mark. Raises EOFError where it does not come."""
    room = GREETING_LIMIT
    while room > 0 and (line := stream.readline(room)):
        if line.rstrip() == mark.encode():
            return
        room -= len(line)
    raise EOFError("the archive did not begin")


def _unpack(host: Host, stream: _Limited, store: str, sizes: Sizes) -> None:
    """Keep the objects that are wanted, each of the size that it must have."""
    left = dict(sizes)
    with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|") as archive:
        for member in archive:
            name = OBJECT.fullmatch(member.name)
            size = left.pop(name[1] + name[2], None) if name and member.isfile() else None
            content = archive.extractfile(member) if size == member.size else None
            if name is None or content is None:
                continue
            data = content.read()
            if hashlib.sha256(data).hexdigest() != name[1] + name[2]:
                raise Unreachable(f"'{host.name}' sent bytes that do not match their digest.")
            write_object(store, data)
            if not left:
                return
    raise EOFError(f"{len(left)} of {len(sizes)} objects are not in it")


def _last(stderr: bytes) -> str:
    lines = [
        line.strip() for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()
    ]
    return f"{lines[-1].rstrip('.')}." if lines else "it gave no answer."
