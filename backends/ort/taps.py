"""Values of graphs within, as outputs that branches and loops have: what to ask for, and back.

`if_1[then]/conv` counts only if the output `if_1[then]` says that this branch ran; `loop_1[]/conv`
holds what each iteration computed, one after the other.
"""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING, Collection, Dict, Iterator, List, Mapping, Sequence, Tuple

from xbackend.worker.subgraphs import is_wanted, layer_of
from xbackend.worker.tensor import Tensor

if TYPE_CHECKING:
    from typing import Any

BRANCH = re.compile(r"\[(then|else)\]/")
FLAG = "[then]"
EACH = "[]/"


def fetched(names: Sequence[str], wanted: Collection[str]) -> List[str]:
    """Return the outputs to ask for: those that are wanted, and what tells which branches ran."""
    layers = {*wanted, *map(layer_of, wanted)}
    asked = [name for name in names if name in layers]
    return list(dict.fromkeys([*asked, *(flag for name in asked for flag, _ in _flags(name))]))


def _flags(name: str) -> List[Tuple[str, bool]]:
    """Return the outputs that tell whether a value was computed, with what they must say."""
    return [(name[: m.start()] + FLAG, m[1] == "then") for m in BRANCH.finditer(name)]


def placed(
    found: Mapping[str, Tensor], names: Sequence[str], wanted: Collection[str]
) -> Iterator[Tuple[str, Tensor]]:
    """Yield what was computed, in the order of the names; of a loop one iteration after another."""
    ran = [name for name in names if name in found and _ran(name, found)]
    for loop, group in groupby(ran, lambda name: name.rpartition(EACH)[0]):
        several = list(group)
        if not loop:
            yield from ((name, found[name]) for name in several if is_wanted(name, wanted))
            continue
        yield from _iterations({name: found[name] for name in several}, wanted)


def _ran(name: str, found: Mapping[str, Tensor]) -> bool:
    return all(_says(found[flag].array, must) for flag, must in _flags(name))


def _says(flag: Any, must: bool) -> bool:
    """Tell whether a flag is what it must be; one without elements stands in a branch beside."""
    return bool(flag.size) and bool(flag.reshape(-1)[0]) == must


def _iterations(
    stacked: Dict[str, Tensor], wanted: Collection[str]
) -> Iterator[Tuple[str, Tensor]]:
    count = max((len(tensor.array) for tensor in stacked.values()), default=0)
    for index in range(count):
        for name, tensor in stacked.items():
            own = f"[{index}]/".join(name.rsplit(EACH, 1))
            if is_wanted(own, wanted):
                yield own, Tensor(tensor.dtype, tensor.array[index])
