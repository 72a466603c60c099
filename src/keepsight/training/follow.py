"""A plain tracker for measuring the network during training: first frame and the last three are remembered.

The product tracks with `keepsight.tracking` and a memory policy; this loop exists so that the network can be judged by
itself, with all objects of a clip in one batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from keepsight.models.builtin.affinity import gate_prior, values_from_logits, with_flow
from keepsight.models.builtin.flow import to_grey, warp_previous
from keepsight.models.builtin.network import BuiltinNetwork, Decoded
from keepsight.models.builtin.refine import prepare, refine
from keepsight.training import prompts
from keepsight.training.views import placement

RECENT = 3


@torch.inference_mode()
def follow(
    network: BuiltinNetwork,
    frames: NDArray[np.uint8],
    first: Sequence[prompts.Points] | NDArray[np.bool_],
    corrections: int = 0,
    truth: NDArray[np.bool_] | None = None,
    gate: bool = True,
    edges: bool = True,
    views: NDArray[np.float32] | None = None,
    flow: bool = True,
    recent: int = RECENT,
) -> tuple[NDArray[np.bool_], NDArray[np.float32], NDArray[np.float32]]:
    """Follows K objects from the first frame on.

    Args:
        network: in evaluation mode.
        frames: (T, S, S, 3) uint8 RGB at the size of the network.
        first: prompts of the K objects in px, or their masks (K, S, S).
        corrections: corrective clicks on the first frame, simulated from `truth`.
        truth: (K, S, S) true masks of the first frame; only for `corrections`.
        gate: use the motion gate.
        edges: pull masks to the edges of the picture, as the product does.
        views: (T, 3) left, top and side of the view that each frame was seen through; None: all the same.
        flow: use the flow channel.
        recent: how many of the last frames are remembered.

    Returns:
        Masks (T, K, S, S); presence logits (T, K); predicted IoU (T, K).
    """
    length, size = frames.shape[:2]
    k = len(first)
    masks = np.zeros((length, k, size, size), np.bool_)
    presence = np.zeros((length, k), np.float32)
    quality = np.zeros((length, k), np.float32)
    keys: list[Tensor] = []
    values: list[Tensor] = []
    grey = to_grey(frames[0])
    for t in range(length):
        before, grey = grey, to_grey(frames[t])
        pixels = torch.from_numpy(frames[t : t + 1]).permute(0, 3, 1, 2).float()
        features = network.encode_image(pixels.contiguous(memory_format=torch.channels_last))
        if t == 0 and isinstance(first, np.ndarray):
            given = torch.from_numpy(first).float()[:, None]
            logits = given[:, 0] * 20 - 10
            scores, ious = torch.full((k,), 10.0), torch.ones(k)
            masks[0] = first
        else:
            prior = None
            if t == 0:
                assert not isinstance(first, np.ndarray)
                clicks: list[prompts.Points] = list(first)
            else:
                clicks = [[] for _ in range(k)]
                read = [0, *range(max(1, t - recent), t)]
                conditioning = torch.tensor([i == 0 for i in read])
                v = torch.stack([values[i] for i in read], 1)[None]
                prior = network.propagate(
                    features.keys,
                    torch.stack([keys[i] for i in read], 1),
                    v,
                    conditioning,
                    placement=_placements(views, read, t),
                ).flatten(0, 1)
                where = None if views is None else placement(views, t - 1, t)
                prior = with_flow(prior, warp_previous(grey, before, values[t - 1], where) if flow else None)
                if gate:
                    last = list(range(t - 1, max(-1, t - 1 - recent), -1))
                    moved = _placements(views, last, t)
                    moved = None if moved is None else moved.expand(k, -1, -1)
                    prior = gate_prior(prior, torch.stack([values[i] for i in last], 1), placement=moved)
            points, labels = prompts.collate(clicks)
            several = bool((labels >= 0).sum() > k)
            out = network.decode(features, points, labels, prior, multimask=not several)
            logits, ious = best_candidate(out)
            for _ in range(corrections if t == 0 else 0):
                assert truth is not None
                shown = _upsample(logits, size).numpy() > 0
                clicks = [[*c, *prompts.correct(truth[i], shown[i])] for i, c in enumerate(clicks)]
                points, labels = prompts.collate(clicks)
                out = network.decode(features, points, labels, None, logits[:, None], multimask=False)
                logits, ious = best_candidate(out)
            scores = out.object_scores
            if edges:
                logits = refine(logits[:, None], prepare(pixels))[:, 0]
            masks[t] = ((_upsample(logits, size) > 0) & (scores > 0)[:, None, None]).numpy()
        presence[t], quality[t] = scores.numpy(), ious.numpy()
        keys.append(features.keys)
        values.append(values_from_logits(logits, scores))
        if t > recent + 1:  # what nobody reads any more
            keys[t - recent - 1] = keys[0]
            values[t - recent - 1] = values[0]
    return masks, presence, quality


def best_candidate(out: Decoded) -> tuple[Tensor, Tensor]:
    """Logits (B, h, w) and predicted IoU (B,) of the candidate with the highest predicted IoU."""
    best = out.ious.argmax(1)
    rows = torch.arange(len(best))
    return out.logits[rows, best], out.ious[rows, best]


def _placements(views: NDArray[np.float32] | None, frames: Sequence[int], now: int) -> Tensor | None:
    """(1, F, 4) placement of the views of some frames in the present one."""
    return None if views is None else torch.tensor([[placement(views, i, now) for i in frames]])


def _upsample(logits: Tensor, size: int) -> Tensor:
    if logits.shape[-1] == size:
        return logits
    return F.interpolate(logits[:, None], (size, size), mode="bilinear", align_corners=False)[:, 0]
