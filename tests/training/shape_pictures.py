"""Generated pictures of coloured shapes with their COCO file, and a SAM 3 small enough to learn them on a CPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from pycocotools import mask as runs

from tiny_models import word_tokenizer

COLOURS = {"red": (220, 40, 40), "green": (40, 190, 60), "blue": (50, 70, 220)}
SIDE = 32


def draw_picture(rng: np.random.Generator, side: int = SIDE) -> tuple[np.ndarray, list[tuple[str, np.ndarray]]]:
    """uint8 ``(S, S, 3)`` and for each shape its name and bool ``(S, S)``: one at most in a quarter, of one or two colours."""
    picture = np.full((side, side, 3), rng.integers(100, 150), np.float32) + rng.normal(0, 6, (side, side, 1))
    names = rng.permutation(list(COLOURS))[: rng.integers(1, 3)]
    shapes: list[tuple[str, np.ndarray]] = []
    half = side // 2
    for quarter in rng.permutation(4)[: rng.integers(1, 4)]:
        canvas = np.zeros((side, side), np.uint8)
        across, down = (int(value) for value in rng.integers(half // 2 + 2, half - 1, 2))
        x = int(quarter % 2 * half + rng.integers(0, half - across))
        y = int(quarter // 2 * half + rng.integers(0, half - down))
        if rng.random() < 0.5:
            canvas[y : y + down, x : x + across] = 1
        else:
            cv2.ellipse(canvas, (x + across // 2, y + down // 2), (across // 2, down // 2), 0, 0, 360, 1, -1)
        name = str(rng.choice(names))
        picture[canvas > 0] = np.array(COLOURS[name]) + rng.normal(0, 10, 3)
        shapes.append((name, canvas > 0))
    return np.clip(picture, 0, 255).astype(np.uint8), shapes


def write_shapes(folder: Path, count: int, seed: int = 0, side: int = SIDE) -> Path:
    """A folder with ``images/`` and ``annotations.json``."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    numbers = {name: number for number, name in enumerate(COLOURS, 1)}
    for image in range(1, count + 1):
        picture, shapes = draw_picture(rng, side)
        cv2.imwrite(str(folder / "images" / f"{image:04d}.png"), picture[..., ::-1])
        images.append({"id": image, "file_name": f"{image:04d}.png", "height": side, "width": side})
        for name, pixels in shapes:
            shape = runs.encode(np.asfortranarray(pixels, np.uint8))
            box = [float(value) for value in runs.toBbox(shape)]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": numbers[name],
                    "segmentation": {"size": [side, side], "counts": shape["counts"].decode()},
                    "bbox": box,
                    "area": int(pixels.sum()),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    data = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(data))
    return folder


def tokenizer() -> Any:
    """Three colours, as a tokenizer."""
    return word_tokenizer(tuple(COLOURS), 14, 15)


def tiny_config(side: int = SIDE, hidden: int = 32, queries: int = 4, layers: int = 1) -> Any:
    """A ``Sam3Config``: patches of 8 px, no dropout."""
    from transformers import Sam3Config

    grid = side // 8
    heads = {
        "hidden_size": hidden,
        "num_layers": layers,
        "num_attention_heads": 4,
        "intermediate_size": 2 * hidden,
        "dropout": 0.0,
    }
    return Sam3Config(
        vision_config={
            "model_type": "sam3_vision_model",
            "fpn_hidden_size": hidden,
            "backbone_feature_sizes": [[4 * grid] * 2, [2 * grid] * 2, [grid] * 2],
            "backbone_config": {
                "model_type": "sam3_vit_model",
                "hidden_size": 48,
                "intermediate_size": 96,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "image_size": side,
                "patch_size": 8,
                "window_size": 4,
                "global_attn_indexes": [1],
                "pretrain_image_size": 32,
            },
        },
        geometry_encoder_config=heads,
        detr_encoder_config=heads,
        detr_decoder_config={"num_queries": queries, **heads},
        mask_decoder_config={"hidden_size": hidden, "num_attention_heads": 4},
        text_config={
            "model_type": "clip_text_model",
            "vocab_size": 16,
            "hidden_size": 32,
            "intermediate_size": 64,
            "projection_dim": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "max_position_embeddings": 4,
            "eos_token_id": 15,
            "bos_token_id": 14,
        },
    )


def save_tiny(folder: Path, seed: int = 0, **changes: Any) -> Path:
    """A folder with a tiny detector, random weights, and its words."""
    from transformers import Sam3Model

    torch.manual_seed(seed)
    model = Sam3Model(tiny_config(**changes)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "embed" not in name:
                torch.nn.init.xavier_uniform_(parameter.view(len(parameter), -1))
            elif "embed" in name or "token" in name or "points" in name:
                torch.nn.init.normal_(parameter, std=0.5)
        # A query looks at each quarter first, as trained ones have their places.
        quarters = torch.tensor([[x, y, 0.4, 0.4] for y in (0.25, 0.75) for x in (0.25, 0.75)])
        model.detr_decoder.reference_points.weight[:4] = torch.log(quarters / (1 - quarters))
        model.detr_decoder.box_head.layer3.weight.mul_(0.1)
        # Masks begin near the edge of on and off.
        model.mask_decoder.mask_embedder.layers[-1].weight.mul_(0.1)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
