"""What requests may say. Numbers are bounded here, so that nothing behind the API meets one that cannot be."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from keepsight.annotation import Said
from keepsight.core import Mask
from keepsight.store import (
    ChangeId,
    DeleteLabel,
    DeleteRange,
    DressLabel,
    Edit,
    Merge,
    Relabel,
    Split,
    Swap,
)

_MAX_ID, _MAX_FRAME = 2**31 - 1, 2**31 - 1
_MAX_COUNTS = 4_000_000  # characters of run lengths: far more than any real mask has

Id: TypeAlias = Annotated[int, Field(ge=0, le=_MAX_ID)]
FrameIndex: TypeAlias = Annotated[int, Field(ge=0, le=_MAX_FRAME)]
Px: TypeAlias = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Label: TypeAlias = Annotated[str, Field(max_length=200)]
Colour: TypeAlias = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]
Counts: TypeAlias = Annotated[str, Field(max_length=_MAX_COUNTS, description="COCO compressed run lengths")]
Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=300)]


class Body(BaseModel):
    """Fields that do not exist are refused: a typing mistake must not look like success."""

    model_config = ConfigDict(extra="forbid")


class Login(Body):
    key: Annotated[str, Field(max_length=1000)]


class VideoPath(Body):
    path: Annotated[str, Field(max_length=4096)]


class SettingsChange(Body):
    model: Name | None = None
    policy: Name | None = None
    non_overwrite: bool | None = None
    output: Literal["masks", "boxes", "both"] | None = None


class PromptBody(Body):
    """Points are ``[x, y, 1 on the object or 0 not on it]``; at least one of points, box and mask."""

    frame: FrameIndex
    object_id: Id | None = None
    points: list[tuple[Px, Px, Literal[0, 1]]] = Field(default=[], max_length=10_000)
    box: tuple[Px, Px, Px, Px] | None = None
    mask: Counts | None = None
    label: Label | None = None
    replace: bool = False

    def said(self, height: int, width: int) -> Said:
        return Said(
            frame=self.frame,
            object_id=self.object_id,
            points=tuple((x, y) for x, y, _ in self.points),
            labels=tuple(int(on) for _, _, on in self.points),
            box=self.box,
            mask=None if self.mask is None else read_mask(self.mask, height, width),
            label=self.label,
            replace=self.replace,
        )


class PreviewBody(PromptBody):
    """With ``quick``: from what was seen of the frame already, sooner and coarser."""

    quick: bool = False


class LookBody(Body):
    """With points: where a click is to be expected."""

    frame: FrameIndex
    object_id: Id | None = None
    points: list[tuple[Px, Px, Literal[0, 1]]] = Field(default=[], max_length=10_000)

    def said(self) -> Said | None:
        points = tuple((x, y) for x, y, _ in self.points)
        return Said(self.frame, self.object_id, points, tuple(int(on) for _, _, on in self.points)) if points else None


class TextBody(Body):
    frame: FrameIndex
    text: Annotated[str, Field(min_length=1, max_length=2000)]
    detector: Name | None = None
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None


class MaskBody(Body):
    counts: Counts


class NewObject(Body):
    label: Label | None = None
    colour: Colour | None = None


class ObjectChange(Body):
    label: Label | None = None
    colour: Colour | None = None
    hidden: bool | None = None
    locked: bool | None = None


class Accepted(Body):
    frame: FrameIndex
    object_ids: list[Id] | None = Field(default=None, max_length=10_000)


class JobBody(Body):
    """``start`` lies inside ``[first, stop)``; left out, these are the ends of the video."""

    direction: Literal["forward", "backward", "both"] = "forward"
    start: FrameIndex
    stop: FrameIndex | None = None
    first: FrameIndex | None = None
    objects: list[Id] | None = Field(default=None, max_length=10_000)
    text: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    detector: Name | None = None
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None


class _EditBody(Body):
    preview: bool = False
    confirm: bool = False


class _Range(_EditBody):
    start: FrameIndex | None = None
    stop: FrameIndex | None = None


class RelabelBody(_Range):
    kind: Literal["relabel"]
    from_label: Label | None
    to_label: Label | None

    def edit(self) -> Edit:
        return Relabel(self.from_label, self.to_label or None, self.start, self.stop)


class DeleteLabelBody(_Range):
    kind: Literal["delete_label"]
    label: Label | None

    def edit(self) -> Edit:
        return DeleteLabel(self.label, self.start, self.stop)


class ColourLabelBody(_Range):
    kind: Literal["colour_label"]
    label: Label | None
    colour: Colour

    def edit(self) -> Edit:
        return DressLabel(self.label, colour=self.colour, start=self.start, stop=self.stop)


class HideLabelBody(_Range):
    kind: Literal["hide_label"]
    label: Label | None
    hidden: bool

    def edit(self) -> Edit:
        return DressLabel(self.label, hidden=self.hidden, start=self.start, stop=self.stop)


class LockLabelBody(_Range):
    kind: Literal["lock_label"]
    label: Label | None
    locked: bool

    def edit(self) -> Edit:
        return DressLabel(self.label, locked=self.locked, start=self.start, stop=self.stop)


class ChangeIdBody(_EditBody):
    kind: Literal["change_id"]
    object_id: Id
    to: Id

    def edit(self) -> Edit:
        return ChangeId(self.object_id, self.to)


class MergeBody(_EditBody):
    kind: Literal["merge"]
    object_id: Id
    into: Id
    keep: Literal["into", "from", "union"] = "into"

    def edit(self) -> Edit:
        return Merge(self.object_id, self.into, self.keep)


class SplitBody(_EditBody):
    kind: Literal["split"]
    object_id: Id
    frame: FrameIndex

    def edit(self) -> Edit:
        return Split(self.object_id, self.frame)


class SwapBody(_EditBody):
    kind: Literal["swap"]
    a: Id
    b: Id
    start: FrameIndex
    stop: FrameIndex | None = None

    def edit(self) -> Edit:
        return Swap(self.a, self.b, self.start, self.stop)


class DeleteRangeBody(_EditBody):
    kind: Literal["delete_range"]
    object_id: Id
    start: FrameIndex
    stop: FrameIndex | None = None

    def edit(self) -> Edit:
        return DeleteRange(self.object_id, self.start, self.stop)


EditBody: TypeAlias = Annotated[
    RelabelBody
    | DeleteLabelBody
    | ColourLabelBody
    | HideLabelBody
    | LockLabelBody
    | ChangeIdBody
    | MergeBody
    | SplitBody
    | SwapBody
    | DeleteRangeBody,
    Field(discriminator="kind"),
]


def read_mask(counts: str, height: int, width: int) -> Mask:
    """A mask from outside; run lengths that do not fit the frame never reach the decoder.

    Raises:
        InputError: malformed, or not of the frame's size.
    """
    return Mask.from_coco({"size": [height, width], "counts": counts})
