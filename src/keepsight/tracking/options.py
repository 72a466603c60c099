"""Settings of the engine, and the one switch between the two published behaviours."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from keepsight.core.errors import InputError
from keepsight.memory import ReferenceRules
from keepsight.tracking.zoom import Zoom

Reference = Literal["meta", "transformers"]


@dataclass(frozen=True)
class Compatibility:
    """Where Meta's SAM 2 predictor and transformers' differ, one field a difference.

    Two deviations from Meta are corrections of ours and part of the default: a correction on a tracked frame lasts
    (``corrections_last``; Meta drops it, sam2 issues 546, 719, 731), also on the first prompted frame.

    Attributes:
        mask_pointer_from_best: pointer of a mask prompt from the best of three candidates (transformers) instead of the
            single-mask token (Meta).
        mask_memory_from_low_res: write a mask prompt's memory from its low-resolution form (Meta) instead of from the
            mask itself.
        refine_with_previous: further clicks on a frame are decoded together with the mask that is there (Meta).
        corrections_last: a correction on a tracked frame turns it into a conditioning frame.
        binarize_neighbours: objects tracked on a frame where another one is being prompted are written binarised as well
            (transformers).
        stream_pointer_budget: a stream divides pointer distances by the full budget (both); a file by its length when
            that is shorter (Meta); with ``True`` files are treated like streams.
        found_mask_cut_first: a detector's mask is cut at a logit of one half, then resized and left soft (transformers),
            instead of resized, then cut at 0 (Meta).
        fill_hole_px: background specks up to this many px, at 256 px masks, are filled in what is shown (Meta: 8).
        rules: see :class:`keepsight.memory.ReferenceRules`.
    """

    mask_pointer_from_best: bool = False
    mask_memory_from_low_res: bool = True
    refine_with_previous: bool = True
    corrections_last: bool = True
    binarize_neighbours: bool = False
    stream_pointer_budget: bool = False
    found_mask_cut_first: bool = False
    fill_hole_px: int = 8
    rules: ReferenceRules = field(default_factory=ReferenceRules)

    @classmethod
    def of(cls, reference: Reference) -> Compatibility:
        """The named preset.

        Raises:
            InputError: any other name.
        """
        if reference == "meta":
            return cls()
        if reference == "transformers":
            return cls(
                mask_pointer_from_best=True,
                mask_memory_from_low_res=False,
                refine_with_previous=False,
                corrections_last=False,
                binarize_neighbours=True,
                found_mask_cut_first=True,
                fill_hole_px=0,
                rules=ReferenceRules(
                    pointers_of_unselected=True, unselected_fill_pointers=False, limit_by_slicing=True
                ),
            )
        raise InputError(f"reference is 'meta' or 'transformers', not '{reference}'.")

    def but(self, **changes: object) -> Compatibility:
        """A copy with single differences switched."""
        return replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class EngineOptions:
    """How the engine runs; none of these changes what a policy decides.

    Attributes:
        compatibility: see :class:`Compatibility`.
        track_before_prompt: follow an object also on frames before its first prompt in the direction of travel, from
            the future prompt alone, as both references do. Off by default: an object begins where it was pointed at.
        feature_cache_bytes: image features of prompted frames that stay for the next click. Up: faster correcting on
            many frames, more memory. One frame of SAM 2 at 1024 px is 16 MiB in fp32.
        units_per_decode: units a mask-decoder or memory-encoder call, and regions a call of the image encoder. Up: fewer calls,
            more peak memory.
        look_ahead: frames decoded ahead of the step, in a thread.
        zoom: look at small objects closely: how (see :class:`~keepsight.tracking.zoom.Zoom`), or yes or no; ``None``: where
            the model gains by it, which is the built-in one.
        exclusive: masks of a frame do not overlap in what is shown: a pixel that several objects claim goes to the one with the
            highest logit, as where SAM 2 is evaluated on pictures of ids. What is remembered is ``exclusive_memory``'s business.
        exclusive_memory: what several objects of a session claim belongs to one of them before it is remembered, so that those
            who cross do not end up on one of them (see :mod:`keepsight.tracking.claims`); ``None``: where objects are looked at
            closely. Where words are followed, the rules of concepts stand in its place, but for the answers to boxes.
        keep_all_memory: never evict. For short clips that are corrected again and again at any place.
    """

    compatibility: Compatibility = Compatibility()
    track_before_prompt: bool = False
    feature_cache_bytes: int = 256 * 2**20
    units_per_decode: int = 16
    look_ahead: int = 4
    exclusive: bool = False
    exclusive_memory: bool | None = None
    keep_all_memory: bool = False
    zoom: Zoom | bool | None = None

    @property
    def closely(self) -> Zoom | None:
        """How small objects are looked at closely, ``None`` when the whole frame is always seen."""
        return self.zoom if isinstance(self.zoom, Zoom) else None

    @property
    def apart(self) -> bool:
        """Whether objects that are followed together remember nothing of each other."""
        return self.closely is not None if self.exclusive_memory is None else self.exclusive_memory

    def settled(self, gains_by_zoom: bool) -> EngineOptions:
        """The options for a model: zoom is said, one way or the other."""
        wanted = gains_by_zoom if self.zoom is None else self.zoom
        return replace(self, zoom=Zoom() if wanted is True else wanted)
