"""A tracker without weights: what optical flow, colour and graph cuts can do, as the honest opponent of a learnt model.

A box becomes a mask by GrabCut; a mask is taken as it is. Then, in a window around the object that is scaled so that the
object has a workable size whatever its size in the frame: dense inverse search flow carries the mask on, colour
histograms say where it is to be doubted, and GrabCut votes with both in a narrow band along its outline. An object whose mask
vanishes, or whose place is taken by other colours, is gone; it is looked for near where it was last seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
Bool = NDArray[np.bool_]

_SMALL, _LARGE = 64.0, 170.0  # sides in px between which an object is worked on
_BINS = 16


@dataclass(frozen=True)
class Window:
    """A rectangle of the frame, in px, and the scale at which it is worked on.

    Attributes:
        x, y, width, height: inside the frame.
        scale: window px a frame px.
    """

    x: int
    y: int
    width: int
    height: int
    scale: float

    @classmethod
    def around(cls, box: tuple[float, float, float, float], pad: float, shape: tuple[int, ...]) -> Window:
        """The window around a box `(x1, y1, x2, y2)` with `pad` px on every side, within a frame of `shape`."""
        side = max(box[2] - box[0], box[3] - box[1], 1.0)
        x1, y1 = max(0, int(np.floor(box[0] - pad))), max(0, int(np.floor(box[1] - pad)))
        x2, y2 = min(shape[1], int(np.ceil(box[2] + pad))), min(shape[0], int(np.ceil(box[3] + pad)))
        scale = _LARGE / side if side > _LARGE else min(4.0, _SMALL / side) if side < _SMALL else 1.0
        return cls(x1, y1, max(x2 - x1, 8), max(y2 - y1, 8), scale)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in window px."""
        return max(16, round(self.width * self.scale)), max(16, round(self.height * self.scale))

    def cut(self, image: U8) -> U8:
        """The window of an image, in window px."""
        part = image[self.y : self.y + self.height, self.x : self.x + self.width]
        method = cv2.INTER_AREA if self.scale < 1 else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(part, self.size, interpolation=method), np.uint8)

    def cut_mask(self, mask: Bool) -> F32:
        """The window of a mask as shares in [0, 1]."""
        return self.cut(mask.astype(np.uint8) * 255).astype(np.float32) / np.float32(255)

    def paste(self, soft: F32, shape: tuple[int, ...]) -> Bool:
        """A mask of the frame's size from shares in the window, cut at one half."""
        out = np.zeros(shape[:2], bool)
        part = out[self.y : self.y + self.height, self.x : self.x + self.width]
        part[:] = cv2.resize(soft, (part.shape[1], part.shape[0]), interpolation=cv2.INTER_LINEAR) > 0.5
        return out


def box_of(mask: Bool) -> tuple[float, float, float, float] | None:
    """`(x1, y1, x2, y2)` of a mask, far edges exclusive; None for an empty one."""
    rows = np.flatnonzero(mask.any(1))
    if not rows.size:
        return None
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def box_to_mask(rgb: U8, box: tuple[float, float, float, float]) -> Bool:
    """GrabCut inside a box; an ellipse where that finds next to nothing.

    Args:
        rgb: (H, W, 3) uint8.
        box: (x1, y1, x2, y2) in px.

    Returns:
        (H, W) mask, all of it inside the box.
    """
    side = max(box[2] - box[0], box[3] - box[1])
    window = Window.around(box, 0.45 * side + 4, rgb.shape)
    image = cv2.cvtColor(window.cut(rgb), cv2.COLOR_RGB2BGR)
    width, height = window.size
    sx, sy = width / window.width, height / window.height
    x1, y1 = round((box[0] - window.x) * sx), round((box[1] - window.y) * sy)
    x2, y2 = round((box[2] - window.x) * sx), round((box[3] - window.y) * sy)
    x1, y1, x2, y2 = max(x1, 0), max(y1, 0), min(max(x2, x1 + 2), width), min(max(y2, y1 + 2), height)
    inside = np.zeros((height, width), bool)
    inside[y1:y2, x1:x2] = True
    labels = np.where(inside, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    middle, axes = ((x1 + x2) // 2, (y1 + y2) // 2), (max(1, (x2 - x1) // 2), max(1, (y2 - y1) // 2))
    found = np.zeros_like(inside)
    try:
        cv2.setRNGSeed(0)
        cv2.grabCut(image, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), 5, cv2.GC_INIT_WITH_MASK)
        found = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)) & inside
        found = _main_parts(found, 0.1)
    except cv2.error:
        pass  # no background in the window, say: the ellipse has to do
    if found.sum() < 0.12 * inside.sum():
        ellipse = np.zeros((height, width), np.uint8)
        cv2.ellipse(ellipse, middle, axes, 0, 0, 360, 1, -1)
        found = ellipse > 0
    return window.paste(found.astype(np.float32), rgb.shape)


class WeightFreeTracker:
    """Follows one object; `start`, then `step` for every frame.

    Args:
        flow: preset of the dense inverse search, `cv2.DISOPTICAL_FLOW_PRESET_*`.
        graph_cut: GrabCut has a vote in the band along the outline on every frame.
    """

    def __init__(self, flow: int = cv2.DISOPTICAL_FLOW_PRESET_MEDIUM, *, graph_cut: bool = True) -> None:
        self._flow = cv2.DISOpticalFlow.create(flow)
        self._graph_cut = graph_cut

    def start(self, rgb: U8, *, mask: Bool | None = None, box: tuple[float, float, float, float] | None = None) -> Bool:
        """Takes the first frame (H, W, 3) uint8 and a mask (H, W) or a box in px; returns the mask that it begins with.

        Raises:
            ValueError: neither a mask nor a box, or an empty mask.
        """
        if mask is None:
            if box is None:
                raise ValueError("give a mask or a box")
            mask = box_to_mask(rgb, box)
        mask = mask.astype(bool)
        found = box_of(mask)
        if found is None:
            raise ValueError("the mask is empty")
        self._box, self._last = found, rgb
        self._mask: Bool | None = mask
        self._motion = np.zeros(2)
        self._area = float(mask.sum())  # slow mean of the area, px²
        self._lost_for = 0
        window = self._window()
        image, soft = window.cut(rgb), window.cut_mask(mask)
        self._first = _histogram(image, soft > 0.5)
        self._object = self._first.copy()
        self._ground = _histogram(image, soft < 0.2)
        self._remember_look(rgb, mask)
        return mask

    def step(self, rgb: U8) -> Bool:
        """The mask (H, W) on the next frame; empty while the object is gone."""
        mask = self._follow(rgb) if self._mask is not None else self._look_for(rgb)
        self._last = rgb
        return np.zeros(rgb.shape[:2], bool) if mask is None else mask

    # -- following -------------------------------------------------------------------------------------------------------
    def _window(self) -> Window:
        """About twice the object's box, further where it is moving to."""
        x1, y1, x2, y2 = self._box
        side = max(x2 - x1, y2 - y1)
        move = self._motion
        box = (x1 + min(move[0], 0), y1 + min(move[1], 0), x2 + max(move[0], 0), y2 + max(move[1], 0))
        return Window.around(box, 0.5 * side + 16, self._last.shape)

    def _follow(self, rgb: U8) -> Bool | None:
        assert self._mask is not None
        window = self._window()
        before, now = window.cut(self._last), window.cut(rgb)
        soft = window.cut_mask(self._mask)
        carried, trust = self._carry(before, now, soft)
        likely = self._likelihood(now)
        found = self._cut(now, carried, likely, trust)
        mask = window.paste(found.astype(np.float32), rgb.shape)
        area, box = float(mask.sum()), box_of(mask)
        # A tenth of what it was, or other colours than its own: something stands in front of it, or it has left.
        alike = _similarity(_histogram(now, found), self._first, self._object) if found.any() else 0.0
        if box is None or area < max(6.0, 0.12 * self._area) or alike < 0.3:
            self._mask, self._lost_for = None, 0
            return None
        centre = np.array([box[0] + box[2], box[1] + box[3]]) / 2
        old = np.array([self._box[0] + self._box[2], self._box[1] + self._box[3]]) / 2
        self._motion = 0.5 * self._motion + 0.5 * (centre - old)
        self._mask, self._box = mask, box
        self._area = 0.95 * self._area + 0.05 * area
        sure = cv2.erode(found.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        if alike > 0.6:
            self._object = 0.96 * self._object + 0.04 * _histogram(now, sure if sure.any() else found)
            if area > 0.8 * self._area:
                self._remember_look(rgb, mask)
        self._ground = 0.8 * self._ground + 0.2 * _histogram(
            now, ~(cv2.dilate(found.astype(np.uint8), np.ones((5, 5))) > 0)
        )
        return mask

    def _carry(self, before: U8, now: U8, soft: F32) -> tuple[F32, F32]:
        """The mask before, carried by the flow, and where the flow there and back agrees; both (h, w) in [0, 1]."""
        a, b = cv2.cvtColor(before, cv2.COLOR_RGB2GRAY), cv2.cvtColor(now, cv2.COLOR_RGB2GRAY)
        back = self._flow.calc(b, a, None)
        there = self._flow.calc(a, b, None)
        h, w = a.shape
        xs, ys = np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32))
        map_x, map_y = xs + back[..., 0], ys + back[..., 1]
        carried = cv2.remap(soft, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        returned = cv2.remap(there, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        error = np.linalg.norm(back + returned, axis=2)
        trust = 1 / (1 + (error / 2.5) ** 2)
        return np.asarray(carried, np.float32), trust.astype(np.float32)

    def _likelihood(self, image: U8) -> F32:
        """(h, w) share of the object's colours against the ground's, in [0, 1]."""
        index = _bins(image)
        own = 0.5 * (self._first[index] + self._object[index])
        return np.asarray(cv2.GaussianBlur(own / (own + self._ground[index] + 1e-6), (0, 0), 1.0), np.float32)

    def _cut(self, image: U8, carried: F32, likely: F32, trust: F32) -> Bool:
        """Flow, colour and GrabCut vote in a band along the carried mask's outline; (h, w)."""
        inside = carried > 0.5
        if inside.sum() < 12:
            return inside
        band = float(np.clip(0.09 * np.sqrt(inside.sum()), 2.0, 9.0))
        depth = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 3)
        height = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 3)
        signed = np.where(inside, depth, -height) / band
        # What the flow says counts for less where it does not agree with itself.
        belief = signed * (0.35 + 0.65 * trust) + 3.5 * (likely - 0.5)
        labels = np.where(belief > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
        labels[(signed > 1.2) & ((trust > 0.3) | (likely > 0.3)) & (likely > 0.08)] = cv2.GC_FGD
        labels[(signed < -1.2) | (likely < 0.02) & (signed < 0.5)] = cv2.GC_BGD
        front = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
        if not self._graph_cut or front.sum() < 12 or (~front).sum() < 12:
            return front
        try:
            cv2.setRNGSeed(0)
            bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
            cv2.grabCut(bgr, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), 1, cv2.GC_INIT_WITH_MASK)
            cut = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
        except cv2.error:
            return _main_parts(front, 0.12)
        # A vote: alone, GrabCut eats into objects that look like their ground, and without it outlines creep outward.
        found = (belief + np.where(cut, 1.0, -1.0) > 0) & (signed > -1.6)
        return _main_parts(found, 0.12)

    # -- finding again ---------------------------------------------------------------------------------------------------
    def _remember_look(self, rgb: U8, mask: Bool) -> None:
        box = box_of(mask)
        assert box is not None
        window = Window.around(box, 0, rgb.shape)
        self._look, self._look_window, self._look_mask = window.cut(rgb), window, window.cut_mask(mask)

    def _look_for(self, rgb: U8) -> Bool | None:
        """Searches for the last good look of the object around where it was seen last, wider as time goes on."""
        self._lost_for += 1
        look = self._look_window
        reach = (0.6 + 0.12 * min(self._lost_for, 20)) * max(look.width, look.height) + 24
        area = (look.x, look.y, look.x + look.width, look.y + look.height)
        window = Window.around(area, reach, rgb.shape)
        factor = min(1.0, 64 / max(look.size))
        scale = look.scale * factor
        part = rgb[window.y : window.y + window.height, window.x : window.x + window.width]
        size = (max(8, round(part.shape[1] * scale)), max(8, round(part.shape[0] * scale)))
        field = cv2.resize(part, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        patch_size = (max(5, round(look.width * scale)), max(5, round(look.height * scale)))
        patch = cv2.resize(self._look, patch_size, interpolation=cv2.INTER_AREA)
        weight = cv2.resize(self._look_mask, patch_size, interpolation=cv2.INTER_AREA)
        if field.shape[0] <= patch.shape[0] or field.shape[1] <= patch.shape[1]:
            return None
        score = cv2.matchTemplate(field, patch, cv2.TM_CCOEFF_NORMED, mask=np.repeat(weight[..., None], 3, 2))
        score[~np.isfinite(score)] = -1
        _, best, _, at = cv2.minMaxLoc(score)
        if best < 0.72:
            return None
        x, y = window.x + at[0] / scale, window.y + at[1] / scale
        shift = np.array([[1, 0, x - look.x], [0, 1, y - look.y]], np.float32)
        placed = look.paste(self._look_mask, rgb.shape).astype(np.uint8)
        moved = cv2.warpAffine(placed, shift, (rgb.shape[1], rgb.shape[0]), flags=cv2.INTER_NEAREST) > 0
        box = box_of(moved)
        if box is None:
            return None
        view = Window.around(box, 0.5 * max(box[2] - box[0], box[3] - box[1]) + 8, rgb.shape)
        image, soft = view.cut(rgb), view.cut_mask(moved)
        found = self._cut(image, soft, self._likelihood(image), np.ones_like(soft))
        if not found.any() or _similarity(_histogram(image, found), self._first, self._object) < 0.5:
            return None
        mask = view.paste(found.astype(np.float32), rgb.shape)
        box = box_of(mask)
        if box is None or mask.sum() < 0.3 * self._area:
            return None
        self._mask, self._box, self._motion = mask, box, np.zeros(2)
        return mask


def _bins(image: U8) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.intp) * _BINS // 256
    return lab[..., 0], lab[..., 1], lab[..., 2]


def _histogram(image: U8, mask: Bool) -> F32:
    """Smoothed colour histogram (16, 16, 16) of the masked pixels; sums to 1, or is flat where there are none."""
    a, b, c = _bins(image)
    flat = ((a * _BINS + b) * _BINS + c)[mask]
    counts = np.bincount(flat, minlength=_BINS**3).reshape((_BINS,) * 3).astype(np.float32)
    for axis in range(3):  # neighbouring colours are likely, too
        moved = np.moveaxis(counts, axis, 0)
        spread = 0.6 * moved
        spread[1:] += 0.2 * moved[:-1]
        spread[:-1] += 0.2 * moved[1:]
        counts = np.moveaxis(spread, 0, axis)
    total = float(counts.sum())
    return counts / total if total else np.full_like(counts, 1 / counts.size)


def _similarity(found: F32, *known: F32) -> float:
    """Largest Bhattacharyya coefficient, in [0, 1], between a histogram and the known ones."""
    return max(float(np.sqrt(found * one).sum()) for one in known)


def _main_parts(mask: Bool, share: float) -> Bool:
    """Without the pieces smaller than `share` of the largest one."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if count <= 2:
        return mask
    areas = stats[1:, cv2.CC_STAT_AREA]
    keep = np.concatenate(([False], areas >= share * areas.max()))
    return np.asarray(keep[labels])
