"""A tiny random SAM 3 with words, and transformers' own loop over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from keepsight.concepts import ConceptRules, ConceptSession
from keepsight.concepts.sam3 import Sam3Detector
from keepsight.models.sam3.whole import Sam3Backbone
from keepsight.tracking import Tracker
from reference import indexed_video, options
from tiny_models import amplify, draw_anew, sam3_config, word_tokenizer

SIZE = 56
WORDS = ("cow", "dog", "person", "in", "blue", "visual")
LONGEST = 8


def tokenizer() -> Any:
    """A word list of a few words, in the form of a tokenizer."""
    return word_tokenizer(WORDS, 62, 63)


def sam3(seed: int = 0, *, queries: int = 6, presence: float = 4.0, **changes: Any) -> Any:
    """A ``Sam3VideoModel`` in which detections are many and objects mostly present."""
    from transformers import Sam3VideoModel

    config = sam3_config(queries=queries, longest=LONGEST, **changes)
    torch.manual_seed(seed)
    model = Sam3VideoModel(config).eval().float()
    draw_anew(model, seed + 1, gain=0.9)
    amplify(model.tracker_model, presence)
    detector = model.detector_model
    with torch.no_grad():
        # The picture is there, and scores differ between queries and frames.
        detector.detr_decoder.presence_head.layer3.bias.fill_(6.0)
        detector.dot_product_scoring.query_proj.weight.mul_(6.0)
        detector.detr_decoder.query_embed.weight.mul_(3.0)
        detector.mask_decoder.instance_projection.bias.add_(-0.2)
    return model


def rules(model: Any) -> ConceptRules:
    """The model's configuration in our words, with transformers' ways."""
    config = model.config
    return ConceptRules(
        score_threshold=config.score_threshold_detection,
        nms_iou=config.det_nms_thresh,
        match_iou=config.assoc_iou_thresh,
        seen_iou=config.trk_assoc_iou_thresh,
        new_score=config.new_det_thresh,
        max_objects=config.max_num_objects,
        hotstart_frames=config.hotstart_delay,
        hotstart_unmatched=config.hotstart_unmatch_thresh,
        hotstart_duplicates=config.hotstart_dup_thresh,
        hide_unmatched=not config.suppress_unmatched_only_within_hotstart,
        keep_alive_start=config.init_trk_keep_alive,
        keep_alive_most=config.max_trk_keep_alive,
        keep_alive_least=config.min_trk_keep_alive,
        keep_alive_absent=config.decrease_trk_keep_alive_for_empty_masklets,
        overlap_iou=config.suppress_overlapping_based_on_recent_occlusion_threshold,
        fill_hole_px=config.fill_hole_area,
        recondition_every=config.recondition_every_nth_frame,
        recondition_score=config.high_conf_thresh,
        recondition_iou=config.high_iou_thresh,
        recondition_on_tracked=config.recondition_on_trk_masks,
        as_transformers=True,
    )


class PixelSam3(Sam3Backbone):
    """Reads the prepared clip instead of resizing frames, as ``reference.PixelBackbone`` does."""

    def __init__(self, model: Any, clip: torch.Tensor) -> None:
        super().__init__(model)
        self.clip = clip

    def preprocess(self, rgb: Any) -> torch.Tensor:
        return self.clip[int(rgb[0, 0, 0]) * 256 + int(rgb[0, 0, 1])][None]


@dataclass
class Events:
    """What a loop did: masks by (frame, id), objects that came and that went by frame."""

    masks: dict[tuple[int, int], torch.Tensor] = field(default_factory=dict)
    alive: dict[int, list[int]] = field(default_factory=dict)


def their_session(clip: torch.Tensor | None, words: Sequence[str]) -> Any:
    from transformers.models.sam3_video.modeling_sam3_video import Sam3VideoInferenceSession

    words_of = tokenizer()
    run = Sam3VideoInferenceSession(video=clip, video_height=SIZE, video_width=SIZE, dtype=torch.float32)
    for word in words:
        number = run.add_prompt(word)
        encoded = words_of(word, return_tensors="pt", padding="max_length", max_length=LONGEST)
        run.prompt_input_ids[number] = encoded.input_ids
        run.prompt_attention_masks[number] = encoded.attention_mask
    return run


def theirs(model: Any, clip: torch.Tensor, words: Sequence[str]) -> Events:
    """transformers' loop; ids from 1, masks as low-resolution logits."""
    run = their_session(clip, words)
    events = Events()
    for frame in range(len(clip)):
        output = model(run, frame_idx=frame)
        events.alive[frame] = [one + 1 for one in output.object_ids]
        for one, mask in output.obj_id_to_mask.items():
            events.masks[frame, one + 1] = mask[0].clone()
    return events


def session_of(
    model: Any, clip: torch.Tensor, words: Sequence[str], chosen: ConceptRules | None = None, **changes: Any
) -> ConceptSession:
    backbone = PixelSam3(model, clip)
    tracker = Tracker(backbone, "sam2", options(**changes))
    detector = Sam3Detector(backbone, tokenizer(), least=0.0)
    return ConceptSession(tracker, indexed_video(len(clip), SIZE), words, detector, chosen or rules(model))


def ours(made: ConceptSession) -> Events:
    """Our loop on the same; results are taken before the delay."""
    events = Events()
    loop = made._loop
    advance = loop.advance

    def noted(tracks: Any, step: Any, sight: Any, found: Any) -> Any:
        outcome = advance(tracks, step, sight, found)
        events.alive[step.frame] = list(loop.lives.of)
        for track, record in outcome.shown:
            events.masks[step.frame, track.object_id] = record.logits.clone()
        return outcome

    loop.advance = noted  # type: ignore[method-assign]
    list(made.propagate())
    return events


def their_results(model: Any, clip: torch.Tensor, words: Sequence[str]) -> list[tuple[int, list[int]]]:
    """Frames in the order in which transformers gives them, with the ids that are shown then."""
    run = their_session(clip, words)
    results = []
    for output in model.propagate_in_video_iterator(run):
        shown = [one + 1 for one in output.obj_id_to_mask if one not in run.hotstart_removed_obj_ids]
        results.append((output.frame_idx, sorted(shown)))
    return results
