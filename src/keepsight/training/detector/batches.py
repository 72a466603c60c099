"""What every step shows: pictures, the phrases that are asked of them, and what is true of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from keepsight.training.detector.album import Album, Instance, Picture
from keepsight.training.detector.matching import Targets
from keepsight.training.detector.settings import DetectorSettings


@dataclass(frozen=True)
class Question:
    """A picture of a batch and what is asked of it.

    Attributes:
        picture: index in the album.
        flipped: whether it is shown mirrored.
        phrases: those that are on it first.
    """

    picture: int
    flipped: bool
    phrases: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Batch:
    """Questions, and a row of targets for every phrase of each, in order.

    Attributes:
        rgb: uint8 ``(H, W, 3)`` of each picture, upright and not mirrored; ``None`` where its features are at hand.
    """

    questions: tuple[Question, ...]
    rgb: tuple[NDArray[np.uint8] | None, ...]
    targets: Targets


def draw(album: Album, settings: DetectorSettings, number: int) -> tuple[Question, ...]:
    """The questions of batch ``number``, from the seed and the number alone.

    Every picture comes once in a round, in an order of its own.
    """
    count = len(album.pictures)
    questions = []
    for place in range(number * settings.batch, (number + 1) * settings.batch):
        index = int(_order(settings.seed, place // count, count)[place % count])
        rng = np.random.default_rng([settings.seed, place, 1])
        flipped = bool(settings.flip and rng.random() < 0.5)
        questions.append(Question(index, flipped, _phrases(album.pictures[index], settings, rng)))
    return tuple(questions)


def fullest(album: Album, settings: DetectorSettings) -> tuple[Question, ...]:
    """A batch of the pictures with the most objects."""
    order = sorted(range(len(album.pictures)), key=lambda index: -len(album.pictures[index].objects))
    return tuple(
        Question(index, False, _phrases(album.pictures[index], settings, np.random.default_rng(settings.seed)))
        for index in order[: settings.batch]
    )


@lru_cache(maxsize=2)
def _order(seed: int, turn: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, turn]).permutation(count)


def _phrases(picture: Picture, settings: DetectorSettings, rng: np.random.Generator) -> tuple[str, ...]:
    """Some that are there and then some that are not, in the share that is wanted as far as there are such."""
    there, absent = picture.present, picture.absent
    room, share = settings.phrases, settings.negatives
    without = min(len(absent), round(room * share)) if there else min(len(absent), room)
    with_object = min(len(there), max(1, room - without))
    if there:
        # A picture with one phrase is not drowned in phrases that it has not.
        without = min(without, room - with_object, max(1, round(with_object * share / (1 - share))))
    chosen = [there[place] for place in sorted(rng.permutation(len(there))[:with_object])]
    return (*chosen, *(absent[place] for place in sorted(rng.permutation(len(absent))[:without])))


def targets_of(asked: Sequence[tuple[Picture, bool, Sequence[str]]], cells: int) -> Targets:
    """Truth about every phrase of every picture, ``cells`` a side for masks; the flag says whether it is mirrored."""
    rows = [(picture, flipped, picture.of(phrase)) for picture, flipped, phrases in asked for phrase in phrases]
    most = max((len(found) for _, _, found in rows), default=0)
    boxes = np.zeros((len(rows), most, 4), np.float32)
    there = np.zeros((len(rows), most), bool)
    masks = np.zeros((len(rows), most, cells, cells), np.float32)
    masked = np.zeros((len(rows), most), bool)
    for row, (picture, flipped, found) in enumerate(rows):
        if not found:
            continue
        x1, y1, x2, y2 = np.array([item.box for item in found], np.float32).T
        if flipped:
            x1, x2 = picture.width - x2, picture.width - x1
        size = np.array([picture.width, picture.height] * 2, np.float32)
        boxes[row, : len(found)] = np.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], 1) / size
        there[row, : len(found)] = True
        for place, item in enumerate(found):
            if item.mask is not None:
                masks[row, place] = _cells(item, cells)[:, :: -1 if flipped else 1]
                masked[row, place] = True
    return Targets(*map(torch.from_numpy, (boxes, there, masks, masked)))


def _cells(item: Instance, cells: int) -> NDArray[np.float32]:
    """Share of each cell of a grid over the picture that the object covers."""
    assert item.mask is not None
    pixels = item.mask.to_array().astype(np.float32)
    return np.asarray(cv2.resize(pixels, (cells, cells), interpolation=cv2.INTER_AREA), np.float32)


class Feeder:
    """Makes batches by number, the next one while a step is taken.

    Args:
        cells: side of masks.
        needs_pixels: says of a picture (index, mirrored) whether its features are still to be made.
        stride: from a number to the next one that will be asked for.
    """

    def __init__(
        self,
        album: Album,
        settings: DetectorSettings,
        cells: int,
        needs_pixels: Callable[[int, bool], bool],
        stride: int = 1,
    ) -> None:
        self._album, self._settings, self._cells, self._needs_pixels = album, settings, cells, needs_pixels
        self._stride = stride
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="pictures")
        self._next: tuple[int, Future[Batch]] | None = None

    def __call__(self, number: int) -> Batch:
        """Raises :class:`~keepsight.core.InputError` where a picture cannot be read."""
        ready, self._next = self._next, None
        # One thread alone reads pictures: videos are no good to two.
        future = ready[1] if ready is not None and ready[0] == number else self._beside.submit(self._make, number)
        batch = future.result()
        following = number + self._stride
        self._next = (following, self._beside.submit(self._make, following))
        return batch

    def _make(self, number: int) -> Batch:
        questions = draw(self._album, self._settings, number)
        shown = [self._album.pictures[question.picture] for question in questions]
        rgb = tuple(
            picture.pixels.read() if self._needs_pixels(question.picture, question.flipped) else None
            for picture, question in zip(shown, questions, strict=True)
        )
        asked = [(picture, q.flipped, q.phrases) for picture, q in zip(shown, questions, strict=True)]
        return Batch(questions, rgb, targets_of(asked, self._cells))

    def close(self) -> None:
        """Lets the thread go."""
        self._beside.shutdown(cancel_futures=True)
