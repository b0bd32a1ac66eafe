"""A fleet of emulated processors against the same scripts under the same emulator."""

from __future__ import annotations

import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from xbackend.platforms.parse import expand_platforms, processor_of

from .commands import AT_ONCE, BARE, Scratch, run, scratch
from .timing import Ratio, ratio, time_interleaved

FLEET = "fleet:x86"
WORDS = ("ort", "tflite")
LIMIT = 1.15


def compare_fleet(rounds: int) -> list[Ratio]:
    """Measure a run over the fleet, and how much of it each platform after the first costs."""
    emulator = shutil.which("qemu-x86_64")
    if emulator is None:
        raise SystemExit("There is no qemu-x86_64 on this machine: apt-get install qemu-user.")
    members = expand_platforms((FLEET,))
    processors = [processor_of(member) for member in members]
    with scratch() as place:
        seconds = time_interleaved(
            {
                "bare": partial(_bare, place, emulator, processors),
                "bare one": partial(_bare, place, emulator, processors[:1]),
                "ours": partial(place.ours, WORDS, "warm", "--platform", FLEET),
                "ours one": partial(place.ours, WORDS, "warm", "--platform", members[0]),
            },
            rounds,
        )
    more = {
        name: [
            (w - o) / (len(members) - 1)
            for w, o in zip(seconds[name], seconds[f"{name} one"], strict=True)
        ]
        for name in ("bare", "ours")
    }
    title = f"`xbackend run --backends ort,tflite --platform {FLEET}`"
    peer = f"{len(members) * len(WORDS)} bare scripts under QEMU, {AT_ONCE} at a time"
    return [
        ratio(title, peer, seconds["ours"], seconds["bare"], LIMIT),
        ratio("each further platform of it", "two bare scripts more", more["ours"], more["bare"]),
    ]


def _bare(place: Scratch, emulator: str, processors: list[str]) -> None:
    """Run the bare scripts of all backends on all processors, two at a time.

    Each in a session of its own, as our workers are: Linux shares a busy machine by sessions.
    """
    commands = [
        [emulator, "-cpu", cpu, sys.executable, str(BARE / f"{word}.py"),
         str(place.models[word]), str(place.samples), str(place.folder)]
        for word in WORDS
        for cpu in processors
    ]  # fmt: skip
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(partial(run, session=True), commands))
