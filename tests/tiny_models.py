"""Tiny random-weight models of every family: real code paths in milliseconds.

Parameters that are zero after construction are drawn anew, else nothing of the temporal and absent codes could be seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

HIDDEN = 128


def word_tokenizer(words: Sequence[str], begin_id: int, end_id: int) -> Any:
    """A tokenizer that knows a few words, as many ids as there are words from 2 on, and its marks of beginning and end."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    known = {word: 2 + place for place, word in enumerate(words)}
    vocabulary = {"<pad>": 0, "<unk>": 1, **known, "<s>": begin_id, "</s>": end_id}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", begin_id), ("</s>", end_id)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


def _vision(size: int) -> dict[str, Any]:
    grid = size // 16
    return {
        "model_type": "sam2_vision_model",
        "fpn_hidden_size": HIDDEN,
        "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[4 * grid] * 2, [2 * grid] * 2, [grid] * 2],
        "backbone_config": {
            "model_type": "sam2_hiera_det_model",
            "hidden_size": 8,
            "num_attention_heads": 1,
            "image_size": [size, size],
            "blocks_per_stage": [1, 1, 2, 1],
            "embed_dim_per_stage": [8, 16, 32, 64],
            "num_attention_heads_per_stage": [1, 1, 2, 2],
            "window_size_per_stage": [8, 4, 4, 2],
            "global_attention_blocks": [3],
            "window_positional_embedding_background_size": [2, 2],
        },
    }


def _heads(size: int, patch: int) -> dict[str, Any]:
    return {
        "image_size": size,
        "prompt_encoder_config": {
            "hidden_size": HIDDEN,
            "image_size": size,
            "patch_size": patch,
            "mask_input_channels": 4,
        },
        "mask_decoder_config": {
            "hidden_size": HIDDEN,
            "mlp_dim": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 32,
        },
        "memory_attention_hidden_size": HIDDEN,
        "memory_encoder_hidden_size": HIDDEN,
        "memory_encoder_output_channels": 64,
        "mask_downsampler_embed_dim": HIDDEN,
        "memory_fuser_embed_dim": HIDDEN,
        "memory_fuser_intermediate_dim": 32,
        "memory_fuser_num_layers": 1,
    }


def sam2(size: int = 64, *, version: str = "2.1", layers: int = 2, **changes: Any) -> Any:
    """A ``Sam2VideoModel``; version "2.0" lacks the temporal codes of pointers and the absent embedding."""
    from transformers import Sam2VideoConfig, Sam2VideoModel

    grid = size // 16
    config = Sam2VideoConfig(
        vision_config=_vision(size),
        memory_attention_num_layers=layers,
        memory_attention_feed_forward_hidden_size=32,
        memory_attention_rope_feat_sizes=[grid, grid],
        enable_temporal_pos_encoding_for_object_pointers=version != "2.0",
        enable_occlusion_spatial_embedding=version != "2.0",
        **_heads(size, 16),
    )
    return randomise(Sam2VideoModel, config, changes)


def edgetam(size: int = 64, *, layers: int = 2, **changes: Any) -> Any:
    """An ``EdgeTamVideoModel`` on a Hiera encoder (its own encoder needs a package that is not a dependency)."""
    from transformers import EdgeTamVideoConfig, EdgeTamVideoModel

    grid = size // 16
    config = EdgeTamVideoConfig(
        vision_config=_vision(size),
        memory_attention_num_layers=layers,
        memory_attention_mlp_hidden_size=32,
        memory_attention_rope_feat_sizes=[grid, grid],
        memory_attention_rope_k_sizes=[2, 2],
        perceiver_resampler_num_latents=4,
        perceiver_resampler_num_latents_2d=4,
        perceiver_resampler_num_layers=1,
        perceiver_resampler_mlp_intermediate_size=32,
        **_heads(size, 16),
    )
    return randomise(EdgeTamVideoModel, config, changes)


def sam3_tracker(size: int = 56, *, layers: int = 2, **changes: Any) -> Any:
    """A ``Sam3TrackerVideoModel``."""
    from transformers import Sam3TrackerVideoConfig, Sam3TrackerVideoModel

    grid = size // 14
    vision = {
        "model_type": "sam3_vision_model",
        "fpn_hidden_size": HIDDEN,
        "backbone_feature_sizes": [[4 * grid] * 2, [2 * grid] * 2, [grid] * 2],
        "backbone_config": {
            "model_type": "sam3_vit_model",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": size,
            "patch_size": 14,
            "window_size": 2,
            "global_attn_indexes": [1],
            "pretrain_image_size": 28,
        },
    }
    config = Sam3TrackerVideoConfig(
        vision_config=vision,
        memory_attention_num_layers=layers,
        memory_attention_feed_forward_hidden_size=32,
        memory_attention_rope_feat_sizes=[grid, grid],
        **_heads(size, 14),
    )
    return randomise(Sam3TrackerVideoModel, config, changes)


def sam3_config(*, queries: int = 6, longest: int = 8, **changes: Any) -> Any:
    """A ``Sam3VideoConfig``: detector and tracker in one checkpoint, as SAM 3 is published.

    Args:
        queries: detections a word at most.
        longest: tokens of a text.
    """
    from transformers import Sam3VideoConfig

    tracker = sam3_tracker().config
    layers = {"hidden_size": HIDDEN, "num_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    detector = {
        "model_type": "sam3",
        "vision_config": tracker.vision_config.to_dict(),
        "geometry_encoder_config": layers,
        "detr_encoder_config": layers,
        "detr_decoder_config": {"num_queries": queries, **layers},
        "mask_decoder_config": {"hidden_size": HIDDEN, "num_attention_heads": 2},
        "text_config": {
            "model_type": "clip_text_model",
            "vocab_size": 64,
            "hidden_size": 32,
            "intermediate_size": 64,
            "projection_dim": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "max_position_embeddings": longest,
            "eos_token_id": 63,
            "bos_token_id": 62,
        },
    }
    return Sam3VideoConfig(detector_config=detector, tracker_config=tracker.to_dict(), low_res_mask_size=16, **changes)


def sam3_video() -> Any:
    """A ``Sam3VideoModel`` as it is constructed."""
    from transformers import Sam3VideoModel

    config = sam3_config()
    torch.manual_seed(0)
    return Sam3VideoModel(config).eval()


def randomise(cls: Any, config: Any, changes: dict[str, Any], seed: int = 0, gain: float = 0.7) -> Any:
    """Builds the model with every parameter drawn anew, on the scale of trained ones, and objects mostly present."""
    for name, value in changes.items():
        setattr(config, name, value)
    torch.manual_seed(seed)
    model = cls(config).eval().float()
    draw_anew(model, seed + 1, gain)
    amplify(model)
    with torch.no_grad():
        # Sharper attention, else a wrong slot or position would hide below the tolerance.
        if isinstance(model.temporal_positional_encoding_projection_layer, torch.nn.Linear):
            model.temporal_positional_encoding_projection_layer.weight.mul_(4.0)
        for layer in model.memory_attention.layers:
            layer.cross_attn_image.q_proj.weight.mul_(2.0)
            layer.cross_attn_image.k_proj.weight.mul_(2.0)
    return model


@torch.no_grad()
def draw_anew(model: Any, seed: int, gain: float) -> None:
    """Draws every parameter on the scale of trained ones: with the library's initial weights memory would hardly show."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2:
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
        else:
            fan_in = parameter.shape[-1] if "embed" in name else parameter[0].numel()
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * gain / max(fan_in, 1) ** 0.5)


@torch.no_grad()
def amplify(tracker: Any, presence: float = 4.0) -> None:
    """Louder codes of memory, and objects that are there: random heads find half of them absent, and most tests want masks.

    Args:
        tracker: a video model of the family of SAM 2, or the tracker of SAM 3.
        presence: bias of the presence logit.
    """
    tracker.memory_temporal_positional_encoding.mul_(8.0)
    tracker.object_pointer_proj.proj_out.weight.mul_(20.0)
    tracker.no_object_pointer.mul_(8.0)
    tracker.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(presence)


def video(frames: int, size: int, seed: int = 3) -> torch.Tensor:
    """Normalised random video ``(T, 3, S, S)`` whose frames resemble their neighbours."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(frames // 2 + 2, 3, size // 8, size // 8, generator=generator)
    clip = torch.nn.functional.interpolate(
        coarse.permute(1, 0, 2, 3)[None], size=(frames, size, size), mode="trilinear", align_corners=True
    )[0].permute(1, 0, 2, 3)
    return (clip + 0.1 * torch.randn(clip.shape, generator=generator)).contiguous()
