"""Whether the model that a record names may be made again: a function is called only if named."""

from __future__ import annotations

from xbackend.errors import UsageError
from xbackend.execution.execute import ExecutionContext
from xbackend.platforms.trust import function_was_named
from xbackend.preparation.model import is_callable


def trusted_source(source: str, context: ExecutionContext) -> str:
    """Return a record's source. Raises UsageError for a function that this user never named."""
    trusted = context.trust_platforms or function_was_named(source)
    if is_callable(source) and not trusted:
        raise UsageError(
            f"The store's runs are of '{source}', a function that was never named here. "
            f"Name it with 'xbackend run {source} --precision float64'."
        )
    return source
