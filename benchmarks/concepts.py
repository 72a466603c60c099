"""Time a frame of the concept loop against the number of objects, beside transformers' own loop in the same run.

    python benchmarks/concepts.py                                # SAM 3's heads, a small image encoder, 252 px, CPU
    python benchmarks/concepts.py --size 1008 --full --device cuda      # SAM 3's whole architecture, random weights

Weights do not change the time a frame takes, so random ones serve. What is detected is scripted, the same boxes on every frame
for both sides, and the number of objects is held by ``max_objects``; the detector's head is left out, the image encoder is
in. Both sides are timed in turn, a stretch each, with full memories; each figure is the median of the timed frames. Ours
runs with its defaults: it also drops doubles, fills holes and takes specks away, which transformers cannot do without a kernel
package.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
import transformers
from rich.console import Console

from in_turn import add_options, frames_needed, medians, warm_up
from keepsight.concepts import Concept, ConceptRules, Detections
from keepsight.concepts.loop import ConceptLoop
from keepsight.memory import Step, policy_factory
from keepsight.models.devices import resolve_device
from keepsight.models.sam3.whole import Sam3Backbone
from keepsight.tracking import EngineOptions, Sight
from keepsight.tracking.tracks import TrackSet

PATCH = 14


def random_sam3(size: int, *, full: bool, objects: int) -> Any:
    """SAM 3 with random weights; unless ``full`` its image encoder has 4 small layers."""
    from transformers import Sam3VideoConfig, Sam3VideoModel

    grid = size // PATCH
    encoder = {"model_type": "sam3_vit_model", "image_size": size}
    if not full:
        encoder |= {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 4}
        encoder |= {"window_size": 6, "global_attn_indexes": [3], "pretrain_image_size": 6 * PATCH}
    vision = {
        "model_type": "sam3_vision_model",
        "backbone_feature_sizes": [[4 * grid] * 2, [2 * grid] * 2, [grid] * 2],
        "backbone_config": encoder,
    }
    tracker = {
        "model_type": "sam3_tracker_video",
        "image_size": size,
        "vision_config": vision,
        "prompt_encoder_config": {"image_size": size, "patch_size": PATCH},
        "memory_attention_rope_feat_sizes": [grid, grid],
    }
    config = Sam3VideoConfig(
        detector_config={"model_type": "sam3", "vision_config": vision},
        tracker_config=tracker,
        low_res_mask_size=4 * grid,
        hotstart_delay=0,
        max_num_objects=objects,
        recondition_every_nth_frame=0,
    )
    torch.manual_seed(0)
    model = Sam3VideoModel(config).eval()
    with torch.no_grad():
        # Objects are there, else masks would be empty and much would be skipped.
        model.tracker_model.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(4.0)
    return model


def detections(count: int, side: int) -> torch.Tensor:
    """Logits ``(count, side, side)`` of boxes on a grid."""
    across = int(np.ceil(count**0.5))
    cell = side / across
    logits = torch.full((count, side, side), -8.0)
    for index in range(count):
        x, y = int(index % across * cell), int(index // across * cell)
        logits[index, y : y + max(int(cell * 0.7), 1), x : x + max(int(cell * 0.7), 1)] = 8.0
    return logits


class Theirs:
    def __init__(self, model: Any, clip: torch.Tensor, masks: torch.Tensor) -> None:
        from transformers.models.sam3_video.modeling_sam3_video import Sam3VideoInferenceSession

        size = clip.shape[-1]
        places = {"inference_device": clip.device, "inference_state_device": clip.device}
        self.session = Sam3VideoInferenceSession(
            video=clip,
            video_height=size,
            video_width=size,
            dtype=clip.dtype,
            video_storage_device=clip.device,
            **places,
        )
        self.session.add_prompt("thing")
        scores = torch.full((len(masks),), 0.9, device=clip.device)
        found = {"bbox": torch.zeros(len(masks), 4, device=clip.device), "mask": masks, "scores": scores}
        self.model = model
        model.run_detection = lambda inference_session, vision_embeds: {0: found}

    def step(self, frame: int) -> None:
        self.model(self.session, frame_idx=frame)

    def followed(self) -> int:
        return len(self.session.obj_ids)


class Ours:
    def __init__(self, model: Any, clip: torch.Tensor, masks: torch.Tensor) -> None:
        self.backbone, self.clip = Sam3Backbone(model), clip
        rules = ConceptRules(hotstart_frames=0, max_objects=len(masks), recondition_every=0)
        tracks = TrackSet(self.backbone, policy_factory("sam2"), EngineOptions().settled(False))
        self.loop = ConceptLoop(tracks, rules, [Concept(1, "thing")])
        size = clip.shape[-1]
        boxes = np.tile(np.array([0, 0, size, size], np.float32), (len(masks), 1))
        ones = np.ones(len(masks), np.int64)
        self.found = Detections(ones, np.full(len(masks), 0.9, np.float32), boxes, masks)

    def step(self, frame: int) -> None:
        features = self.backbone.encode_image(self.clip[frame][None])
        # transformers' loop runs the detector's neck on every frame.
        self.backbone.vision(features, 0)
        size = (int(self.clip.shape[-2]), int(self.clip.shape[-1]))
        sight = Sight.of_features(self.backbone, features, size)
        tracks = list(self.loop.set.tracks.values())
        self.loop.advance(tracks, Step(frame, False, len(self.clip)), sight, self.found)

    def followed(self) -> int:
        return len(self.loop.set.tracks)


def compare(size: int, count: int, device: torch.device, *, full: bool, rounds: int, each: int) -> tuple[float, float]:
    """Median seconds a frame: (transformers' loop, ours)."""
    model = random_sam3(size, full=full, objects=count).to(device)
    generator = torch.Generator().manual_seed(0)
    clip = torch.randn(frames_needed(rounds, each), 3, size, size, generator=generator).to(device)
    masks = detections(count, model.low_res_mask_size).to(device)
    sides = [Theirs(model, clip, masks), Ours(model, clip, masks)]
    with torch.inference_mode():
        warm_up(sides)
        for side in sides:
            assert side.followed() == count, (side, side.followed())
        theirs, ours = medians(sides, device, rounds, each)
    return theirs, ours


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=252, help="side of the model input, a multiple of 14")
    parser.add_argument("--full", action="store_true", help="SAM 3's own image encoder")
    add_options(parser, objects=[1, 5, 20, 60])
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = resolve_device(arguments.device)
    # It warns on every frame that the number of objects is held.
    transformers.utils.logging.set_verbosity_error()
    console = Console()
    console.print(f"concepts, {arguments.size} px, {device}, {torch.get_num_threads()} threads: ms a frame")
    console.print(f"{'objects':>8}{'transformers':>14}{'ours':>8}{'ratio':>8}")
    for count in arguments.objects:
        theirs, ours = compare(
            arguments.size, count, device, full=arguments.full, rounds=arguments.rounds, each=arguments.each
        )
        console.print(f"{count:>8}{theirs * 1000:>14.0f}{ours * 1000:>8.0f}{theirs / ours:>8.2f}")


if __name__ == "__main__":
    main()
