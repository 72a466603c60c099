"""One training step: prompt objects on a first frame, follow them through a few more, as the tracker would."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from keepsight.models.builtin.affinity import gate_prior, values_from_logits, with_flow
from keepsight.models.builtin.efficientnet import Taps
from keepsight.models.builtin.flow import warp_values
from keepsight.models.builtin.network import BuiltinNetwork, Decoded, Features
from keepsight.training import prompts
from keepsight.training.cache import ClipCache
from keepsight.training.losses import candidate_ious, decoder_loss, prior_loss
from keepsight.training.views import placement

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
        flow: share of steps with the flow channel; without it, p takes its place.
        gate: share of steps with the motion gate.
        first: weight of the first frame's loss.
    """

    clips: int = 4
    frames: int = 2
    objects: int = 3
    teach: float = 0.5
    corrected: float = 0.25
    tracked_corrections: float = 0.0
    train_tail: bool = False
    flow: float = 0.85
    gate: float = 0.5
    first: float = 2.0


class EpisodeTrainer:
    """Computes the loss of a step; everything drawn depends on (seed, step) alone."""

    def __init__(self, network: BuiltinNetwork, cache: ClipCache, seed: int, device: str = "cpu") -> None:
        self.network, self.cache, self.seed, self.device = network, cache, seed, device

    def __call__(self, step: int, options: EpisodeOptions) -> tuple[Tensor, dict[str, float]]:
        rng = np.random.default_rng([self.seed, step])
        g, k, frames = options.clips, options.objects, options.frames
        picks, masks, where = self._draw(rng, options)
        features = self._features(picks, options)  # frame-major: (T * G, ...)
        truth = torch.from_numpy(masks).to(self.device).float()
        truth = F.avg_pool2d(truth.flatten(0, 2)[:, None], 4)[:, 0].unflatten(0, (frames, g * k))  # (T, G*K, S/4, S/4)
        keys = features.keys.unflatten(0, (frames, g))
        figures: dict[str, float] = {}
        losses: list[Tensor] = []
        values: list[Tensor] = []
        second_conditioning = frames > 2 and rng.random() < 0.15
        gated, flowing = rng.random() < options.gate, rng.random() < options.flow
        for t in range(frames):
            mine = Features(*(x[t * g : (t + 1) * g].repeat_interleave(k, 0) for x in features))
            prior = None
            if t == 0:
                kinds = [prompts.KINDS[i] for i in rng.choice(5, g * k, p=[0.4, 0.27, 0.17, 0.05, 0.11])]
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
                at = torch.stack([where[t, i] for i in read], 1)
                with torch.no_grad():
                    prior = self.network.propagate(keys[t], m, v, conditioning, placement=at).flatten(0, 1)
                    figures["prior"] = _mean_iou(prior[:, 0] - 0.5, truth[t])
                    last = values[t - 1].unflatten(0, (g, k))
                    carried = warp_values(last, self._flows(picks, t, g), where[t, t - 1]).flatten(0, 1)
                    figures["flow"] = _mean_iou(carried - 0.5, truth[t])
                    prior = with_flow(prior, carried if flowing else None)
                    if gated:
                        newest = list(range(t - 1, max(0, t - 4), -1)) or [0]
                        seen = torch.stack([where[t, i] for i in newest], 1).repeat_interleave(k, 0)
                        prior = gate_prior(prior, torch.stack([values[i] for i in newest], 1), placement=seen)
                losses.append(
                    0.5 * self._affinity_loss(rng, keys[t], m, v, conditioning, truth[t].unflatten(0, (g, k)), at)
                )
            points, labels = prompts.collate(given)
            points, labels = points.to(self.device), labels.to(self.device)
            out = self.network.decode_all(mine, points, labels, prior, None)
            losses.append(decoder_loss(out, truth[t]).mean() * (options.first if t == 0 else 1.0))
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
                if not bool(present.all()):
                    figures["gone"] = float((out.object_scores[~present] <= 0).float().mean())
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
    ) -> tuple[list[tuple[int, int]], NDArray[np.bool_], Tensor]:
        """What a step sees.

        Returns:
            Frames as (clip, frame) pairs, frame-major; masks (T, G, K, S, S); placements (T, T, G, 4), [t, i] of the
            view of frame i in that of frame t.
        """
        chosen: list[tuple[int, list[int], list[int]]] = []
        while len(chosen) < options.clips:
            clip = int(rng.integers(len(self.cache)))
            labels = self.cache.labels(clip)
            times = int(rng.integers(len(labels) - options.frames + 1)) + np.arange(options.frames)
            if rng.random() < 0.5:
                times = times[::-1]
            first = labels[times[0]]
            numbers = [i for i, n in enumerate(np.bincount(first.ravel())) if i > 0 and n >= _MIN_AREA_PX]
            if numbers:
                rng.shuffle(numbers)
                principal = self.cache.principal(clip)
                numbers.sort(key=lambda n: n != principal)  # it is what views are made for
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
        where = torch.tensor(
            [
                [
                    [placement(self.cache.views(clip), times[i], times[t]) for clip, times, _ in chosen]
                    for i in range(options.frames)
                ]
                for t in range(options.frames)
            ],
            dtype=torch.float32,
        )
        return picks, masks, where.to(self.device)

    def _flows(self, picks: list[tuple[int, int]], t: int, groups: int) -> Tensor:
        """(G, S/4, S/4, 2) flow from frame t of the episode to the one before."""
        now, then = picks[t * groups : (t + 1) * groups], picks[(t - 1) * groups : t * groups]
        flows = [self.cache.flow(clip, b, b - a) for (clip, b), (_, a) in zip(now, then, strict=True)]
        return torch.from_numpy(np.stack(flows)).to(self.device)

    def _features(self, picks: list[tuple[int, int]], options: EpisodeOptions) -> Features:
        taps = Taps(*(x.to(self.device) for x in self.cache.taps(picks)))
        if options.train_tail:
            taps = Taps(taps.s4, taps.s8, *self.network.backbone.late(taps.s8))
        out: Features = self.network.neck(taps)
        return out

    def _affinity_loss(
        self,
        rng: np.random.Generator,
        query: Tensor,
        keys: Tensor,
        values: Tensor,
        conditioning: Tensor,
        truth: Tensor,
        where: Tensor,
    ) -> Tensor:
        """Teaches keys and scalars on a sample of cells, most of them near an object."""
        g, k = truth.shape[:2]
        target = F.pixel_unshuffle(truth.flatten(0, 1)[:, None], 2).unflatten(0, (g, k)).flatten(3)  # (G, K, 4, cells)
        near = F.max_pool2d(truth.amax(1, keepdim=True), 10, 2, 4).flatten(1)[:, : target.shape[-1]]
        noise = torch.from_numpy(rng.random(near.shape, dtype=np.float32)).to(self.device)
        cells = torch.topk(noise + 0.6 * (near > 0), min(_SAMPLED_CELLS, near.shape[1]), dim=1).indices
        q = query.flatten(2).transpose(1, 2)
        q = q.gather(1, cells[..., None].expand(-1, -1, q.shape[-1]))
        p, p_cond, _, _ = self.network.affinity.read(q, cells, keys, values, conditioning, placement=where)
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
            click = prompts.correct(flat[i], (shown > 0).cpu().numpy(), rng)
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
