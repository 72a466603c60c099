"""SAM 3's own detector: words and example boxes to masks, on the image features that its tracker has anyway.

Source: Carion et al., SAM 3: Segment Anything with Concepts, 2025; modules of transformers' ``Sam3VideoModel``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from keepsight.concepts.detector import Concept, Detections, Exemplar
from keepsight.core.errors import InputError, ModelError
from keepsight.models.loading import load_sam3_detector
from keepsight.models.sam3.detector import Sam3Eyes
from keepsight.models.sam3.examples import example_tokens
from keepsight.models.sam3.vision import Sam3Vision
from keepsight.models.sam3.whole import Sam3Backbone
from keepsight.tracking import Sight

REMEMBERED_TEXTS = 64
"""Texts whose embeddings are kept."""

REMEMBERED_EXAMPLES = 256
"""Frames with examples whose embeddings are kept, over all concepts."""


@dataclass(frozen=True, eq=False)
class _Tokens:
    """What a concept says to the detector: tokens ``(1, n, C)`` and which of them count, bool ``(1, n)``."""

    features: Tensor
    counts: Tensor

    def __add__(self, other: _Tokens) -> _Tokens:
        return _Tokens(torch.cat([self.features, other.features], 1), torch.cat([self.counts, other.counts], 1))


@dataclass(frozen=True, eq=False)
class _Words:
    """Text features in the form in which transformers hands them on."""

    pooler_output: Tensor


class Sam3Detector:
    """Finds what words name with SAM 3.

    Where the tracker is of the same :class:`~keepsight.models.sam3.whole.Sam3Backbone`, a frame goes through the image
    encoder once for both. Beside another tracker it encodes frames itself.

    Args:
        backbone: the whole of SAM 3, or its detector alone.
        tokenizer: of its text encoder; default: the one in the backbone's folder.
        least: detections with lower scores are not given.
        concepts_per_call: concepts that go through the head together; default 1 on a CPU, 8 elsewhere.
    """

    name = "sam3"
    understands_words = True
    frames_per_call = 1

    def __init__(
        self,
        backbone: Sam3Backbone | Sam3Eyes,
        tokenizer: Any = None,
        *,
        least: float = 0.05,
        concepts_per_call: int | None = None,
    ) -> None:
        self.backbone = backbone
        self.tokenizer = tokenizer if tokenizer is not None else tokenizer_of(backbone.folder)
        self.longest = int(backbone.detector.config.text_config.max_position_embeddings)
        self.least = least
        self.concepts_per_call = concepts_per_call or (1 if backbone.device.type == "cpu" else 8)
        self._texts: OrderedDict[str, _Tokens] = OrderedDict()
        self._examples: OrderedDict[tuple[str, tuple[Exemplar, ...]], _Tokens] = OrderedDict()

    @classmethod
    def load(
        cls, name: str | Path = "sam3", *, device: str = "auto", dtype: str = "auto", **settings: Any
    ) -> Sam3Detector:
        """A detector with weights of its own, for use beside another tracker.

        Args:
            name: "sam3", or the folder of a checkpoint of SAM 3 or of its detector alone.

        Raises:
            ModelError: unknown, not downloaded, gated or damaged, or a checkpoint without the detector.
        """
        return cls(load_sam3_detector(name, device=device, dtype=dtype), **settings)

    # -- what is asked -----------------------------------------------------------------------------------------------
    @torch.inference_mode()
    def learn(self, sight: Sight, concept: Concept, exemplar: Exemplar) -> None:
        """Takes in how the concept's examples on a frame look; see :class:`keepsight.concepts.TakesExemplars`."""
        together = _on_frame(concept, exemplar.frame)
        height, width = sight.size
        shares = [
            ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
            for x1, y1, x2, y2 in (_inside(one, height, width) for one in together)
        ]
        device, dtype = self.backbone.device, self.backbone.dtype
        tokens = example_tokens(
            self.backbone.detector.geometry_encoder,
            torch.tensor(shares, device=device, dtype=dtype),
            torch.tensor([int(one.positive) for one in together], device=device),
            self._vision(sight),
        )
        key = (concept.text.casefold(), together)
        counts = torch.ones(tokens.shape[:2], dtype=torch.bool, device=device)
        _keep(self._examples, key, _Tokens(tokens, counts), REMEMBERED_EXAMPLES)

    def _tokens(self, concept: Concept) -> _Tokens:
        tokens = self._text(concept.text)
        for frame in dict.fromkeys(exemplar.frame for exemplar in concept.exemplars):
            key = (concept.text.casefold(), _on_frame(concept, frame))
            if key not in self._examples:
                raise InputError(
                    f"sam3 was not shown the examples of '{concept.text}' on frame {frame}; add them again."
                )
            tokens = tokens + self._examples[key]
        return tokens

    def _text(self, text: str) -> _Tokens:
        if text not in self._texts:
            encoded = self.tokenizer(
                text, return_tensors="pt", padding="max_length", max_length=self.longest, truncation=True
            ).to(self.backbone.device)
            mask = encoded.attention_mask
            output = self.backbone.detector.get_text_features(
                input_ids=encoded.input_ids, attention_mask=mask, return_dict=True
            )
            _keep(self._texts, text, _Tokens(output.pooler_output, mask.bool()), REMEMBERED_TEXTS)
        return self._texts[text]

    # -- what is found -----------------------------------------------------------------------------------------------
    @torch.inference_mode()
    def detect(self, sights: Sequence[Sight], concepts: Sequence[Concept]) -> list[Detections]:
        """See :class:`keepsight.concepts.Detector`; masks are there."""
        asked = [self._tokens(concept) for concept in concepts]
        return [self._look(sight, concepts, asked) for sight in sights]

    def _vision(self, sight: Sight) -> Sam3Vision:
        if isinstance(self.backbone, Sam3Backbone) and sight.backbone is self.backbone:
            [row] = sight.see([sight.whole])
            return self.backbone.vision(sight.features, row)
        backbone: Any = self.backbone  # each reads the features that it made
        return backbone.vision(backbone.encode_image(backbone.preprocess(sight.pixels(sight.whole))), 0)

    def _look(self, sight: Sight, concepts: Sequence[Concept], asked: Sequence[_Tokens]) -> Detections:
        vision = self._vision(sight)
        height, width = sight.size
        numbers, scores, boxes, masks = [], [], [], []
        for members in _batches(asked, self.concepts_per_call):
            found = self.backbone.detector(
                vision_embeds=vision.expand(len(members)),
                text_embeds=_Words(torch.cat([asked[member].features for member in members])),
                attention_mask=torch.cat([asked[member].counts for member in members]),
            )
            sure = found.pred_logits.sigmoid() * found.presence_logits.sigmoid()
            for row, member in enumerate(members):
                picked = torch.nonzero(sure[row] > self.least).flatten()
                numbers += [concepts[member].number] * len(picked)
                scores.append(sure[row, picked].float())
                boxes.append(found.pred_boxes[row, picked].float())
                masks.append(found.pred_masks[row, picked].float())
        scale = np.array([width, height] * 2, np.float32)
        return Detections(
            np.array(numbers, np.int64),
            torch.cat(scores).cpu().numpy(),
            torch.cat(boxes).cpu().numpy() * scale,
            torch.cat(masks),
        )


def _batches(asked: Sequence[_Tokens], most: int) -> list[list[int]]:
    """Neighbours with the same number of tokens, at most ``most`` together."""
    batches: list[list[int]] = []
    for index, tokens in enumerate(asked):
        length = tokens.features.shape[1]
        if batches and len(batches[-1]) < most and asked[batches[-1][0]].features.shape[1] == length:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def _on_frame(concept: Concept, frame: int) -> tuple[Exemplar, ...]:
    return tuple(exemplar for exemplar in concept.exemplars if exemplar.frame == frame)


def _inside(exemplar: Exemplar, height: int, width: int) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = exemplar.box
    return max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))


def _keep(store: OrderedDict[Any, _Tokens], key: Any, tokens: _Tokens, most: int) -> None:
    store[key] = tokens
    store.move_to_end(key)
    while len(store) > most:
        store.popitem(last=False)


def tokenizer_of(folder: Path | None) -> Any:
    """The words of a SAM 3 checkpoint.

    Raises:
        ModelError: no folder, or none that can be read in it.
    """
    from transformers import AutoTokenizer

    if folder is None:
        raise ModelError("This SAM 3 was not loaded from a folder, so its words are unknown; give a tokenizer.")
    unreadable = ModelError(
        f"The folder {folder} has no tokenizer that can be read; download the model again with "
        "'keepsight models download sam3'."
    )
    # Without a word list the library makes a tokenizer that knows no words.
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        raise unreadable
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise unreadable from error
