"""A step of the detector: pictures through the encoder, phrases through the head, losses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from keepsight.models.sam3.vision import vision_of
from keepsight.training.detector.album import Album
from keepsight.training.detector.batches import Batch, Feeder, fullest, targets_of
from keepsight.training.detector.features import Looker
from keepsight.training.detector.heads import Head
from keepsight.training.detector.losses import detector_loss
from keepsight.training.detector.settings import DetectorSettings
from keepsight.training.detector.trainee import Trainee
from keepsight.training.detector.words import Words


class DetectorLearner:
    """What the trainer asks of the detector.

    Args:
        looker, words: give features of pictures and phrases.
        names: under which the features of the album's pictures are kept.
        stride: processes that train together; each takes every so-many-th batch.

    Attributes:
        notes: what a run that goes on must know: how far batches were made smaller.
    """

    def __init__(
        self, trainee: Trainee, looker: Looker, words: Words, album: Album, names: Sequence[str], stride: int = 1
    ) -> None:
        self.trainee, self.looker, self.words, self.album, self.names = trainee, looker, words, album, names
        self.stride = stride
        self.notes: dict[str, Any] = {}
        self._feeder: tuple[DetectorSettings, Feeder] | None = None
        trainee.train()

    @property
    def settings(self) -> DetectorSettings:
        """The settings as they are now, after batches were made smaller."""
        return replace(self.trainee.settings, **self.notes) if self.notes else self.trainee.settings

    @property
    def cells(self) -> int:
        """Side of a mask in cells."""
        vision = self.looker.eyes.detector.config.vision_config
        grid = self.looker.eyes.image_size // int(vision.backbone_config.patch_size)
        return int(grid * vision.scale_factors[0])

    def step(self, number: int, progress: float) -> tuple[Tensor, dict[str, float]]:
        """Loss of batch ``number``; everything drawn depends on it and on the seed alone."""
        with _own_chance(self.looker.device, self.trainee.settings.seed, number):
            loss, parts = self._loss(self._batch(number))
        return loss, {name: float(part) for name, part in parts.items()}

    def _batch(self, number: int) -> Batch:
        settings = self.settings
        if self._feeder is None or self._feeder[0] != settings:
            self.close()
            feeder = Feeder(self.album, settings, self.cells, self._needs_pixels, self.stride)
            self._feeder = settings, feeder
        return self._feeder[1](number)

    def _needs_pixels(self, picture: int, flipped: bool) -> bool:
        return self.looker.needs_pixels(self.names[picture], flipped)

    def _loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        settings = self.trainee.settings
        patches = torch.cat(
            [
                self.looker.patches(self.names[question.picture], question.flipped, rgb)
                for question, rgb in zip(batch.questions, batch.rgb, strict=True)
            ]
        )
        vision = vision_of(self.looker.eyes.detector, patches).repeat([len(q.phrases) for q in batch.questions])
        text = self.words([phrase for question in batch.questions for phrase in question.phrases])
        head = Head(self.looker.eyes.detector, vision, *text)
        return detector_loss(head, batch.targets.to(self.looker.device), settings.weights, settings.matching)

    def fullest(self) -> Tensor:
        """Loss of the batch with the most objects, with its graph, to weigh it."""
        chosen, pictures = fullest(self.album, self.settings), self.album.pictures
        rgb = tuple(pictures[q.picture].pixels.read() for q in chosen)
        targets = targets_of([(pictures[q.picture], q.flipped, q.phrases) for q in chosen], self.cells)
        with self.precision(), _own_chance(self.looker.device, self.trainee.settings.seed, 0):
            return self._loss(Batch(chosen, rgb, targets))[0]

    def shrink(self) -> bool:
        """Fewer pictures a batch, then fewer phrases a picture; ``False`` where there is one of each.

        Pictures that leave a batch come in a batch of their own of the same update.
        """
        settings = self.settings
        if settings.batch > 1 and settings.batch % 2 == 0:
            self.notes.update(batch=settings.batch // 2, accumulate=settings.accumulate * 2)
        elif settings.phrases > 1:
            self.notes.update(phrases=settings.phrases // 2)
        else:
            return False
        return True

    def precision(self) -> AbstractContextManager[Any]:
        """Entered around a step."""
        if self.looker.amp:
            return torch.autocast(self.looker.device.type, torch.bfloat16)
        return nullcontext()

    def close(self) -> None:
        """Lets the reader of pictures go."""
        if self._feeder is not None:
            self._feeder[1].close()
            self._feeder = None


@contextmanager
def _own_chance(device: torch.device, seed: int, number: int) -> Iterator[None]:
    """What falls out of a network in a step hangs on the step alone, so that a run that goes on is the same run."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed((seed * 1_000_003 + number) % 2**63)
        yield
