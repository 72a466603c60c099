"""Why a desk refuses, in kinds that a server can tell apart; each carries one line that says what to do."""

from __future__ import annotations

from keepsight.core.errors import InputError


class NotFound(InputError):
    """There is no such video, object, frame or job."""


class Conflict(InputError):
    """It cannot be done as things stand: a job is running, an edit needs a yes."""


class Locked(InputError):
    """The object is locked, or its mask on the frame is accepted."""


class TooMuch(InputError):
    """More was asked for than the limits allow."""


class Busy(InputError):
    """Everything is taken; try again later."""
