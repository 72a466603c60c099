"""What was freed goes back to the machine, where the allocator is glibc's."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# A process of its own: arenas are shared from the beginning or not at all.
WORK = """
import psutil
from keepsight.server.memory import give_back, share_arenas

assert share_arenas()
resident = lambda: psutil.Process().memory_info().rss / 2**20
blocks = [bytearray(100_000) for _ in range(2000)]
full = resident()
last = blocks[-1]  # keeps the end of the heap in use
del blocks
assert give_back()
assert resident() < full - 100, (full, resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_freed_memory_goes_back():
    done = subprocess.run([sys.executable, "-c", WORK], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
