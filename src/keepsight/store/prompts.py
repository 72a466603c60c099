"""What people said about objects, as rows of the table ``prompts``."""

from __future__ import annotations

import json
from typing import Any

from keepsight.core import Box, Mask, Prompt, StoreError
from keepsight.store.database import Database
from keepsight.store.history import History
from keepsight.store.objects import Objects
from keepsight.store.records import StoredPrompt, StoredVideo


class Prompts:
    """Every change goes through the undo log; :class:`Project` documents the methods."""

    def __init__(self, database: Database, history: History, objects: Objects) -> None:
        self._db = database
        self._history = history
        self._objects = objects

    def add(self, video: StoredVideo, prompt: Prompt) -> int:
        prompt.check_inside(video.height, video.width)
        with self._history.operation(f"prompt object {prompt.object_id} on frame {prompt.frame}"):
            self._objects.ensure(video.id, prompt.object_id, prompt.label)
            last = self._db.row("SELECT seq FROM sqlite_sequence WHERE name = 'prompts'")
            prompt_id = (int(last["seq"]) if last else 0) + 1
            self._history.change("prompts", {"id": prompt_id}, _row(prompt_id, video.id, prompt))
        return prompt_id

    def all(self, video_id: int) -> list[StoredPrompt]:
        rows = self._db.rows(
            "SELECT p.* FROM prompts p JOIN objects o USING (video_id, object_id) "
            "WHERE p.video_id = ? AND NOT o.removed ORDER BY p.id",
            (video_id,),
        )
        return [StoredPrompt(row["id"], _prompt(dict(row))) for row in rows]

    def remove(self, prompt_id: int) -> None:
        row = self._db.row("SELECT object_id FROM prompts WHERE id = ?", (prompt_id,))
        if row is None:
            raise StoreError(f"{self._db.path} has no prompt {prompt_id}.")
        with self._history.operation(f"remove prompt of object {row['object_id']}"):
            self._history.change("prompts", {"id": prompt_id}, None)


def _row(prompt_id: int, video_id: int, prompt: Prompt) -> dict[str, Any]:
    return {
        "id": prompt_id,
        "video_id": video_id,
        "object_id": prompt.object_id,
        "frame": prompt.frame,
        "points": json.dumps([[x, y, label] for (x, y), label in zip(prompt.points, prompt.labels, strict=True)]),
        "box": json.dumps(prompt.box) if prompt.box else None,
        "mask_height": prompt.mask.height if prompt.mask else None,
        "mask_width": prompt.mask.width if prompt.mask else None,
        "counts": prompt.mask.counts if prompt.mask else None,
        "label": prompt.label,
    }


def _prompt(row: dict[str, Any]) -> Prompt:
    points = json.loads(row["points"])
    box: Box | None = tuple(json.loads(row["box"])) if row["box"] else None
    mask = None if row["counts"] is None else Mask(row["mask_height"], row["mask_width"], bytes(row["counts"]))
    return Prompt(
        object_id=row["object_id"],
        frame=row["frame"],
        points=tuple((x, y) for x, y, _ in points),
        labels=tuple(int(label) for _, _, label in points),
        box=box,
        mask=mask,
        label=row["label"],
    )
