"""Takes a worker, its artifact and its inputs to where they run, and brings the objects back."""

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
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from xbackend.errors import XbackendError
from xbackend.platforms.platform import Platform
from xbackend.worker.job import Job, Sample
from xbackend.worker.objects import write_object

OBJECT = re.compile(r"(?:\./)?([0-9a-f]{2})/([0-9a-f]{62})")
FOLDER = re.compile(r"/[\w./-]+")


class Unreachable(XbackendError):
    """A platform elsewhere did not take or give back what belongs to a run."""


@dataclass(frozen=True)
class StagedJob:
    """What to start, and the job as the worker's own machine has to read it."""

    command: list[str]
    job: Job


@contextlib.contextmanager
def stage_job(platform: Platform, worker: Path, job: Job) -> Iterator[StagedJob]:
    """Prepare a platform for one worker; afterwards its objects are in the store.

    Raises Unreachable where the platform cannot be reached.
    """
    kind, _, value = platform.transport.partition(":")
    if kind == "ssh":
        with _over_ssh(value, platform, worker, job) as staged:
            yield staged
    elif kind == "docker":
        with _in_container(value, platform, worker, job) as staged:
            yield staged
    else:
        yield StagedJob(platform.command(worker), job)


@contextlib.contextmanager
def _in_container(image: str, platform: Platform, worker: Path, job: Job) -> Iterator[StagedJob]:
    """Name the container, and remove it afterwards: it would outlive the client that is killed."""
    name = f"xbackend-{os.getpid()}-{secrets.token_hex(6)}"
    try:
        yield StagedJob(_docker_command(image, name, platform, worker, job), job)
    finally:
        with contextlib.suppress(OSError):
            subprocess.run(
                ["docker", "rm", "--force", name],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
            )


def _docker_command(image: str, name: str, platform: Platform, worker: Path, job: Job) -> list[str]:
    """Return a command that shows the container what the job names, at the same places."""
    places = {str(worker.parent), job.artifact}
    places |= {str(Path(s.file).parent) for sample in job.samples for s in sample.inputs.values()}
    shown = [f"--volume={place}:{place}:ro" for place in sorted(places)]
    objects = os.path.join(job.store, "objects")
    user = f"--user={os.getuid()}:{os.getgid()}"
    return [
        *("docker", "run", "--rm", f"--name={name}", "--interactive", "--network=none"),
        *("--env=HOME=/tmp", user),
        *shown,
        f"--volume={objects}:{objects}",
        "--entrypoint=",
        image,
        *platform.command(worker),
    ]


@contextlib.contextmanager
def _over_ssh(host: str, platform: Platform, worker: Path, job: Job) -> Iterator[StagedJob]:
    folder = _stage_in(host, worker, job)
    try:
        command = shlex.join(platform.command(Path(folder, worker.name)))
        yield StagedJob([*_ssh(), host, f"cd {folder} && exec {command}"], _relocated(job, folder))
        _stage_out(host, folder, job.store)
    finally:
        subprocess.run(
            [*_ssh(), host, f"rm -rf {folder}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )


def _ssh() -> list[str]:
    """Return the command `ssh`, or what `$XBACKEND_SSH` says instead, which never asks."""
    command = shlex.split(os.environ.get("XBACKEND_SSH", "ssh"))
    return [*command, "-o", "BatchMode=yes", "-o", "ConnectTimeout=20"]


def _stage_in(host: str, worker: Path, job: Job) -> str:
    """Copy all that the job needs into a new folder of the host, and return its path."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.add(worker, worker.name)
        archive.add(job.artifact, "artifact")
        for place, name in _input_names(job).items():
            archive.add(place, name)
    script = 'set -e; d=$(mktemp -d); cd "$d"; tar xf -; mkdir out; echo "$d"'
    done = subprocess.run(
        [*_ssh(), host, script], input=stream.getvalue(), capture_output=True, check=False
    )
    lines = done.stdout.decode("utf-8", "replace").split()
    if done.returncode or not lines or not FOLDER.fullmatch(lines[-1]):
        raise Unreachable(f"Cannot take the worker to '{host}' over SSH: {_last(done.stderr)}")
    return lines[-1]


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


def _stage_out(host: str, folder: str, store: str) -> None:
    """Bring the objects back, each checked against its name; nothing else is taken."""
    script = f"cd {folder}/out && if [ -d objects ]; then cd objects && tar cf - .; fi"
    done = subprocess.run(
        [*_ssh(), host, script], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode:
        raise Unreachable(f"Cannot bring the results back from '{host}': {_last(done.stderr)}")
    if not done.stdout:
        return
    with tarfile.open(fileobj=io.BytesIO(done.stdout), mode="r:") as archive:
        for member in archive:
            name = OBJECT.fullmatch(member.name)
            content = archive.extractfile(member) if name and member.isfile() else None
            if name is None or content is None:
                continue
            data = content.read()
            if hashlib.sha256(data).hexdigest() != name[1] + name[2]:
                raise Unreachable(f"'{host}' sent bytes that do not match their digest.")
            write_object(store, data)


def _last(stderr: bytes) -> str:
    lines = [
        line.strip() for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()
    ]
    return f"{lines[-1].rstrip('.')}." if lines else "it gave no answer."
