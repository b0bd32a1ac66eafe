"""Where a worker runs: `native`, `cores:4`, `qemu:Haswell`, `python:/path`, joined with `+`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from xbackend.errors import UsageError, did_you_mean, nearest_words
from xbackend.platforms import local
from xbackend.platforms.platform import Platform
from xbackend.store.escaping import MOVING, quoted

KINDS: dict[str, str] = {
    "native": "this machine as it is",
    "cores:N": "the first N of the cores that this process may use",
    "qemu:CPU[,+flag][,-flag]": "an emulated x86 processor; needs qemu-user",
    "qemu-arm:CPU[,feature=off]": "an emulated ARM processor, to be set up once; needs qemu-user",
    "fleet:x86": "emulated x86 processors, one for each behaviour that is known",
    "fleet:arm": "emulated ARM processors, likewise",
    "ssh:HOST": "another machine, reached by ssh without a question; nothing is installed there",
    "docker:IMAGE": "a container of an image with Python, NumPy and the framework",
    "python:PATH": "another Python, with whatever frameworks it has",
}
"""The forms of a platform and what each is, for `xbackend platforms`."""

LONGEST = 4096
"""Characters of a platform: what Linux lets a path have."""


def _qemu(platform: Platform, value: str) -> Platform:
    from xbackend.platforms.emulated import qemu

    return qemu(platform, value)


def _qemu_arm(platform: Platform, value: str) -> Platform:
    from xbackend.platforms.arm import qemu_arm

    return qemu_arm(platform, value)


def _ssh(platform: Platform, value: str) -> Platform:
    from xbackend.platforms.remote import ssh

    return ssh(platform, value)


def _docker(platform: Platform, value: str) -> Platform:
    from xbackend.platforms.remote import docker

    return docker(platform, value)


PARTS: dict[str, Callable[[Platform, str], Platform]] = {
    "native": local.native,
    "cores": local.cores,
    "python": local.python,
    "qemu": _qemu,
    "qemu-arm": _qemu_arm,
    "ssh": _ssh,
    "docker": _docker,
}
"""A kind to what it adds to a platform; what few runs need is imported by those."""


def fleets() -> Mapping[str, Sequence[str]]:
    """Return each fleet with its platforms."""
    from xbackend.platforms import arm, emulated

    return {**emulated.FLEETS, "arm": arm.FLEET}


def expand_platforms(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Replace each fleet by its platforms, and keep each platform once.

    >>> expand_platforms(("native", "fleet:x86", "native"))[:2]
    ('native', 'qemu:Nehalem')
    """
    found: list[str] = []
    for text in texts:
        head, colon, name = text.partition("fleet:")
        fleet, plus, rest = name.partition("+")
        if not colon:
            found.append(text)
            continue
        known = fleets()
        if fleet not in known:
            raise UsageError(
                f"There is no fleet '{fleet}'. Fleets: {', '.join(known)}."
                f"{did_you_mean(fleet, known)}"
            )
        found += [f"{head}{member}{plus}{rest}" for member in known[fleet]]
    return tuple(dict.fromkeys(found))


def parse_platform(text: str) -> Platform:
    """Return the platform that a text names; parts joined with `+` apply from left to right.

    Raises UsageError for an unknown kind, or a command or interpreter that is not there.

    >>> parse_platform("native").prefix
    ()
    """
    _refuse_unreadable(text)
    platform = Platform(spec=text)
    for part in split_platform(text):
        kind, _, value = part.partition(":")
        if kind not in PARTS:
            raise UsageError(
                f"There is no platform '{part}'. Known: {', '.join(KINDS)}; joined with '+'."
                f"{_nearest_platform(kind, value)}"
            )
        platform = PARTS[kind](platform, value)
    return platform


def _nearest_platform(kind: str, value: str) -> str:
    """Return the platform that is meant by a word that is no kind: `Haswell`, `natve`.

    >>> _nearest_platform("natve", ""), _nearest_platform("haswell", "")
    (" Did you mean 'native'?", " Did you mean 'qemu:Haswell'?")
    >>> _nearest_platform("pyhton", "/usr/bin/python3")
    " Did you mean 'python:/usr/bin/python3'?"
    """
    kinds = ("fleet", *PARTS)
    if value:
        return did_you_mean(
            f"{kind}:{value}", [f"{each}:{value}" for each in nearest_words(kind, kinds)]
        )
    known = fleets()
    members = {each.partition(":")[2].lower(): each for of in known.values() for each in of}
    whole = [*(f"fleet:{name}" for name in known), *members.values(), "native"]
    return did_you_mean(kind, whole, {**members, **{name: f"fleet:{name}" for name in known}})


def _refuse_unreadable(text: str) -> None:
    """Raise UsageError for what no command line can hold, or a terminal would act on."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        sound = False
    else:
        sound = MOVING.search(text) is None and len(text) <= LONGEST
    if not sound:
        raise UsageError(
            f"The platform {quoted(text)} holds characters that no platform has, or too many."
        )


def processor_of(text: str) -> str:
    """Return the emulated x86 processor that a platform names, empty if it names none.

    >>> processor_of("cores:1+qemu:SandyBridge,+fma+python:/opt/old/bin/python")
    'SandyBridge,+fma'
    """
    found = (part.partition(":") for part in split_platform(text))
    return next((value for kind, _, value in found if kind == "qemu"), "")


def with_processor(text: str, processor: str) -> str:
    """Return a platform with another emulated x86 processor in the place of its own.

    >>> with_processor("qemu:Haswell+python:/opt/old/bin/python", "Haswell,-fma")
    'qemu:Haswell,-fma+python:/opt/old/bin/python'
    """
    parts = split_platform(text)
    return "+".join(
        f"qemu:{processor}" if part.partition(":")[0] == "qemu" else part for part in parts
    )


def split_platform(text: str) -> list[str]:
    """Split at each `+` that begins a kind, not at those that switch a processor's flag on."""
    parts = text.split("+")
    joined = [parts[0]]
    for part in parts[1:]:
        if part.partition(":")[0] in PARTS:
            joined.append(part)
        else:
            joined[-1] += f"+{part}"
    return joined
