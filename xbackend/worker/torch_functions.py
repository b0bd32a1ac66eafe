"""Names calls of PyTorch's functions within a module: `blocks.0::relu`, `blocks.0::relu#1`."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Callable, Dict, List

if TYPE_CHECKING:
    from typing import Iterable, Iterator, Tuple

Told = Callable[[str, str, int, Any, Any], None]
"""Takes a module's path, a function's name, which of its calls, its arguments and its result."""


def function_name(function: Any) -> str:
    """Return what a function is called, an operator by its function: `matmul` for `@`.

    >>> function_name(int.__add__), function_name(len)
    ('add', 'len')
    """
    return str(getattr(function, "__name__", "")).strip("_")


@contextmanager
def watched_functions(
    base: Any, modules: Iterable[Tuple[str, Any]], told: Told, kinds: Tuple[type, ...]
) -> Iterator[None]:
    """Tell of each call of a function that gives one tensor, and within which module it is.

    `base` is `torch.overrides.TorchFunctionMode` and `kinds` the classes of tensors, so that
    nothing of the framework is imported here.
    """
    scopes: List[str] = [""]
    counts: Dict[Tuple[str, str], int] = {}

    class Mode(base):  # type: ignore[misc]  # the class is given
        def __torch_function__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            result = function(*args, **(kwargs or {}))
            if isinstance(result, kinds):
                key = (scopes[-1], function_name(function))
                counts[key] = counts.get(key, -1) + 1
                told(*key, counts[key], (args, kwargs or {}), result)
            return result

    hooks = []
    for path, inner in modules:
        hooks.append(inner.register_forward_pre_hook(_enter(scopes, path)))
        hooks.append(inner.register_forward_hook(_leave(scopes)))
    try:
        with Mode():
            yield
    finally:
        for hook in hooks:
            hook.remove()


def _enter(scopes: List[str], path: str) -> Callable[..., None]:
    return lambda *_: scopes.append(path)


def _leave(scopes: List[str]) -> Callable[..., None]:
    def leave(*_: Any) -> None:
        scopes.pop()

    return leave


def call_name(path: str, function: str, number: int) -> str:
    """Return what a call of a function is named.

    >>> call_name("attn", "softmax", 0), call_name("", "relu", 2)
    ('attn::softmax', '::relu#2')
    """
    return f"{path}::{function}#{number}" if number else f"{path}::{function}"
