"""One training step: prompt objects on a first frame, follow them through a few more, as the tracker would."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from keepsight.models.builtin.affinity import values_from_logits
from keepsight.models.builtin.efficientnet import Taps
from keepsight.models.builtin.network import BuiltinNetwork, Decoded, Features
from keepsight.training import prompts
from keepsight.training.cache import ClipCache
from keepsight.training.losses import candidate_ious, decoder_loss, prior_loss

_MIN_AREA_PX = 120
_SAMPLED_CELLS = 192


@dataclass(frozen=True)
class EpisodeOptions:
    """What an episode is made of.

    Attributes:
        clips: sub-clips a step; each gives `objects` prompted objects.
        frames: frames of a sub-clip.
        teach: probability that memory gets the true mask instead of the prediction.
        corrected: share of prompts that get a corrective click with the previous logits.
        tracked_corrections: the same on later frames.
        train_tail: let the second half of the backbone learn (from the cached stride-8 maps).
    """

    clips: int = 4
    frames: int = 2
    objects: int = 3
    teach: float = 0.5
    corrected: float = 0.25
    tracked_corrections: float = 0.0
    train_tail: bool = False


class EpisodeTrainer:
    """Computes the loss of a step; everything drawn depends on (seed, step) alone."""

    def __init__(self, network: BuiltinNetwork, cache: ClipCache, seed: int, device: str = "cpu") -> None:
        self.network, self.cache, self.seed, self.device = network, cache, seed, device

    def __call__(self, step: int, options: EpisodeOptions) -> tuple[Tensor, dict[str, float]]:
        rng = np.random.default_rng([self.seed, step])
        g, k, frames = options.clips, options.objects, options.frames
        picks, masks = self._draw(rng, options)
        features = self._features(picks, options)  # frame-major: (T * G, ...)
        truth = torch.from_numpy(masks).to(self.device).float()
        truth = F.avg_pool2d(truth.flatten(0, 2)[:, None], 4)[:, 0].unflatten(0, (frames, g * k))  # (T, G*K, S/4, S/4)
        keys = features.keys.unflatten(0, (frames, g))
        figures: dict[str, float] = {}
        losses: list[Tensor] = []
        values: list[Tensor] = []
        second_conditioning = frames > 2 and rng.random() < 0.15
        for t in range(frames):
            mine = Features(*(x[t * g : (t + 1) * g].repeat_interleave(k, 0) for x in features))
            prior = None
            if t == 0:
                kinds = [prompts.KINDS[i] for i in rng.choice(4, g * k, p=[0.38, 0.34, 0.2, 0.08])]
                given = [
                    prompts.simulate(m, kind, rng)
                    for m, kind in zip(masks[0].reshape(-1, *masks.shape[-2:]), kinds, strict=True)
                ]
            else:
                given = [[] for _ in range(g * k)]
                read = [0, *range(max(1, t - 3), t)]
                conditioning = torch.tensor([i == 0 or (i == 1 and second_conditioning) for i in read])
                v = torch.stack([values[i] for i in read], 1).unflatten(0, (g, k))
                m = torch.stack([keys[i] for i in read], 1)
                with torch.no_grad():
                    prior = self.network.propagate(keys[t], m, v, conditioning).flatten(0, 1)
                losses.append(
                    0.5 * self._affinity_loss(rng, keys[t], m, v, conditioning, truth[t].unflatten(0, (g, k)))
                )
                figures["prior"] = _mean_iou(prior[:, 0] - 0.5, truth[t])
            points, labels = prompts.collate(given)
            points, labels = points.to(self.device), labels.to(self.device)
            out = self.network.decode_all(mine, points, labels, prior, None)
            losses.append(decoder_loss(out, truth[t]).mean())
            chosen = _choose(out, labels)
            if t == 0:
                ious = candidate_ious(chosen[:, None], truth[0])[:, 0]
                for kind in ("click", "box", "clicks"):
                    which = [i for i, name in enumerate(kinds) if name == kind]
                    if which:
                        figures[kind] = float(ious[which].mean())
            else:
                shown = torch.where((out.object_scores > 0)[:, None, None], chosen, -1.0)
                figures[f"t{t}"] = _mean_iou(shown, truth[t])
                present = (truth[t] > 0.5).flatten(1).any(1)
                figures["presence"] = float(((out.object_scores > 0) == present).float().mean())
            share = options.corrected if t == 0 else options.tracked_corrections
            chosen = self._correct(rng, share, chosen, given, masks[t], mine, prior, truth[t], losses)
            value = values_from_logits(chosen, out.object_scores.detach())
            taught = torch.from_numpy(rng.random(g * k) < options.teach).to(self.device)
            if second_conditioning and t == 1:
                taught = torch.ones_like(taught)
            values.append(torch.where(taught[:, None, None, None], F.pixel_unshuffle(truth[t][:, None], 2), value))
        loss = torch.stack(losses).sum() / frames
        return loss, figures

    def _draw(
        self, rng: np.random.Generator, options: EpisodeOptions
    ) -> tuple[list[tuple[int, int]], NDArray[np.bool_]]:
        """Frames (frame-major (clip, frame) pairs) and masks (T, G, K, S, S) of a step."""
        chosen: list[tuple[int, list[int], list[int]]] = []
        while len(chosen) < options.clips:
            clip = int(rng.integers(len(self.cache)))
            labels = self.cache.labels(clip)
            gaps = rng.choice([1, 2, 3], options.frames - 1, p=[0.7, 0.2, 0.1])
            while gaps.sum() > len(labels) - 1:
                gaps[int(gaps.argmax())] -= 1
            times = int(rng.integers(len(labels) - gaps.sum())) + np.concatenate(([0], np.cumsum(gaps)))
            if rng.random() < 0.5:
                times = times[::-1]
            first = labels[times[0]]
            numbers = [i for i, n in enumerate(np.bincount(first.ravel())) if i > 0 and n >= _MIN_AREA_PX]
            if numbers:
                rng.shuffle(numbers)
                objects = [numbers[i % len(numbers)] for i in range(options.objects)]
                chosen.append((clip, [int(t) for t in times], objects))
        picks = [(clip, times[t]) for t in range(options.frames) for clip, times, _ in chosen]
        masks = np.stack(
            [
                np.stack(
                    [
                        self.cache.labels(clip)[times[t]][None] == np.array(ids)[:, None, None]
                        for clip, times, ids in chosen
                    ]
                )
                for t in range(options.frames)
            ]
        )
        return picks, masks

    def _features(self, picks: list[tuple[int, int]], options: EpisodeOptions) -> Features:
        taps = Taps(*(x.to(self.device) for x in self.cache.taps(picks)))
        if options.train_tail:
            taps = Taps(taps.s4, taps.s8, *self.network.backbone.late(taps.s8))
        out: Features = self.network.neck(taps)
        return out

    def _affinity_loss(
        self, rng: np.random.Generator, query: Tensor, keys: Tensor, values: Tensor, conditioning: Tensor, truth: Tensor
    ) -> Tensor:
        """Teaches keys and scalars on a sample of cells, most of them near an object."""
        g, k = truth.shape[:2]
        target = F.pixel_unshuffle(truth.flatten(0, 1)[:, None], 2).unflatten(0, (g, k)).flatten(3)  # (G, K, 4, cells)
        near = F.max_pool2d(truth.amax(1, keepdim=True), 10, 2, 4).flatten(1)[:, : target.shape[-1]]
        noise = torch.from_numpy(rng.random(near.shape, dtype=np.float32)).to(self.device)
        cells = torch.topk(noise + 0.6 * (near > 0), min(_SAMPLED_CELLS, near.shape[1]), dim=1).indices
        q = query.flatten(2).transpose(1, 2)
        q = q.gather(1, cells[..., None].expand(-1, -1, q.shape[-1]))
        p, p_cond, _, _ = self.network.affinity.read(q, cells, keys, values, conditioning)
        wanted = target.permute(0, 3, 1, 2).flatten(2)
        wanted = wanted.gather(1, cells[..., None].expand(-1, -1, wanted.shape[-1]))
        return prior_loss(p, wanted) + 0.3 * prior_loss(p_cond, wanted)

    def _correct(
        self,
        rng: np.random.Generator,
        share: float,
        chosen: Tensor,
        given: list[prompts.Points],
        masks: NDArray[np.bool_],
        features: Features,
        prior: Tensor | None,
        truth: Tensor,
        losses: list[Tensor],
    ) -> Tensor:
        """Lets a share of the units see a corrective click and their own logits; returns the logits to remember."""
        units = [int(i) for i in np.nonzero(rng.random(len(given)) < share)[0]]
        flat = masks.reshape(-1, *masks.shape[-2:])
        clicks: list[prompts.Points] = []
        kept = []
        for i in units:
            shown = F.interpolate(chosen[i][None, None], flat.shape[-2:], mode="bilinear", align_corners=False)[0, 0]
            click = prompts.correct(flat[i], (shown > 0).cpu().numpy(), rng) if flat[i].any() else []
            if click:
                kept.append(i)
                clicks.append([*given[i], *click])
        if not kept:
            return chosen
        points, labels = prompts.collate(clicks)
        out = self.network.decode_all(
            Features(*(x[kept] for x in features)),
            points.to(self.device),
            labels.to(self.device),
            None if prior is None else prior[kept],
            chosen[kept][:, None],
        )
        losses.append(decoder_loss(out, truth[kept]).sum() / len(given))
        chosen = chosen.clone()
        chosen[kept] = out.logits[:, 0].detach()
        return chosen


def _choose(out: Decoded, labels: Tensor) -> Tensor:
    """What the tracker would show (detached): best of three for at most one point, the single mask for more."""
    best = out.ious[:, 1:].argmax(1) + 1
    several = (labels >= 0).sum(1) > 1
    best = torch.where(several, 0, best)
    return out.logits.detach()[torch.arange(len(best), device=best.device), best]


def _mean_iou(logits: Tensor, truth: Tensor) -> float:
    return float(candidate_ious(logits[:, None], truth).mean())
