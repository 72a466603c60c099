"""Gives memory back to the machine that the allocator would keep: glibc keeps what was freed, in an arena for each thread."""

from __future__ import annotations

import ctypes

_ARENA_MAX = -8  # M_ARENA_MAX of glibc's malloc.h
_ARENAS = 2


def _libc() -> ctypes.CDLL | None:
    try:
        libc = ctypes.CDLL(None)
        return libc if hasattr(libc, "malloc_trim") and hasattr(libc, "mallopt") else None
    except (OSError, TypeError):
        return None


def share_arenas() -> bool:
    """Lets all threads share a few arenas, so that what one has freed another can use; call it before they begin.

    Returns:
        Whether the allocator of this machine knows that.
    """
    libc = _libc()
    return libc is not None and bool(libc.mallopt(_ARENA_MAX, _ARENAS))


def give_back() -> bool:
    """Returns free memory to the machine; some milliseconds.

    Returns:
        Whether there was any.
    """
    libc = _libc()
    return libc is not None and bool(libc.malloc_trim(0))
