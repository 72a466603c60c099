"""Time a frame against the number of objects, beside transformers' own loop on the same weights in the same run.

    python benchmarks/objects.py                 # SAM 2.1 tiny architecture, random weights, 512 px, CPU
    python benchmarks/objects.py --device cuda --size 1024 --model sam2.1-large

Weights do not change the time a frame takes, so random ones serve where none are downloaded. Both sides get frames that
are already resized; both have full memories when the clock starts. Each figure is the median of the timed frames, and
ours and theirs are timed in turn, a stretch each, so that a slow moment of the machine meets both.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from in_turn import add_options, frames_needed, medians, warm_up
from keepsight.core import Mask, Prompt
from keepsight.memory import Step, policy_factory
from keepsight.models.devices import resolve_device, resolve_dtype
from keepsight.models.sam2.hf_video import HFVideoBackbone
from keepsight.tracking import Compatibility, Engine, EngineOptions, Sight
from keepsight.tracking.tracks import TrackSet


@dataclass(frozen=True)
class Hiera:
    """Shape of a SAM 2 image encoder."""

    embed_dim: int
    blocks: tuple[int, ...]
    heads: tuple[int, ...]
    windows: tuple[int, ...]
    global_blocks: tuple[int, ...]


SETTINGS = {
    "nano": Hiera(16, (1, 1, 2, 1), (1, 1, 2, 2), (8, 4, 4, 2), (3,)),
    "tiny": Hiera(96, (1, 2, 7, 2), (1, 2, 4, 8), (8, 4, 14, 7), (5, 7, 9)),
    "small": Hiera(96, (1, 2, 11, 2), (1, 2, 4, 8), (8, 4, 14, 7), (7, 10, 13)),
}


def random_sam2(name: str, size: int) -> Any:
    """SAM 2.1's architecture with random weights at ``size`` px."""
    from transformers import Sam2VideoConfig, Sam2VideoModel

    chosen, grid = SETTINGS[name], size // 16
    dims = [chosen.embed_dim * 2**stage for stage in range(4)]
    config = Sam2VideoConfig(
        image_size=size,
        vision_config={
            "model_type": "sam2_vision_model",
            "backbone_channel_list": dims[::-1],
            "backbone_feature_sizes": [[4 * grid] * 2, [2 * grid] * 2, [grid] * 2],
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": dims[0],
                "image_size": [size, size],
                "blocks_per_stage": list(chosen.blocks),
                "embed_dim_per_stage": dims,
                "num_attention_heads_per_stage": list(chosen.heads),
                "window_size_per_stage": list(chosen.windows),
                "num_attention_heads": chosen.heads[0],
                "global_attention_blocks": list(chosen.global_blocks),
            },
        },
        prompt_encoder_config={"image_size": size},
        memory_attention_rope_feat_sizes=[grid, grid],
    )
    torch.manual_seed(0)
    return Sam2VideoModel(config).eval()


class Theirs:
    def __init__(self, model: Any, clip: torch.Tensor, masks: list[np.ndarray]) -> None:
        from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

        size = clip.shape[-1]
        self.model = model
        self.session = Sam2VideoInferenceSession(
            video=clip,
            video_height=size,
            video_width=size,
            dtype=clip.dtype,
            inference_device=clip.device,
            inference_state_device=clip.device,
            video_storage_device=clip.device,
        )
        for object_id, mask in enumerate(masks, start=1):
            index = self.session.obj_id_to_idx(object_id)
            self.session.add_mask_inputs(index, 0, torch.from_numpy(mask)[None, None].float())
        self.session.obj_with_new_inputs = list(range(1, len(masks) + 1))

    def step(self, frame: int) -> None:
        self.model(self.session, frame_idx=frame)


class Ours:
    def __init__(self, backbone: HFVideoBackbone, clip: torch.Tensor, masks: list[np.ndarray]) -> None:
        self.backbone, self.clip = backbone, clip
        options = EngineOptions(compatibility=Compatibility.of("transformers"))
        self.set = TrackSet(backbone, policy_factory("sam2"), options)
        self.engine: Engine = self.set.engine
        self.size = tuple(clip.shape[-2:])
        features = backbone.encode_image(clip[0][None].to(backbone.dtype))
        for object_id, mask in enumerate(masks, start=1):
            prompt = Prompt(object_id, 0, mask=Mask.from_array(mask))
            track = self.set.take_prompt(prompt, clear=False)
            sight = Sight.of_features(backbone, features, self.size)
            self.engine.prompt(track, Step(0, False, len(clip)), sight, None)

    def step(self, frame: int) -> None:
        features = self.backbone.encode_image(self.clip[frame][None].to(self.backbone.dtype))
        tracks = list(self.set.tracks.values())
        sight = Sight.of_features(self.backbone, features, self.size)
        self.engine.step(tracks, Step(frame, False, len(self.clip)), sight)


def compare(
    model: Any, ours_backbone: HFVideoBackbone, count: int, size: int, rounds: int, each: int
) -> tuple[float, float]:
    """Median seconds a frame: (transformers' loop, ours)."""
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(0)
    clip = torch.randn(frames_needed(rounds, each), 3, size, size, generator=generator).to(
        device, next(model.parameters()).dtype
    )
    masks = []
    for index in range(count):
        mask = np.zeros((size, size), dtype=bool)
        left, top = (index * 37) % (size // 2), (index * 53) % (size // 2)
        mask[top : top + size // 4, left : left + size // 4] = True
        masks.append(mask)
    sides = [Theirs(model, clip, masks), Ours(ours_backbone, clip, masks)]
    with torch.inference_mode():
        warm_up(sides)
        theirs, ours = medians(sides, device, rounds, each)
    return theirs, ours


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", default="tiny", help="nano, tiny, small (random weights), or a model name that is downloaded"
    )
    parser.add_argument("--size", type=int, default=512)
    add_options(parser, objects=[1, 2, 5, 10, 20])
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = resolve_device(arguments.device)
    model = load(arguments.model, arguments.size).to(device)
    default = resolve_dtype("auto", device, family="sam2")
    backbones = {torch.float32: HFVideoBackbone(model)}
    if default is not torch.float32:
        backbones[default] = HFVideoBackbone(load(arguments.model, arguments.size).to(device, default))
    table = Table(
        title=f"{arguments.model}, {arguments.size} px, {device}, {torch.get_num_threads()} threads: ms a frame"
    )
    for column in ("objects", "transformers fp32", "ours fp32", "ratio"):
        table.add_column(column, justify="right")
    if len(backbones) > 1:
        table.add_column(f"ours {default}".replace("torch.", ""), justify="right")
        table.add_column("ratio", justify="right")
    for count in arguments.objects:
        cells = [str(count)]
        for dtype, backbone in backbones.items():
            theirs, ours = compare(model, backbone, count, arguments.size, arguments.rounds, arguments.each)
            if dtype is torch.float32:
                cells.append(f"{theirs * 1000:.0f}")
            cells += [f"{ours * 1000:.0f}", f"{theirs / ours:.2f}x"]
        table.add_row(*cells)
    Console(width=110).print(table)


def load(name: str, size: int) -> Any:
    if name in SETTINGS:
        return random_sam2(name, size)
    from keepsight.models.loading import load_backbone

    return load_backbone(name, device="cpu", dtype="float32", image_size=size).model  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
