"""Affinity memory: masks of remembered frames travel to the current one along feature similarity.

Every cell of the current frame looks at all cells of the remembered frames and takes over their mask, weighted by a
softmax over cosine similarity less a penalty on distance (label propagation as in DINO and STC, with five learned
scalars). Which frames are remembered is decided elsewhere. The weights do not depend on the object, so objects that
read the same frames share them.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

READ_CHANNELS = 5
"""p, logit(p) / 4, p from conditioning frames, p from recent frames, share of the attention on conditioning frames."""

PRIOR_CHANNELS = 6
"""What was read, and the last mask carried along by optical flow (`with_flow`; where there is none, p once more)."""

Spread: TypeAlias = Callable[[Callable[[Any], Any], Iterable[Any]], list[Any]]
"""Does one thing to many items, like `map`."""

_NEG = -1e4
_TINY = 1e-30
_ROWS = 256


@dataclass(frozen=True, eq=False)
class Reader:
    """K objects that read the same remembered frames in the same way.

    Attributes:
        frames: which of the frames on offer, F of them.
        scales: factor on the similarity of each.
        values: (K, F, 4, h, w) from `values_from_logits`.
    """

    frames: Sequence[int]
    scales: Sequence[float]
    values: Tensor


def serial(work: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """One after the other."""
    return [work(item) for item in items]


def values_from_logits(logits: Tensor, object_scores: Tensor | None = None, cells: int = 64) -> Tensor:
    """Memory value of a mask: 2x2 sub-cells of each stride-8 cell, empty for an absent object.

    Args:
        logits: (B, h, w) mask logits, h and w a multiple of `cells`; finer ones are averaged as probabilities.
        object_scores: (B,) presence logits; <= 0 empties the value. None: all present.
        cells: S/4, side of the stride-4 grid.

    Returns:
        (B, 4, S/8, S/8) in [0, 1].
    """
    p = torch.sigmoid(logits)
    if p.shape[-1] != cells:
        p = F.avg_pool2d(p[:, None], p.shape[-1] // cells)[:, 0]
    if object_scores is not None:
        p = p * (object_scores > 0).to(p.dtype)[:, None, None]
    return F.pixel_unshuffle(p[:, None], 2)


def with_flow(prior: Tensor, warped: Tensor | None = None) -> Tensor:
    """Prior (..., 5, H, W) with the flow channel (..., H, W) from `flow.warp_previous` added; None: p takes its place."""
    last = prior[..., 0, :, :] if warped is None else warped.to(prior.dtype)
    return torch.cat((prior, last.unsqueeze(-3)), -3)


class AffinityMemory(nn.Module):
    """Softmax label propagation with a class of conditioning frames and a class of recent frames."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(28.0)))
        # (conditioning, recent): a recent mask has moved little, a conditioning mask may be anywhere.
        self.locality = nn.Parameter(torch.tensor([2.0, 20.0]))
        self.bias = nn.Parameter(torch.tensor([0.0, 0.0]))

    def forward(
        self,
        query: Tensor,
        keys: Tensor,
        values: Tensor,
        conditioning: Tensor,
        token_keep: Tensor | None = None,
        key_scale: Tensor | None = None,
        placement: Tensor | None = None,
        spread: Spread = serial,
    ) -> Tensor:
        """Propagates masks of K objects that read the same F frames, for G independent groups.

        Args:
            query: (G, C, h, w) unit-length keys of the current frame.
            keys: (G, F, C, h, w) unit-length keys of the remembered frames.
            values: (G, K, F, 4, h, w) from `values_from_logits`.
            conditioning: (F,) bool, whether a frame is a conditioning frame (else recent).
            token_keep: (G, F, h, w) bool, cells that may be read.
            key_scale: (G, F) factor on the similarity of a frame.
            placement: (G, F, 4) scale_x, scale_y, shift_x, shift_y from places in [0, 1] of the view that a frame was
                remembered through to places in [0, 1] of the current view; None: all views are the same.
            spread: runs pieces of work that know nothing of each other.

        Returns:
            (G, K, 5, 2h, 2w) prior, channels as in `READ_CHANNELS`.
        """
        g, _, h, w = query.shape
        objects = values.shape[1]
        q = query.flatten(2).transpose(1, 2)
        read = self.read(q, None, keys, values, conditioning, token_keep, key_scale, placement, spread)
        return self._prior(read, g, h, w, objects)

    @staticmethod
    def _prior(read: Sequence[Tensor], groups: int, h: int, w: int, objects: int) -> Tensor:
        """(G, K, 5, 2h, 2w) of what was read at all cells, (G, h * w, K * 4) each."""
        p, p_cond, p_recent, share = (
            F.pixel_shuffle(x.reshape(groups, h, w, objects, 4).permute(0, 3, 4, 1, 2), 2)[:, :, 0] for x in read
        )
        clipped = p.clamp(1e-3, 1 - 1e-3)
        return torch.stack((p, torch.log(clipped / (1 - clipped)) / 4, p_cond, p_recent, share), 2)

    def forward_together(
        self,
        query: Tensor,
        keys: Tensor,
        conditioning: Tensor,
        readers: Sequence[Reader],
        token_keep: Tensor | None = None,
        placement: Tensor | None = None,
        spread: Spread = serial,
    ) -> list[Tensor]:
        """`forward` for readers of one view that have frames in common: every frame is compared with the view once.

        Args:
            query: (C, h, w) unit-length keys of the view.
            keys: (U, C, h, w) of all frames that somebody reads.
            conditioning: (U,) bool.
            readers: who reads which of them.
            token_keep: (U, h, w) bool, placement: (U, 4), as in `forward`.
            spread: runs pieces of work that know nothing of each other.

        Returns:
            (K, 5, 2h, 2w) for each reader; what `forward` gives it alone, up to rounding.
        """
        _, c, h, w = keys.shape
        # How many frames a class has differs from reader to reader; it is taken off at the end.
        place, remembered = self._places(h, w, query, conditioning, counted=False)
        if placement is not None:
            remembered = self._moved(h, w, placement[None], conditioning, counted=False)[0]
        places = remembered.unflatten(1, (len(keys), h * w)).transpose(0, 1)
        if token_keep is not None:
            hidden = (~token_keep).to(places.dtype).flatten(1)[:, None] * _NEG
            places = torch.cat((places[:, :-1], places[:, -1:] + hidden), 1)
        likeness = torch.cat((keys.flatten(2), places), 1)
        rows = torch.cat((query.flatten(1).T * self.log_scale.exp(), place), 1)
        taken: list[dict[float, list[tuple[int, Tensor]]]] = [{} for _ in keys]
        for number, reader in enumerate(readers):
            for i, (frame, scale) in enumerate(zip(reader.frames, reader.scales, strict=True)):
                values = reader.values[:, i].flatten(2).flatten(0, 1)
                values = torch.cat((values, torch.ones_like(values[:1])))
                taken[frame].setdefault(scale, []).append((number, values))

        def block(part: Tensor) -> list[list[Tensor | None]]:
            sums: list[list[Tensor | None]] = [[None, None] for _ in readers]
            for frame, by_scale in enumerate(taken):
                key, kind = likeness[frame], int(not conditioning[frame])
                alike = key[:c].T @ part[:, :c].T if len(by_scale) > 1 else None
                for scale, members in by_scale.items():
                    if alike is None:
                        weight = torch.cat((key[:c] * scale, key[c:])).T @ part.T
                    else:
                        weight = torch.add(key[c:].T @ part[:, c:].T, alike, alpha=scale)
                    found = torch.cat([values for _, values in members]) @ weight.exp_()
                    pieces = found.split([len(values) for _, values in members])
                    for (number, _), piece in zip(members, pieces, strict=True):
                        before = sums[number][kind]
                        sums[number][kind] = piece if before is None else before + piece
            return sums

        blocks = spread(block, rows.split(_ROWS))
        priors = []
        for number, reader in enumerate(readers):
            read = [self._all_cells([sums[number][kind] for sums in blocks]) for kind in (0, 1)]
            kinds = [int(not conditioning[frame]) for frame in reader.frames]
            cond, recent = (None if x is None else x / kinds.count(kind) for kind, x in enumerate(read))
            shown = self._shares(cond, recent)
            priors.append(self._prior([x.T[None] for x in shown], 1, h, w, len(reader.values))[0])
        return priors

    @staticmethod
    def _all_cells(parts: Sequence[Tensor | None]) -> Tensor | None:
        """Blocks of cells side by side; None for a class that was not read."""
        there = [part for part in parts if part is not None]
        return torch.cat(there, 1) if there else None

    @staticmethod
    def _shares(cond: Tensor | None, recent: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What `read` returns, (K * 4, n) each, from weighted sums (K * 4 + 1, n) of the classes, the weights' own last."""
        both = [x for x in (cond, recent) if x is not None]
        summed = both[0] if len(both) == 1 else both[0] + both[1]
        total = summed[-1:].clamp(min=_TINY)
        p = summed[:-1] / total
        p_cond, p_recent = (p if x is None else x[:-1] / x[-1:].clamp(min=_TINY) for x in (cond, recent))
        share = torch.zeros_like(total) if cond is None else cond[-1:] / total
        return p, p_cond, p_recent, share.expand_as(p)

    def read(
        self,
        query: Tensor,
        cells: Tensor | None,
        keys: Tensor,
        values: Tensor,
        conditioning: Tensor,
        token_keep: Tensor | None = None,
        key_scale: Tensor | None = None,
        placement: Tensor | None = None,
        spread: Spread = serial,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Propagated masks at some cells of the current frame; arguments as in `forward` but for these.

        Args:
            query: (G, n, C) keys of the cells.
            cells: (G, n) index of the cells in the h*w grid, None for all in order. Training reads a sample of cells,
                because the backward pass through a full affinity matrix costs more than the rest of the network.

        Returns:
            p, p from conditioning frames, p from recent frames, share of conditioning frames, each (G, n, K * 4). A
            class without frames repeats the other one.
        """
        g, frames, _, h, w = keys.shape
        if frames == 0:
            raise ValueError("the affinity memory was asked to read no frame at all")
        order = torch.argsort((~conditioning).to(torch.int8), stable=True)
        frames_in_order = order.tolist()
        n_cond = int(conditioning.sum())
        cut = n_cond * h * w
        place, remembered = self._places(h, w, query, conditioning[order])
        moved = None if placement is None else self._moved(h, w, placement[:, order], conditioning[order])

        def prepare(i: int) -> tuple[Tensor, Tensor, Tensor]:
            each = [keys[i, frame].flatten(1) for frame in frames_in_order]
            if key_scale is not None:
                each = [k * key_scale[i, frame] for k, frame in zip(each, frames_in_order, strict=True)]
            extra = remembered if moved is None else moved[i]
            if token_keep is not None:
                hidden = (~token_keep[i, order]).to(extra.dtype).flatten() * _NEG
                extra = torch.cat((extra[:-1], extra[-1:] + hidden))
            k = torch.cat((torch.cat(each, 1), extra))
            q = torch.cat((query[i] * self.log_scale.exp(), place if cells is None else place[cells[i]]), 1)
            v = values[i, :, order].permute(0, 2, 1, 3, 4).reshape(-1, frames * h * w)
            return k, q, torch.cat((v, torch.ones_like(v[:1])))

        def block(part: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            # Keys by queries: the products with the few rows of v are several times faster this way round. No maximum is
            # taken off: |logits| stay below 88 for any sensible scale.
            k, rows, v = part
            weight = _product(k.T, rows.T).exp_()
            return v[:, :cut] @ weight[:cut], v[:, cut:] @ weight[cut:]

        # A block of the affinity matrix still fits the processor's cache.
        parts = [(k, rows, v) for k, q, v in spread(prepare, range(g)) for rows in q.split(_ROWS)]
        blocks = spread(block, parts)
        each = len(blocks) // g
        outputs = [
            (torch.cat([x for x, _ in blocks[i : i + each]], 1), torch.cat([y for _, y in blocks[i : i + each]], 1))
            for i in range(0, len(blocks), each)
        ]
        cond = torch.stack([a for a, _ in outputs]).transpose(1, 2)
        recent = torch.stack([b for _, b in outputs]).transpose(1, 2)
        share, rest = cond[..., -1:], recent[..., -1:]
        total = (share + rest).clamp(min=_TINY)
        p = (cond[..., :-1] + recent[..., :-1]) / total
        p_cond = cond[..., :-1] / share.clamp(min=_TINY) if n_cond else p
        p_recent = recent[..., :-1] / rest.clamp(min=_TINY) if n_cond < frames else p
        share = share / total
        return p, p_cond, p_recent, share.expand_as(p)

    def _places(
        self, h: int, w: int, like: Tensor, conditioning: Tensor, counted: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Four more channels of query and keys whose product is all that does not depend on features.

        -loc |a - b|^2 + bias - log n = -loc |a|^2 + 2 loc a.b + (bias - log n - loc |b|^2), for places a, b in units of
        the image side. The number of frames n of a class is taken off, so that its share does not grow with its frames; unless
        it is not `counted`.

        Returns:
            (h*w, 4) for queries, (4, frames*h*w) for keys.
        """
        x, y = _grid(h, w, like)
        square, one = x * x + y * y, torch.ones_like(x)
        keys = [self._remembered(x, y, *self._kind(conditioning, i, counted)) for i in range(len(conditioning))]
        return torch.stack((x, y, square, one), 1), torch.cat(keys, 1)

    def _moved(self, h: int, w: int, placement: Tensor, conditioning: Tensor, counted: bool = True) -> list[Tensor]:
        """The keys' places of `_places` for frames seen through other views: (4, frames*h*w) for each group."""
        x, y = _grid(h, w, placement)
        sx, sy, dx, dy = placement[..., None].unbind(2)
        # From cell centres in [0, 1] to centres in the current view, and back to where `_grid` measures from.
        px = sx * (x + 0.5 + 0.5 / w) + dx - 0.5 - 0.5 / w
        py = sy * (y + 0.5 + 0.5 / h) + dy - 0.5 - 0.5 / h
        kinds = [self._kind(conditioning, i, counted) for i in range(len(conditioning))]
        loc, base = (torch.stack(each)[:, None] for each in zip(*kinds, strict=True))
        places = self._remembered(px, py, loc, base)
        return list(places.permute(1, 0, 2, 3).flatten(2))

    def _kind(self, conditioning: Tensor, frame: int, counted: bool) -> tuple[Tensor, Tensor]:
        """Locality and bias of a frame, less log n of its class."""
        kind = 0 if bool(conditioning[frame]) else 1
        count = int((conditioning == conditioning[frame]).sum()) if counted else 1
        return self.locality[kind], self.bias[kind] - math.log(count)

    @staticmethod
    def _remembered(x: Tensor, y: Tensor, loc: Tensor, base: Tensor) -> Tensor:
        return torch.stack((2 * loc * x, 2 * loc * y, -loc * torch.ones_like(x), base - loc * (x * x + y * y)))


_scratch = threading.local()


def _product(a: Tensor, b: Tensor) -> Tensor:
    """The matrix product; in inference mode in memory that the thread's next call takes again.

    A fresh block of the affinity matrix is 4 MB that the system must clear page by page, which costs half as much as filling it.
    """
    if not torch.is_inference_mode_enabled():
        return a @ b
    held: Tensor | None = getattr(_scratch, "held", None)
    if held is None or held.shape != (len(a), b.shape[1]) or held.dtype != a.dtype or held.device != a.device:
        held = _scratch.held = a.new_empty(len(a), b.shape[1])
    return torch.mm(a, b, out=held)


def _grid(h: int, w: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """x and y (h*w,) of the cells from the middle of the image, in units of its side."""
    y = (torch.arange(h, device=like.device, dtype=like.dtype) / h - 0.5)[:, None].expand(h, w)
    x = (torch.arange(w, device=like.device, dtype=like.dtype) / w - 0.5)[None].expand(h, w)
    return x.flatten(), y.flatten()


def gate_prior(
    prior: Tensor,
    values: Tensor,
    margin: float = 0.06,
    sharpness: float = 60.0,
    placement: Tensor | None = None,
) -> Tensor:
    """Motion gate: takes away what lies further from the last mask than its last motion allows.

    A look-alike that enters elsewhere otherwise gains attention because it is as similar as the object itself. The gate
    is a soft box around the newest mask, widened by `margin`, by half the size of the mask and by one and a half times
    the motion since the mask before. An object that was absent last may come back anywhere: nothing is gated.

    Args:
        prior: (B, 5, H, W) from `AffinityMemory`, or (B, 6, H, W) with the flow channel.
        values: (B, n, 4, h, w) memory values of the last n frames, newest first.
        margin: slack in units of the image side.
        sharpness: steepness of the edge; up makes the gate harder.
        placement: (B, n, 4) of the views of these frames in the current view, as in `AffinityMemory.forward`.

    Returns:
        Gated prior of the same shape; the share of attention (channel 4) is untouched.
    """
    n = values.shape[1]
    if n == 0:
        return prior
    cell = values.mean(2)
    low_x, high_x = _extent(cell.amax(2))
    low_y, high_y = _extent(cell.amax(3))
    present = high_x > low_x
    if placement is not None:
        sx, sy, dx, dy = placement.unbind(-1)
        low_x, high_x, low_y, high_y = sx * low_x + dx, sx * high_x + dx, sy * low_y + dy, sy * high_y + dy
    # The newest of the older masks that shows the object tells how fast it goes.
    order = torch.arange(n, device=values.device)
    older = torch.where(present & (order > 0), order, n).amin(1)
    moving = older < n
    older = older.clamp(max=n - 1)

    def span(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        centre = (low + high) / 2
        step = (centre[:, 0] - centre.gather(1, older[:, None])[:, 0]).abs() / older.clamp(min=1)
        slack = margin + 0.5 * (high[:, 0] - low[:, 0]) + 1.5 * torch.where(moving, step, 0.0)
        return low[:, 0] - slack, high[:, 0] + slack

    def soft(size: int, bounds: tuple[Tensor, Tensor]) -> Tensor:
        t = (torch.arange(size, device=prior.device, dtype=prior.dtype) + 0.5) / size
        return torch.sigmoid(sharpness * torch.minimum(t - bounds[0][:, None], bounds[1][:, None] - t) + 4.0)

    across = soft(prior.shape[-1], span(low_x, high_x))
    down = soft(prior.shape[-2], span(low_y, high_y))
    gate = torch.where(present[:, :1, None], down[:, :, None] * across[:, None, :], 1.0)[:, None]
    p = prior[:, :1] * gate
    clipped = p.clamp(1e-3, 1 - 1e-3)
    logit = torch.log(clipped / (1 - clipped)) / 4
    return torch.cat((p, logit, prior[:, 2:4] * gate, prior[:, 4:5], prior[:, 5:] * gate), 1)


def _extent(profile: Tensor) -> tuple[Tensor, Tensor]:
    """First and last place where a profile (..., size) is on, in units of the side; low > high where it never is."""
    size = profile.shape[-1]
    at = torch.arange(size, device=profile.device, dtype=profile.dtype) / size
    on = profile > 0.5
    return torch.where(on, at, 2.0).amin(-1), torch.where(on, at + 1 / size, -1.0).amax(-1)
