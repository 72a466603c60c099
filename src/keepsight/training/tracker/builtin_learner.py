"""The built-in model as something to train: clips of one's own seen through its search regions, then its own episodes.

The recipe is that of its training from scratch (`training/episodes.py`): only where clips come from is another. Features
of the frozen backbone are kept on the disk with the clips; the rest of the network learns, the affinity memory with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from keepsight.core import InputError, Mask, Region, mask_box
from keepsight.models.builtin.network import BuiltinNetwork
from keepsight.models.builtin.weights import save_weights
from keepsight.tracking.zoom import Zoom
from keepsight.training.cache import CLIP_LENGTH, CLIPS_PER_CHUNK, ClipCache, chunk_folders, store_clips
from keepsight.training.episodes import EpisodeOptions, EpisodeTrainer
from keepsight.training.tracker.sampler import Drawn, Sampler
from keepsight.training.trainer import Group
from keepsight.training.views import ViewClip

CLIP_BYTES = 5 * 2**20
"""A cached clip of ten frames, about."""

CLIPS = 120
"""Clips that are made at most, half a second of one core each: a step sees parts of three of them, either way round."""

_WHOLE = 0.15
"""Share of clips seen as whole frames."""

_LEAST_PX = 120
"""As small as an object may be in a view, for half of a clip's frames."""


@dataclass(frozen=True)
class BuiltinOptions:
    """What a step is made of: `EpisodeOptions` with fewer names."""

    frames: int = 5
    objects: int = 3
    clips: int = 3

    def episode(self, frames: int, objects: int) -> EpisodeOptions:
        """The recipe's last stages."""
        return EpisodeOptions(self.clips, frames, objects, teach=0.2, corrected=0.3, tracked_corrections=0.08, flow=0.8)


class BuiltinLearner:
    """Trains all of the built-in network but its backbone.

    Args:
        cache: folder for clips with their features; each set of data, with its settings, has a folder of its own.
        cache_bytes: what it may hold.
        clips: how many are made where there is room for them.
    """

    def __init__(
        self,
        network: BuiltinNetwork,
        sampler: Sampler,
        options: BuiltinOptions,
        seed: int,
        *,
        cache: Path,
        cache_bytes: int,
        clips: int = CLIPS,
        device: str = "cpu",
        log: Callable[[str], None] = print,
    ) -> None:
        if options.frames > CLIP_LENGTH:
            raise InputError(f"Clips of the built-in model have at most {CLIP_LENGTH} frames, not {options.frames}.")
        self.network, self.options, self.seed = network.to(device), options, seed
        self.module: nn.Module = network.train()
        self.notes: dict[str, Any] = {}
        network.requires_grad_(True)
        network.backbone.requires_grad_(False)
        folder = make_clips(network, sampler, seed, cache, min(clips, cache_bytes // CLIP_BYTES), log)
        self._episodes = EpisodeTrainer(network, ClipCache(folder), seed, device)

    def groups(self) -> list[Group]:
        return [Group([parameter for parameter in self.network.parameters() if parameter.requires_grad])]

    def step(self, number: int, progress: float) -> tuple[Tensor, dict[str, float]]:
        return self._episodes(number, self.options.episode(*self.clip_size()))

    def dry(self, frames: int, objects: int) -> Tensor:
        options = replace(self.options.episode(frames, objects), corrected=1.0, tracked_corrections=1.0)
        return self._episodes(0, options)[0]

    def clip_size(self) -> tuple[int, int]:
        return int(self.notes.get("frames", self.options.frames)), int(self.notes.get("objects", self.options.objects))

    def shrink(self) -> bool:
        frames, objects = self.clip_size()
        if objects == 1 and frames == 2:
            return False
        self.notes.update(frames=frames if objects > 1 else frames - 1, objects=max(1, objects - 1))
        return True

    def precision(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def write(self, state: Mapping[str, Tensor], folder: Path) -> Path:
        weights = folder / "weights.safetensors"
        save_weights(state, weights)
        (folder / "config.json").write_text('{"model_type": "keepsight_builtin"}\n', encoding="utf-8")
        return weights


# -- clips ------------------------------------------------------------------------------------------------------------
def make_clips(
    network: BuiltinNetwork, sampler: Sampler, seed: int, cache: Path, count: int, log: Callable[[str], None]
) -> Path:
    """Fills the cache with clips, unless it holds them already; returns their folder.

    Raises:
        InputError: no object is large enough to be seen.
    """
    if count < 1:
        raise InputError(f"A clip needs {CLIP_BYTES / 2**20:.0f} MB of cache; give more by --cache-gb.")
    folder = cache / _fingerprint(network, sampler, seed, count)[:16]
    chunks = -(-count // CLIPS_PER_CHUNK)
    if len(chunk_folders(folder)) == chunks:
        return folder
    log(f"making {count} clips in {folder}")
    clips = _view_clips(sampler, seed)
    training = network.training
    for number in range(chunks):
        wanted = min(CLIPS_PER_CHUNK, count - number * CLIPS_PER_CHUNK)
        chunk = list(islice(clips, wanted))
        if not chunk:
            raise InputError("No object is large enough to learn from: at 256 px they cover less than 120 px.")
        if not (folder / f"chunk_{number:05d}").exists():
            store_clips(folder / f"chunk_{number:05d}", network.backbone, chunk)
    network.train(training)
    return folder


def _view_clips(sampler: Sampler, seed: int) -> Iterator[ViewClip]:
    """Clips without end, those with too small an object left out; ends when nothing but these comes."""
    number = refused = 0
    while refused < 100:
        rng = np.random.default_rng([seed, 11, number])
        number += 1
        clip = view_clip(sampler.draw(rng, CLIP_LENGTH, 6), rng)
        if np.median((clip.labels == clip.principal).sum((1, 2))) < _LEAST_PX:
            refused += 1
            continue
        refused = 0
        yield clip


def view_clip(drawn: Drawn, rng: np.random.Generator, size: int = 256) -> ViewClip:
    """What the tracker would look at while it follows the first object of a clip.

    A clip that is too short goes to and fro. Half of the clips are mirrored, and all are a little lighter or darker than they
    were, so that a few minutes of video are not learned by heart.
    """
    place = _bounce(len(drawn.frames), CLIP_LENGTH)
    footage, frames = drawn.footage, [drawn.frames[i] for i in place]
    items = [item for n, item in enumerate(drawn.objects) if drawn.known[:, n].all()]
    masks = [footage.masks(item.object_id, set(frames)) for item in items]
    regions = _regions([masks[0][frame] for frame in frames], (footage.height, footage.width), rng)
    mirrored, light = bool(rng.random() < 0.5), rng.normal(1, 0.08, 3).clip(0.7, 1.3)
    pictures = np.empty((CLIP_LENGTH, size, size, 3), np.uint8)
    labels = np.zeros((CLIP_LENGTH, size, size), np.uint8)
    views = np.empty((CLIP_LENGTH, 4), np.float32)
    order = list(range(len(items)))[::-1]  # the first object is on top
    for t, (frame, region) in enumerate(zip(frames, regions, strict=True)):
        seen = _resized(footage.rgb(frame)[region.y1 : region.y2, region.x1 : region.x2], size)
        pictures[t] = np.clip(seen * light, 0, 255).astype(np.uint8)
        for n in order:
            array = masks[n][frame].to_array()[region.y1 : region.y2, region.x1 : region.x2]
            labels[t][_resized(array.astype(np.uint8) * 255, size) > 127] = n + 1
        left = footage.width - region.x2 if mirrored else region.x1
        views[t] = left, region.y1, region.width, region.height
        if mirrored:
            pictures[t], labels[t] = pictures[t, :, ::-1].copy(), labels[t, :, ::-1].copy()
    return ViewClip(pictures, labels, views, 1)


def _regions(masks: list[Mask], size: tuple[int, int], rng: np.random.Generator) -> list[Region]:
    """Where the tracker would look, one region a frame, if it saw the object as it is."""
    whole = Region.whole(*size)
    if rng.random() < _WHOLE:
        return [whole] * len(masks)
    zoom = Zoom(context=float(np.clip(2.5 * np.exp(rng.normal(0, 0.25)), 1.5, 6.0)))
    boxes = [mask_box(mask.to_array()) for mask in masks]
    assert boxes[0] is not None, "a clip begins with its object in view"
    region, regions = zoom.close_up(boxes[0], size), []
    extent = max(boxes[0][2] - boxes[0][0], boxes[0][3] - boxes[0][1], 1.0)
    for t in range(len(masks)):
        before = boxes[t - 1] if t else boxes[0]
        if before is not None:
            extent = zoom.believe(before, extent, size)
            region = zoom.follow(before, extent, region, size)
        regions.append(region)
    return regions


def _resized(picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    shrinks = min(picture.shape[:2]) > size
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(picture), (size, size), interpolation=method), np.uint8)


def _bounce(count: int, length: int) -> list[int]:
    """``length`` places that run over ``count`` frames to and fro."""
    period = max(1, 2 * (count - 1))
    return [min(i % period, period - i % period) for i in range(length)]


def _fingerprint(network: BuiltinNetwork, sampler: Sampler, seed: int, count: int) -> str:
    told = hashlib.sha256(json.dumps([seed, count, sampler.stride, sampler.reverse, _WHOLE]).encode())
    for name, value in sorted(network.backbone.state_dict().items()):
        told.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    for part in sampler.parts:
        told.update(f"{part.footage.key} {part.start} {part.stop}".encode())
        for item in part.objects():
            known = part.known_frames(item)
            told.update(f"{item.object_id} {known}".encode())
            for frame, mask in sorted(part.footage.masks(item.object_id, known).items()):
                told.update(f"{frame} {mask.area} {mask.box}".encode())
    return told.hexdigest()
