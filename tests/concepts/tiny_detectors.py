"""Random-weight Grounding DINO and OWLv2 of a few thousand parameters, with tokenizers that need no download."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

WORDS = ["cow", "person", "in", "blue", "red", "car", "a", "photo", "of", "an", "the", "traffic", "light", "##s"]


def bert_tokenizer() -> Any:
    """BERT's word pieces; the ids of ``[CLS] [SEP] . ?`` are those that Grounding DINO has wired in."""
    from transformers import BertTokenizer

    vocabulary = [f"[unused{i}]" for i in range(1100)]
    for place, token in {
        0: "[PAD]",
        100: "[UNK]",
        101: "[CLS]",
        102: "[SEP]",
        103: "[MASK]",
        1012: ".",
        1029: "?",
    }.items():
        vocabulary[place] = token
    vocabulary[200 : 200 + len(WORDS)] = WORDS
    return BertTokenizer(vocab={token: i for i, token in enumerate(vocabulary)}, do_lower_case=True)


def clip_tokenizer() -> Any:
    """CLIP's byte pairs, without a single merge: every letter is a token."""
    from transformers import CLIPTokenizer

    letters = [chr(code) for code in range(33, 127)]
    vocabulary = {token: i for i, token in enumerate(letters + [letter + "</w>" for letter in letters])}
    vocabulary |= {"<|startoftext|>": len(vocabulary), "<|endoftext|>": len(vocabulary) + 1}
    return CLIPTokenizer(vocab=vocabulary, merges=[])


def grounding_dino() -> Any:
    from transformers import BertConfig, GroundingDinoConfig, GroundingDinoForObjectDetection, SwinConfig

    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            image_size=32,
            embed_dim=8,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 2, 2],
            window_size=2,
            out_features=["stage2", "stage3", "stage4"],
        ),
        text_config=BertConfig(
            vocab_size=1100, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
        ),
        d_model=32,
        num_queries=12,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_text_len=24,
    )
    return _randomised(GroundingDinoForObjectDetection, config)


def owlv2() -> Any:
    from transformers import Owlv2Config, Owlv2ForObjectDetection

    layers = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Owlv2Config(
        text_config={
            **layers,
            "vocab_size": 190,
            "max_position_embeddings": 32,
            "bos_token_id": 188,
            "eos_token_id": 189,
        },
        vision_config={**layers, "image_size": 48, "patch_size": 8},
        projection_dim=32,
    )
    return _randomised(Owlv2ForObjectDetection, config)


def _randomised(cls: Any, config: Any) -> Any:
    """With weights large enough that words and pictures show in the answers."""
    torch.manual_seed(0)
    model = cls(config).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / parameter[0].numel() ** 0.5)
            else:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


def save(model: Any, tokenizer: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["model_type"]
    return folder
