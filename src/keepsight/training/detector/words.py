"""Phrases as the head takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn


class Words:
    """Text features of phrases.

    Args:
        detector: a ``Sam3Model``.
        tokenizer: its words.
        learning: compute them anew every time, with gradients; else each phrase once.
    """

    def __init__(self, detector: nn.Module, tokenizer: Any, *, learning: bool) -> None:
        self._detector = cast(Any, detector)
        self._tokenizer, self._learning = tokenizer, learning
        self._longest = int(self._detector.config.text_config.max_position_embeddings)
        self._known: dict[str, tuple[Tensor, Tensor]] = {}

    def __call__(self, phrases: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Features ``(B, n, C)`` and bool ``(B, n)``, which of the n tokens count."""
        if self._learning:
            return self._encode(phrases)
        new = [phrase for phrase in dict.fromkeys(phrases) if phrase not in self._known]
        if new:
            # At full precision whatever is asked around it, so that a phrase never depends on when it was asked first.
            with torch.no_grad(), torch.autocast(self._device.type, enabled=False):
                for phrase in new:
                    features, counts = self._encode([phrase])
                    self._known[phrase] = features.clone(), counts.clone()
        return tuple(torch.cat(parts) for parts in zip(*(self._known[phrase] for phrase in phrases), strict=True))  # type: ignore[return-value]

    @property
    def _device(self) -> torch.device:
        return cast(torch.device, next(self._detector.parameters()).device)

    def _encode(self, phrases: Sequence[str]) -> tuple[Tensor, Tensor]:
        said = self._tokenizer(
            list(phrases), return_tensors="pt", padding="max_length", max_length=self._longest, truncation=True
        ).to(self._device)
        output = self._detector.get_text_features(
            input_ids=said.input_ids, attention_mask=said.attention_mask, return_dict=True
        )
        return output.pooler_output, said.attention_mask.bool()
