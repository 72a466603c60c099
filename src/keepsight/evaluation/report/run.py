"""A run as its folder keeps it: results, what made them, and looks at their rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepsight.evaluation.results import Results


@dataclass(frozen=True)
class Picture:
    """A look at a row, for its place among the worst: truth and prediction drawn over a frame.

    Attributes:
        row_name: :attr:`keepsight.evaluation.results.Row.name` of the row that it shows.
        caption: what is seen: the frame, the value there, which colour is the truth.
        rgb: uint8 (H, W, 3); about 480 px wide is enough.
    """

    row_name: str
    caption: str
    rgb: NDArray[np.uint8]


@dataclass(frozen=True)
class StoredPicture:
    """A picture in the folder of a run; ``path`` is a JPEG file, which a person may have removed."""

    row_name: str
    caption: str
    path: Path


@dataclass(frozen=True)
class Run:
    """The folder of a run, read.

    Attributes:
        made: code, weights, machine and time: :func:`keepsight.evaluation.report.made.made_now`.
    """

    folder: Path
    results: Results
    made: dict[str, Any]
    pictures: tuple[StoredPicture, ...] = ()

    @property
    def name(self) -> str:
        """What people call it: the name of its folder."""
        return self.folder.resolve().name
