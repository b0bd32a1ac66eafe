"""Errors that a user can mend: one sentence with what failed, its value and the cure."""

from __future__ import annotations


class XbackendError(Exception):
    """A failure that is told in one sentence, without a traceback. Exit status 3."""

    exit_status = 3


class UsageError(XbackendError):
    """What the user asked for is wrong: an unknown word, a missing file. Exit status 2."""

    exit_status = 2


class ModelError(UsageError):
    """A model file is not sound, or holds what cannot be run."""


class UnsupportedOperators(ModelError):
    """A model has operators, or forms of them, that who is to compute it lacks."""


class InputError(UsageError):
    """An input does not fit the model."""


class StoreError(XbackendError):
    """The store cannot be read or written, or holds bytes that do not match their digest."""


class ConversionError(XbackendError):
    """A converter failed."""


class PluginError(XbackendError):
    """A backend's adapter cannot be found."""
