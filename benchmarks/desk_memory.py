"""Whether long work at a desk leaves anything behind: what the process holds, round after round, and what of it is in use.

    python benchmarks/desk_memory.py                       # the sample clip, 60 rounds: some minutes on one thread

A round is ten pictures, a new object by a click, a preview, a correction, eight frames tracked, masks and timeline read, undo in
half of the cases, and the object removed. *In use* is what the allocator has handed out (glibc only); resident memory has
the code of all libraries besides, and what the allocator keeps for the next time.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import random
import tempfile
import time
from pathlib import Path

import psutil
import torch
from rich.console import Console
from rich.table import Table

from keepsight.annotation import Desk, DeskSettings, Limits, Said, TrackRequest, Workshop

SAMPLE = Path(__file__).parents[1] / "samples" / "bigbuckbunny.mp4"
FRAMES = 8  # tracked in a round


class _MallInfo(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in [
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        ]
    )


def in_use_mib() -> float | None:
    """Handed out by the allocator, over all its arenas."""
    try:
        ask = ctypes.CDLL("libc.so.6").mallinfo2
    except (OSError, AttributeError):
        return None
    ask.restype = _MallInfo
    info = ask()
    return float(info.uordblks + info.hblkhd) / 2**20


def tensors_mib() -> float:
    """Storages of all tensors that Python can reach."""
    found = (one for one in gc.get_objects() if type(one) is torch.Tensor)
    return sum({one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in found}.values()) / 2**20


def work(desk: Desk, chance: random.Random) -> None:
    """One round."""
    frame = chance.randrange(desk.frame_count - FRAMES)
    for step in range(10):
        desk.picture((frame + step) % desk.frame_count).result()
    x, y = chance.uniform(0, desk.width - 1), chance.uniform(0, desk.height - 1)
    number = desk.prompt(Said(frame, points=((x, y),), labels=(1,))).result().object.id
    desk.preview(Said(frame, number, points=((y, y),), labels=(1,))).result()
    desk.prompt(Said(frame, number, points=((min(x + 9, desk.width - 1), y),), labels=(1,))).result()
    desk.track(TrackRequest(frame, stop=frame + FRAMES, objects=(number,))).result()
    while desk.job is not None:
        time.sleep(0.01)
    desk.masks(0, min(desk.frame_count, 200)).result()
    desk.timeline().result()
    if chance.random() < 0.5:
        desk.undo().result()
    desk.remove_object(number).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, default=SAMPLE)
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--every", type=int, default=4, help="rounds between two rows")
    given = parser.parse_args()
    torch.set_num_threads(1)
    table = Table("rounds", "resident MiB", "in use MiB", "of it tensors")
    limits = Limits(feature_bytes=512 * 2**20, picture_bytes=512 * 2**20)
    chance = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        shop = Workshop(DeskSettings(model=given.model), devices=("cpu",), dtype="float32", limits=limits)
        desk = shop.open("video", given.video, Path(folder) / "project.keepsight").result()
        for done in range(given.rounds + 1):
            if done % given.every == 0:
                gc.collect()
                resident, used = psutil.Process().memory_info().rss / 2**20, in_use_mib()
                handed = "" if used is None else f"{used:,.0f}"
                table.add_row(str(done), f"{resident:,.0f}", handed, f"{tensors_mib():,.0f}")
            if done < given.rounds:
                work(desk, chance)
        shop.shut()
    Console().print(table)


if __name__ == "__main__":
    main()
