"""What a person looks for by words: concepts, and the exemplars that make them clearer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keepsight.core.errors import InputError
from keepsight.core.geometry import Box, box_area, clip_box

LONGEST_TEXT = 200
"""Characters of a concept's text at most."""


@dataclass(frozen=True)
class Exemplar:
    """A box around one instance that shows a detector what is meant, or what is not.

    Attributes:
        frame: frame index on which the box was drawn.
        box: ``(x1, y1, x2, y2)`` in px of that frame.
        positive: whether what the box holds belongs to the concept.

    Raises:
        InputError: a box that is inside-out or not finite, or a negative frame.
    """

    frame: int
    box: Box
    positive: bool = True

    def __post_init__(self) -> None:
        x1, y1, x2, y2 = self.box
        if not (np.isfinite(self.box).all() and x2 > x1 and y2 > y1):
            raise InputError(f"An exemplar is a box X1,Y1,X2,Y2 with X2 > X1 and Y2 > Y1, got {self.box}.")
        if self.frame < 0:
            raise InputError(f"An exemplar's frame is 0 or more, not {self.frame}.")

    def check_inside(self, height: int, width: int, frame_count: int | None, *, of: str) -> None:
        """Raises :class:`InputError` when the exemplar does not fit a video.

        Args:
            height, width: of its frames in px.
            frame_count: of a stream ``None``.
            of: text of the concept, for the message.
        """
        if frame_count is not None and self.frame >= frame_count:
            raise InputError(
                f"An exemplar of '{of}' is on frame {self.frame}; the video has frames 0 to {frame_count - 1}."
            )
        if box_area(clip_box(self.box, height, width)) == 0:
            x1, y1, x2, y2 = self.box
            raise InputError(
                f"The exemplar {x1:g},{y1:g},{x2:g},{y2:g} of '{of}' lies outside the {width}x{height} px frame."
            )


@dataclass(frozen=True)
class Concept:
    """What is to be found: a word or a short phrase, made clearer by exemplars.

    Attributes:
        number: 1 or more; names the concept in what detectors give, the same through a whole run.
        text: 1 to 200 characters, outer white space removed.
        exemplars: boxes drawn by a person.

    Raises:
        InputError: an empty or over-long text, or a number below 1.
    """

    number: int
    text: str
    exemplars: tuple[Exemplar, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", self.text.strip())
        if not self.text:
            raise InputError('A concept needs a word or a short phrase, such as "person in blue"; the text is empty.')
        if len(self.text) > LONGEST_TEXT:
            raise InputError(
                f"A concept is a word or a short phrase of at most {LONGEST_TEXT} characters; "
                f"'{self.text[:30]}...' has {len(self.text)}. Name things one by one."
            )
        if self.number < 1:
            raise InputError(f"A concept's number is 1 or more, not {self.number}.")
