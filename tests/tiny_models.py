"""Tiny random-weight models of every family: real code paths in milliseconds.

Parameters that are zero after construction are drawn anew, else nothing of the temporal and absent codes could be seen.
"""

from __future__ import annotations

from typing import Any

import torch

HIDDEN = 128


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


def sam3_video() -> Any:
    """A ``Sam3VideoModel``: detector and tracker in one checkpoint, as SAM 3 is published."""
    from transformers import Sam3VideoConfig, Sam3VideoModel

    tracker = sam3_tracker().config
    layers = {"hidden_size": HIDDEN, "num_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    detector = {
        "model_type": "sam3",
        "vision_config": tracker.vision_config.to_dict(),
        "geometry_encoder_config": layers,
        "detr_encoder_config": layers,
        "detr_decoder_config": {"num_queries": 6, **layers},
        "mask_decoder_config": {"hidden_size": HIDDEN, "num_attention_heads": 2},
        "text_config": {
            "model_type": "clip_text_model",
            "vocab_size": 64,
            "hidden_size": 32,
            "intermediate_size": 64,
            "projection_dim": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "max_position_embeddings": 8,
            "eos_token_id": 63,
            "bos_token_id": 62,
        },
    }
    torch.manual_seed(0)
    config = Sam3VideoConfig(detector_config=detector, tracker_config=tracker.to_dict(), low_res_mask_size=16)
    return Sam3VideoModel(config).eval()


def randomise(cls: Any, config: Any, changes: dict[str, Any], seed: int = 0, gain: float = 0.7) -> Any:
    """Builds the model with every parameter drawn anew, on the scale of trained ones, and objects mostly present."""
    for name, value in changes.items():
        setattr(config, name, value)
    torch.manual_seed(seed)
    model = cls(config).eval().float()
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() < 2:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
            else:
                # The library's initial weights are so small that memory would hardly show in the masks.
                fan_in = parameter.shape[-1] if "embed" in name else parameter[0].numel()
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * gain / max(fan_in, 1) ** 0.5)
        # Sharper attention and louder codes, else a wrong slot or position would hide below the tolerance.
        model.memory_temporal_positional_encoding.mul_(8.0)
        model.object_pointer_proj.proj_out.weight.mul_(20.0)
        model.no_object_pointer.mul_(8.0)
        if isinstance(model.temporal_positional_encoding_projection_layer, torch.nn.Linear):
            model.temporal_positional_encoding_projection_layer.weight.mul_(4.0)
        for layer in model.memory_attention.layers:
            layer.cross_attn_image.q_proj.weight.mul_(2.0)
            layer.cross_attn_image.k_proj.weight.mul_(2.0)
        # Random heads find half of the objects absent; most of the tests want to see masks.
        model.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(4.0)
    return model


def video(frames: int, size: int, seed: int = 3) -> torch.Tensor:
    """Normalised random video ``(T, 3, S, S)`` whose frames resemble their neighbours."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(frames // 2 + 2, 3, size // 8, size // 8, generator=generator)
    clip = torch.nn.functional.interpolate(
        coarse.permute(1, 0, 2, 3)[None], size=(frames, size, size), mode="trilinear", align_corners=True
    )[0].permute(1, 0, 2, 3)
    return (clip + 0.1 * torch.randn(clip.shape, generator=generator)).contiguous()
