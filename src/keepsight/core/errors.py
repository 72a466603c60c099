"""Errors that a person can act on.

Every error carries one line that says what was wrong, where, and what to do next. The command line prints that line and
exits with 2; a traceback is for defects of ours only.
"""

from __future__ import annotations


class KeepsightError(Exception):
    """Base of all errors that the user of the package can cause or mend."""


class InputError(KeepsightError):
    """A video, image, prompt or option that cannot be used as it is."""


class MemoryExhausted(InputError):
    """More memory than there is, of the machine or of its GPU."""


class ModelError(KeepsightError):
    """Weights that are missing, gated, incomplete or of the wrong kind."""


class StoreError(KeepsightError):
    """A project file or output folder that cannot be read or written."""


class Cancelled(KeepsightError):
    """The person asked to stop; everything up to here is kept."""
