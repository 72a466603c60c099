"""The masks of one frame, as they lie in a file: a picture of ids, or a picture an object."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from keepsight.core import InputError, Mask
from keepsight.core.geometry import BoolArray
from keepsight.formats.labels import voc_palette

VOID = 255
"""Value of pixels that nobody could say anything about, in pictures of 8 bits (PASCAL VOC, DAVIS)."""

Labels = NDArray[np.uint8] | NDArray[np.uint16]


class FrameMasks(ABC):
    """All objects of one frame.

    Attributes:
        shape: height and width in px.
        void: bool ``(H, W)``, pixels marked as void; ``None`` where there are none.
    """

    shape: tuple[int, int]
    void: BoolArray | None = None

    @property
    @abstractmethod
    def ids(self) -> frozenset[int]:
        """Objects that have a pixel here."""

    @abstractmethod
    def pixels(self, object_id: int) -> BoolArray:
        """An object's pixels, bool ``(H, W)``; all false where it is not here."""

    @abstractmethod
    def without(self, pixels: BoolArray) -> FrameMasks:
        """The same masks with some pixels, bool ``(H, W)``, taken out of all of them."""


class LabelMap(FrameMasks):
    """A picture of ids: every pixel belongs to one object, or to none.

    Args:
        labels: uint8 or uint16 ``(H, W)``; 0 is the background.
        void: value that is no object, ``None`` where there is none.
    """

    def __init__(self, labels: Labels, void: int | None = VOID) -> None:
        self.labels = labels
        self.shape = (int(labels.shape[0]), int(labels.shape[1]))
        self._void = void
        if void is not None and void in self._values:
            self.void = labels == void

    @cached_property
    def _values(self) -> frozenset[int]:
        deep = self.labels.dtype == np.uint16
        # Five times as fast as np.unique. It counts in float32, which is never 0 where there is something.
        counts = cv2.calcHist([self.labels], [0], None, [1 << 16 if deep else 1 << 8], [0, 1 << (16 if deep else 8)])
        return frozenset(np.flatnonzero(counts).tolist())

    @cached_property
    def ids(self) -> frozenset[int]:
        return self._values - {0, self._void}

    def pixels(self, object_id: int) -> BoolArray:
        return np.asarray(self.labels == object_id)

    def without(self, pixels: BoolArray) -> LabelMap:
        return LabelMap(self.labels * ~pixels, self._void)


class ObjectMaps(FrameMasks):
    """A mask an object; they may overlap."""

    def __init__(self, masks: Mapping[int, BoolArray | Mask], shape: tuple[int, int]) -> None:
        self._masks = masks
        self.shape = shape

    @cached_property
    def ids(self) -> frozenset[int]:
        return frozenset(number for number, mask in self._masks.items() if _is_any(mask))

    def pixels(self, object_id: int) -> BoolArray:
        mask = self._masks.get(object_id)
        if mask is None:
            return np.zeros(self.shape, bool)
        return mask.to_array() if isinstance(mask, Mask) else mask

    def without(self, pixels: BoolArray) -> ObjectMaps:
        return ObjectMaps({number: self.pixels(number) & ~pixels for number in self._masks}, self.shape)


def _is_any(mask: BoolArray | Mask) -> bool:
    return mask.area > 0 if isinstance(mask, Mask) else bool(mask.any())


def empty_masks(shape: tuple[int, int]) -> FrameMasks:
    """A frame of ``(height, width)`` on which there is nothing."""
    return ObjectMaps({}, shape)


def read_label_map(path: Path) -> LabelMap:
    """Reads a picture of ids.

    Palette and grey pictures of 8 or 16 bits hold ids; 255 is void in 8 bits. A picture of two values that is black and white
    holds one object, id 1. Colours are those of DAVIS' palette.

    Raises:
        InputError: no picture that can be read, lossy, or with colours that are no ids.
    """
    values, mode, palette = _read(path)
    if mode == "P" and palette[3 * VOID :] == voc_palette()[VOID].tolist():
        return LabelMap(values)
    if mode == "RGB":
        return LabelMap(_ids_of_colours(path, values))
    if values.dtype == bool:
        return LabelMap(values.astype(np.uint8), None)
    if values.dtype == np.uint8:
        found = LabelMap(values)
        # Black and white means one object; 255 beside objects, or in the colour of void, means void.
        return found if found.ids or found.void is None else LabelMap(found.void.astype(np.uint8), None)
    if values.min() < 0 or values.max() > np.iinfo(np.uint16).max:
        raise InputError(f"{path} holds values from {values.min()} to {values.max()}; ids are 0 to 65535.")
    return LabelMap(values.astype(np.uint16), None)


def read_object_map(path: Path) -> BoolArray:
    """Reads a picture of one object, bool ``(H, W)``; every value but 0 is the object.

    Raises:
        InputError: no picture that can be read, or it holds more than two values.
    """
    values, _, _ = _read(path)
    if values.ndim == 3:
        values = values.max(axis=2)
    pixels = values != 0
    if values.dtype != bool and pixels.any():
        inside = values[pixels]
        if (inside != inside[0]).any():
            raise InputError(f"{path} holds several objects, but a picture in an object's own folder holds one.")
    return np.asarray(pixels)


def _read(path: Path) -> tuple[NDArray[Any], str, list[int]]:
    try:
        with Image.open(path) as image:
            if image.format in ("JPEG", "WEBP"):
                raise InputError(f"Mask {path} is {image.format}, which changes pixel values; save it as PNG.")
            if image.mode in ("P", "L", "1") or image.mode.startswith("I"):
                return np.asarray(image), image.mode, image.getpalette("RGB") or []
            return np.asarray(image.convert("RGB")), "RGB", []
    except FileNotFoundError:
        raise InputError(f"Mask {path} does not exist.") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"Mask {path} cannot be read as a picture: {error}.") from error


def _ids_of_colours(path: Path, rgb: NDArray[Any]) -> NDArray[np.uint8]:
    weights = np.array([1 << 16, 1 << 8, 1], np.uint32)
    packed, known = rgb.astype(np.uint32) @ weights, voc_palette().astype(np.uint32) @ weights
    order = np.argsort(known)
    places = np.searchsorted(known, packed, sorter=order).clip(max=255)
    ids = order[places]
    if (known[ids] != packed).any():
        if (rgb[..., :1] == rgb).all() and set(np.unique(rgb)) <= {0, 255}:
            return (rgb[..., 0] > 0).astype(np.uint8)
        raise InputError(
            f"Mask {path} has colours that are not those of DAVIS' palette; save it as a palette PNG of ids."
        )
    return np.asarray(ids, np.uint8)
