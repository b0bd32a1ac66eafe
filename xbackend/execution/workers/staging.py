"""Takes a worker, its artifact and its inputs to where they run, and brings the objects back."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from xbackend.execution.workers.staged_job import CLEANUP_TIMEOUT, StagedJob
from xbackend.platforms.platform import Platform
from xbackend.worker.job import Job


@contextlib.contextmanager
def stage_job(
    platform: Platform, worker: Path, job: Job, timeout: float = threading.TIMEOUT_MAX
) -> Iterator[StagedJob]:
    """Prepare a platform for one worker, and leave it as it was afterwards.

    Raises Unreachable where the platform cannot be reached, or not within `timeout` seconds.
    """
    kind, _, value = platform.transport.partition(":")
    if kind == "ssh":
        from xbackend.execution.workers.ssh import Host, over_ssh  # with the library of archives

        with over_ssh(Host(value, timeout), platform, worker, job) as staged:
            yield staged
    elif kind == "docker":
        with _in_container(value, platform, worker, job) as staged:
            yield staged
    else:
        yield StagedJob(platform.command(worker), job)


@contextlib.contextmanager
def _in_container(image: str, platform: Platform, worker: Path, job: Job) -> Iterator[StagedJob]:
    """Name the container, and remove it afterwards: it would outlive the client that is killed."""
    name = f"xbackend-{os.getpid()}-{os.urandom(6).hex()}"
    try:
        yield StagedJob(_docker_command(image, name, platform, worker, job), job)
    finally:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                ["docker", "rm", "--force", name],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=CLEANUP_TIMEOUT,
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
