"""What the client's menu shows: every model of the settings, for video and for single pictures, as polygons or as boxes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keepsight.concepts import choosing
from keepsight.models.registry import is_cached, resolve
from keepsight.server.anylabeling.shapes import Kind

CONFIDENCE = 0.25

WORDLESS = tuple(entry.name for entry in choosing.ENTRIES if not entry.understands_words)
"""Texts that name a detector which needs no words."""


@dataclass(frozen=True)
class Offered:
    """An entry of the client's menu.

    Attributes:
        id: for the client.
        model: as the settings name it.
        name: of the model, for people; never a path.
        kind: what its masks become.
        video: whether it follows through a folder of frames, or looks at single pictures.
    """

    id: str
    model: str
    name: str
    kind: Kind
    video: bool

    def metadata(self, detector: str | None) -> dict[str, Any]:
        """What the client is told; looks at the disk for what is there.

        Args:
            detector: of the settings.
        """
        what = {"polygon": "masks", "rectangle": "boxes"}[self.kind]
        missing = "" if is_cached(resolve(self.model)) else ", not downloaded"
        # The client's menu is as wide as eight letters, so they come first by which its entries differ.
        title = what.capitalize() if self.video else f"Image {what}"
        return {
            "display_name": f"{title}, {self.name} (Keepsight{missing})",
            "widgets": self._widgets(_hint(self.model, detector)),
            "params": {"show_masks": self.kind == "polygon", "show_boxes": self.kind == "rectangle"},
            "capabilities": {},
            "batch_processing_mode": "video" if self.video else "text_prompt",
        }

    def _widgets(self, hint: str) -> list[dict[str, Any]]:
        names = ["button_add_point", "button_remove_point"]
        if not self.video:
            names += ["button_add_rect", "button_run"]
        return [
            *({"name": name, "value": None} for name in (*names, "button_clear", "button_finish_object")),
            {"name": "edit_text", "value": None, "placeholder": hint},
            {"name": "button_send", "value": None},
            {"name": "input_conf", "value": None},
            # Without it the client sends 0.0.
            {"name": "edit_conf", "value": CONFIDENCE},
            {"name": "mask_fineness_slider", "value": 10},
            {"name": "mask_fineness_value_label", "value": None},
            {"name": "toggle_preserve_existing_annotations", "value": False},
        ]


def offered(models: Sequence[str]) -> dict[str, Offered]:
    """All entries by id, in the order of the menu."""
    found: dict[str, Offered] = {}
    names: list[str] = []
    for model in models:
        name = Path(model).name if "/" in model or "\\" in model else model
        names.append(name if name not in names else f"{name} {len(names) + 1}")
        slug = re.sub(r"[^A-Za-z0-9.-]+", "_", names[-1])
        for where, video in (("video", True), ("image", False)):
            kinds: tuple[tuple[str, Kind], ...] = (("masks", "polygon"), ("boxes", "rectangle"))
            for what, kind in kinds:
                id = f"keepsight_{slug}_{where}_{what}"
                found[id] = Offered(id, model, names[-1], kind, video)
    return found


def _hint(model: str, detector: str | None) -> str:
    reads = {entry.name for entry in choosing.ENTRIES if entry.understands_words}
    if (detector is not None and detector not in WORDLESS) or reads & set(choosing.available(model)):
        return "person, car"
    if detector is not None:
        return f"a label for what '{detector}' finds"
    return "everything, or motion (for words: keepsight models download grounding-dino)"


def wordless(text: str) -> str | None:
    """The detector that a text names, if it is the name of one that needs no words."""
    name = text.strip().strip(".").lower()
    return name if name in WORDLESS else None
