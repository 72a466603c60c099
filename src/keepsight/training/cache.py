"""Cached features of clips.

While the backbone is frozen its maps never change, and computing them is half of the work of a training step. So clips
and their features are made once, in chunks that any number of processes can write while training already reads.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from keepsight.models.builtin.efficientnet import EfficientNetLite0, Taps
from keepsight.models.builtin.flow import backward_flow, to_grey
from keepsight.training.clips import Assets
from keepsight.training.views import ViewClip, make_view_clip, placement

CLIPS_PER_CHUNK = 12
CLIP_LENGTH = 10
_TAPS = ("s4", "s8", "s16", "s32")


def chunk_folders(root: Path) -> list[Path]:
    """Finished chunks, oldest number first."""
    return sorted(p for p in root.glob("chunk_*") if p.suffix != ".part")


def write_chunk(
    folder: Path,
    backbone: EfficientNetLite0,
    assets: Assets,
    seed: int,
    size: int = 256,
    clips: int = CLIPS_PER_CHUNK,
    length: int = CLIP_LENGTH,
) -> None:
    """Writes synthetic clips with seeds from `seed` on; see `store_clips`."""
    store_clips(folder, backbone, (make_view_clip(assets, seed + i, length, size) for i in range(clips)))


@torch.inference_mode()
def store_clips(folder: Path, backbone: EfficientNetLite0, clips: Iterable[ViewClip]) -> None:
    """Writes clips of one length and size; the folder appears under its name only when it is complete.

    float16 taps (clips * length, H, W, C); uint8 labels (clips, length, S, S); float32 views (clips, length, 3 or 4); uint8
    principals (clips,); float16 flows (clips, 2, length, S/4, S/4, 2), from every frame to the one before it and to the
    one after it (0 where there is none), so that a clip can be played in both directions.
    """
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    device = next(backbone.parameters()).device
    taps: dict[str, list[NDArray[np.float16]]] = {name: [] for name in _TAPS}
    labels, views, principals, flows = [], [], [], []
    for clip in clips:
        length, size = clip.labels.shape[:2]
        labels.append(clip.labels)
        views.append(clip.views)
        principals.append(clip.principal)
        flow = np.zeros((2, length, size // 4, size // 4, 2), np.float16)
        greys = [to_grey(frame) for frame in clip.frames]
        for t in range(1, length):
            for direction, (now, then) in enumerate(((t, t - 1), (t - 1, t))):
                where = placement(clip.views, then, now)
                same = where == (1.0, 1.0, 0.0, 0.0)
                flow[direction, now] = backward_flow(greys[now], greys[then], None if same else where)
        flows.append(flow)
        for t in range(0, length, 2):  # two at a time: larger batches leave the processor cache
            pixels = torch.from_numpy(clip.frames[t : t + 2]).permute(0, 3, 1, 2).float()
            out = backbone(pixels.contiguous(memory_format=torch.channels_last).to(device))
            for name, tap in zip(_TAPS, out, strict=True):
                taps[name].append(tap.permute(0, 2, 3, 1).half().cpu().numpy())
    for name in _TAPS:
        np.save(part / f"{name}.npy", np.concatenate(taps[name]))
    np.save(part / "labels.npy", np.stack(labels))
    np.save(part / "views.npy", np.stack(views))
    np.save(part / "principals.npy", np.array(principals, np.uint8))
    np.save(part / "flows.npy", np.stack(flows))
    part.rename(folder)


def write_chunks(
    root: Path,
    backbone: EfficientNetLite0,
    assets: Assets,
    numbers: Sequence[int],
    log: Callable[[str], None] = print,
    until: float = float("inf"),
    keep: int | None = None,
    clips: int = CLIPS_PER_CHUNK,
) -> None:
    """Writes the chunks that are missing; stops at the monotonic time `until`. Chunk n holds seeds n*1000, n*1000+1...

    With `keep`, only that many of the newest chunks stay on the disk: training sees ever new clips in little space.
    """
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    for n in numbers:
        folder = root / f"chunk_{n:05d}"
        present = chunk_folders(root)
        newest = max((int(p.name.split("_")[1]) for p in present), default=-1)
        if folder.exists() or (keep is not None and n <= newest - keep):
            continue
        for old in present[: len(present) - keep] if keep is not None else ():
            shutil.rmtree(old, ignore_errors=True)
        if time.monotonic() > until:
            return
        start = time.monotonic()
        write_chunk(folder, backbone, assets, n * 1000, clips=clips)
        per_frame = (time.monotonic() - start) / (clips * CLIP_LENGTH) * 1e3
        log(f"chunk {n} by {os.getpid()}: {per_frame:.0f} ms a frame")


class ClipCache:
    """Random access to the clips of all finished chunks; looks for new ones as training goes on."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.chunks: list[dict[str, NDArray]] = []
        self._clips: list[tuple[int, int]] = []  # chunk, place in it
        self._open: dict[Path, dict[str, NDArray]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Takes in chunks that were finished since, and lets go of those that were deleted."""
        folders = chunk_folders(self.root)
        for gone in set(self._open) - set(folders):
            del self._open[gone]
        for folder in folders:
            if folder not in self._open:
                try:
                    self._open[folder] = {p.stem: np.load(p, mmap_mode="r") for p in sorted(folder.glob("*.npy"))}
                except FileNotFoundError:  # deleted while it was opened
                    self._open.pop(folder, None)
        self.chunks = [self._open[folder] for folder in sorted(self._open)]
        self._clips = [(c, i) for c, chunk in enumerate(self.chunks) for i in range(len(chunk["labels"]))]

    def __len__(self) -> int:
        return len(self._clips)

    def labels(self, clip: int) -> NDArray[np.uint8]:
        """(T, S, S) uint8 labels of a clip."""
        chunk, at = self._clips[clip]
        return np.asarray(self.chunks[chunk]["labels"][at])

    def principal(self, clip: int) -> int:
        """Label of the object that the view of a clip follows."""
        chunk, at = self._clips[clip]
        return int(self.chunks[chunk]["principals"][at])

    def views(self, clip: int) -> NDArray[np.float32]:
        """(T, 3) or (T, 4) float32, the view in every frame as in `ViewClip`."""
        chunk, at = self._clips[clip]
        return np.asarray(self.chunks[chunk]["views"][at])

    def flow(self, clip: int, frame: int, step: int) -> NDArray[np.float32]:
        """(S/4, S/4, 2) float32 flow from a frame to the one before it (`step` 1) or after it (-1), in cells."""
        chunk, at = self._clips[clip]
        return self.chunks[chunk]["flows"][at, 0 if step > 0 else 1, frame].astype(np.float32)

    def taps(self, picks: Sequence[tuple[int, int]]) -> Taps:
        """Features of (clip, frame) pairs as one batch, float32, channels last."""
        out = []
        for name in _TAPS:
            rows = []
            for clip, frame in picks:
                chunk, at = self._clips[clip]
                rows.append(self.chunks[chunk][name][at * self.chunks[chunk]["labels"].shape[1] + frame])
            out.append(torch.from_numpy(np.stack(rows)).float().permute(0, 3, 1, 2))
        return Taps(*out)

    def statistics(self, chunks: int = 4) -> dict[str, tuple[Tensor, Tensor]]:
        """Mean and inverse deviation of every tap's channels over the first chunks."""
        out = {}
        for name in _TAPS:
            x = torch.cat(
                [torch.from_numpy(c[name][::3].astype(np.float32)).flatten(0, 2) for c in self.chunks[:chunks]]
            )
            out[name] = (x.mean(0), 1 / x.std(0).clamp(min=1e-3))
        return out
