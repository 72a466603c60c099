"""Detectors that understand words, with open weights: Grounding DINO and OWLv2, through transformers.

Grounding DINO (Liu et al., ECCV 2024) reads all concepts as one caption, "a. b.", and says of each box how well it goes with
each token; a concept's score is the best of its own tokens, known by their place in the caption. OWLv2 (Minderer et al.,
NeurIPS 2023) compares each patch of the picture with an embedding of each concept. Both give boxes; masks are the tracker's.

Pictures are prepared here, in torch: the library's own image processors need a further package.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from keepsight.concepts.detector import Concept, Detections
from keepsight.concepts.overlap import box_overlaps, keep_best
from keepsight.core.errors import InputError, ModelError
from keepsight.models.devices import resolve_device
from keepsight.models.download import missing_weights
from keepsight.models.loading import from_folder
from keepsight.models.preprocess import resize_and_normalise
from keepsight.models.registry import ModelEntry, local_dir, resolve
from keepsight.tracking import Sight

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))

REMEMBERED_TEXTS = 64
"""Texts whose features are kept."""


class WordDetector(ABC):
    """What the two have in common: batches of frames, scores on one scale, one box an instance.

    Args:
        even: the model's own score that counts as 0.5, so that the same thresholds fit every detector: scores are shifted on
            the scale of logits. At 0.5 they are left as they are.
        least: scores below, after the shift, are not given.
        box_nms: of two boxes of one concept that overlap by more, IoU, the better one stays; 1 keeps both.
        most: boxes a concept at most, on one frame.
        frames_per_call: frames that go through the model together.
    """

    understands_words = True

    def __init__(
        self,
        name: str,
        device: torch.device,
        *,
        even: float,
        least: float = 0.2,
        box_nms: float = 0.6,
        most: int = 200,
        frames_per_call: int | None = None,
    ) -> None:
        if not 0 < even < 1:
            raise InputError(f"{name}: even is a score between 0 and 1, not {even}.")
        if not (0 <= least <= 1 and 0 < box_nms <= 1 and most >= 1):
            raise InputError(f"{name}: least is in [0, 1], box_nms in (0, 1] and most at least 1.")
        self.name = name
        self.device = device
        self.shift = float(np.log(even / (1 - even)))
        self.least, self.box_nms, self.most = least, box_nms, most
        # On a CPU a batch gains nothing and takes memory.
        self.frames_per_call = frames_per_call or (1 if device.type == "cpu" else 4)

    @torch.inference_mode()
    def detect(self, sights: Sequence[Sight], concepts: Sequence[Concept]) -> list[Detections]:
        """See :class:`keepsight.concepts.Detector`.

        Raises:
            InputError: a concept that the model cannot read: too many words, or an exemplar in place of them.
        """
        found: list[Detections] = []
        for start in range(0, len(sights), self.frames_per_call):
            part = sights[start : start + self.frames_per_call]
            sizes = {sight.size for sight in part}
            # Frames of a video are of one size; others do not share a batch.
            groups = [part] if len(sizes) == 1 else [[sight] for sight in part]
            for group in groups:
                height, width = group[0].size
                pixels = torch.cat([self.preprocess(sight.pixels(sight.whole)) for sight in group])
                logits, boxes = self._answer(pixels, concepts)
                corners = self._corners(boxes.float(), height, width).cpu().numpy()
                scores = (logits.float() - self.shift).sigmoid().cpu().numpy()
                found += [self._pick(s, b, concepts, height, width) for s, b in zip(scores, corners, strict=True)]
        return found

    @abstractmethod
    def preprocess(self, rgb: NDArray[np.uint8]) -> Tensor:
        """A frame, uint8 ``(H, W, 3)``, as the model's input ``(1, 3, h, w)``."""

    @abstractmethod
    def _answer(self, pixels: Tensor, concepts: Sequence[Concept]) -> tuple[Tensor, Tensor]:
        """Logits ``(B, Q, C)``, one column a concept, and boxes ``(B, Q, 4)``: centre and size as shares."""

    @abstractmethod
    def _corners(self, boxes: Tensor, height: int, width: int) -> Tensor:
        """Boxes ``(B, Q, 4)`` as corners in px of the frame."""

    def _pick(
        self,
        scores: NDArray[np.float32],
        boxes: NDArray[np.float32],
        concepts: Sequence[Concept],
        height: int,
        width: int,
    ) -> Detections:
        """Detections of one frame from ``scores`` ``(Q, C)`` and ``boxes`` ``(Q, 4)``."""
        scores = np.where(np.isfinite(scores), scores, 0)
        rank = np.argsort(np.argsort(-scores, axis=0, kind="stable"), axis=0)
        queries, columns = np.nonzero((scores > self.least) & (rank < self.most))
        limit = np.array([width, height] * 2, np.float32)
        chosen = np.clip(boxes[queries], 0, limit)
        real = (chosen[:, 2] > chosen[:, 0]) & (chosen[:, 3] > chosen[:, 1])
        queries, columns, chosen = queries[real], columns[real], chosen[real]
        values = scores[queries, columns]
        numbers = np.array([concept.number for concept in concepts], np.int64)[columns]
        kept = keep_best(box_overlaps(chosen, chosen), values, self.box_nms, numbers)
        return Detections(numbers[kept], values[kept].astype(np.float32), chosen[kept].astype(np.float32))


class GroundingDino(WordDetector):
    """Grounding DINO.

    Args:
        model: a ``GroundingDinoForObjectDetection``.
        tokenizer: of its text part (BERT's word pieces).
        shortest, longest: sides of the input in px: the shorter side of a frame becomes ``shortest`` unless the longer one would
            pass ``longest``. Down: faster, misses small things.
        settings: see :class:`WordDetector`.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        name: str = "grounding-dino",
        *,
        shortest: int = 800,
        longest: int = 1333,
        even: float = 0.25,
        **settings: Any,
    ) -> None:
        super().__init__(name, model.device, even=even, **settings)
        self.model, self.tokenizer = model.eval(), tokenizer
        self.shortest, self.longest = shortest, longest
        if not isinstance(model.model.text_backbone, _RememberedText):
            model.model.text_backbone = _RememberedText(model.model.text_backbone)

    def preprocess(self, rgb: NDArray[np.uint8]) -> Tensor:
        height, width = scaled_size(rgb.shape[0], rgb.shape[1], self.shortest, self.longest)
        return resize_and_normalise(
            rgb, (height, width), mean=IMAGENET[0], std=IMAGENET[1], device=self.device, dtype=self.model.dtype
        )

    def captions(self, concepts: Sequence[Concept]) -> list[tuple[list[int], list[slice]]]:
        """Token ids of captions that hold all concepts in turn, and where in its caption each one's tokens are.

        As few captions as the model's text length allows, one as a rule.

        Raises:
            InputError: a concept that has no word in it, or too many.
        """
        config = self.model.config
        dot = self.tokenizer.convert_tokens_to_ids(".")
        first, last = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        captions: list[tuple[list[int], list[slice]]] = []
        for concept in concepts:
            # A full stop or a question mark ends a phrase: inside of one they would cut it in two.
            words = " ".join(concept.text.lower().replace(".", " ").replace("?", " ").split())
            ids = self.tokenizer(words, add_special_tokens=False)["input_ids"] if words else []
            if not ids:
                raise InputError(f"'{concept.text}' has no word that {self.name} could look for.")
            if len(ids) > config.max_text_len - 3:
                raise InputError(
                    f"'{concept.text[:30]}...' is too long for {self.name}: {len(ids)} tokens, at most "
                    f"{config.max_text_len - 3}. Use a shorter phrase."
                )
            if not captions or len(captions[-1][0]) + len(ids) + 1 > config.max_text_len:
                captions.append(([first, last], []))
            tokens, spans = captions[-1]
            tokens[-1:] = [*ids, dot, last]
            spans.append(slice(len(tokens) - 2 - len(ids), len(tokens) - 2))
        return captions

    def _answer(self, pixels: Tensor, concepts: Sequence[Concept]) -> tuple[Tensor, Tensor]:
        parts, boxes = [], []
        captions = self.captions(concepts)
        for tokens, spans in captions:
            ids = torch.tensor([tokens], device=self.device).expand(len(pixels), -1)
            out = self.model(pixel_values=pixels, input_ids=ids)
            parts.append(torch.stack([out.logits[..., span].amax(-1) for span in spans], -1))
            boxes.append(out.pred_boxes)
        if len(captions) == 1:
            return parts[0], boxes[0]
        # Each caption has queries of its own, which say nothing about the concepts of the others.
        count = sum(part.shape[-1] for part in parts)
        rows, column = [], 0
        for part in parts:
            row = part.new_full((*part.shape[:2], count), -torch.inf)
            row[..., column : column + part.shape[-1]] = part
            column += part.shape[-1]
            rows.append(row)
        return torch.cat(rows, 1), torch.cat(boxes, 1)

    def _corners(self, boxes: Tensor, height: int, width: int) -> Tensor:
        return _to_corners(boxes) * boxes.new_tensor([width, height] * 2)


class Owlv2(WordDetector):
    """OWLv2.

    Args:
        model: an ``Owlv2ForObjectDetection``.
        tokenizer: of its text part (CLIP's).
        settings: see :class:`WordDetector`.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        name: str = "owlv2",
        *,
        even: float = 0.1,
        box_nms: float = 0.5,
        **settings: Any,
    ) -> None:
        super().__init__(name, model.device, even=even, box_nms=box_nms, **settings)
        self.model, self.tokenizer = model.eval(), tokenizer
        self.side = int(model.config.vision_config.image_size)
        self._queries: dict[str, Tensor] = {}

    def preprocess(self, rgb: NDArray[np.uint8]) -> Tensor:
        """Scaled to fit a square and filled up with black, right and below."""
        scale = self.side / max(rgb.shape[:2])
        height, width = (max(1, round(length * scale)) for length in rgb.shape[:2])
        pixels = resize_and_normalise(
            rgb, (height, width), mean=CLIP[0], std=CLIP[1], device=self.device, dtype=self.model.dtype
        )
        mean, std = (pixels.new_tensor(values)[:, None, None] for values in CLIP)
        square = (-mean / std).expand(1, 3, self.side, self.side).clone()
        square[..., :height, :width] = pixels
        return square

    def phrase(self, concept: Concept) -> str:
        """A concept in the words that CLIP's training showed most often."""
        text = concept.text.lower()
        article = "" if text.startswith(("a ", "an ", "the ")) else "a "
        return f"a photo of {article}{text}"

    def queries(self, concepts: Sequence[Concept]) -> Tensor:
        """Embeddings ``(C, D)`` of the concepts.

        Raises:
            InputError: more tokens than the model reads.
        """
        length = int(self.model.config.text_config.max_position_embeddings)
        texts = [self.phrase(concept) for concept in concepts]
        for text, concept in zip(texts, concepts, strict=True):
            if text in self._queries:
                continue
            ids = self.tokenizer(text)["input_ids"]
            if len(ids) > length:
                raise InputError(
                    f"'{concept.text[:30]}...' is too long for {self.name}: with \"a photo of\" it has {len(ids)} tokens, "
                    f"at most {length}. Use a shorter phrase, or --detector grounding-dino."
                )
            batch = self.tokenizer([text], padding="max_length", max_length=length, return_tensors="pt").to(self.device)
            out = self.model.owlv2.get_text_features(
                input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], return_dict=True
            )
            features = out.pooler_output[0]
            if len(self._queries) >= REMEMBERED_TEXTS:
                del self._queries[next(iter(self._queries))]
            self._queries[text] = features / features.norm()
        return torch.stack([self._queries[text] for text in texts])

    def _answer(self, pixels: Tensor, concepts: Sequence[Concept]) -> tuple[Tensor, Tensor]:
        maps, _ = self.model.image_embedder(pixels)
        patches = maps.flatten(1, 2)
        queries = self.queries(concepts)[None].expand(len(pixels), -1, -1)
        logits, _ = self.model.class_predictor(patches, queries)
        return logits, self.model.box_predictor(patches, maps)

    def _corners(self, boxes: Tensor, height: int, width: int) -> Tensor:
        return _to_corners(boxes) * max(height, width)


def load_grounding(name: str | Path, *, device: str = "auto", **settings: Any) -> WordDetector:
    """Loads Grounding DINO or OWLv2 by name, hub id (already downloaded) or local folder.

    Args:
        name: "grounding-dino", "grounding-dino-base", "owlv2", "owlv2-large", a folder with config.json and safetensors, ...
        device: see :mod:`keepsight.models.devices`.
        settings: of :class:`GroundingDino` or :class:`Owlv2`.

    Raises:
        ModelError: unknown, no detector, not downloaded, damaged, or with weights missing or left over.
        InputError: a device or a setting that cannot be used.
    """
    entry = resolve(name)
    folder = local_dir(entry)
    if folder is None:
        raise missing_weights(entry)
    if not entry.detects:
        raise ModelError(f"{entry.title} does not find objects by words; see `keepsight models`.")
    import transformers

    target = resolve_device(device)
    cls: Any = getattr(
        transformers, "GroundingDinoForObjectDetection" if _is_dino(entry) else "Owlv2ForObjectDetection"
    )
    model = from_folder(cls, folder, entry, torch.float32).to(target)
    tokenizer = _tokenizer(folder, entry)
    return (GroundingDino if _is_dino(entry) else Owlv2)(model, tokenizer, entry.name, **settings)


def _is_dino(entry: ModelEntry) -> bool:
    return entry.family == "grounding-dino"


def _tokenizer(folder: Path, entry: ModelEntry) -> Any:
    from transformers import AutoTokenizer

    unreadable = ModelError(
        f"{entry.title} in {folder} has no tokenizer that can be read; download it again, or copy its tokenizer.json beside "
        "the weights."
    )
    # Without any of them the library makes an empty tokenizer and says nothing.
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt", "vocab.json")):
        raise unreadable
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise unreadable from error


class _RememberedText(nn.Module):
    """A text encoder that computes the same caption once; all rows of a batch hold the same one."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self._known: dict[tuple[int, ...], Any] = {}

    def forward(self, input_ids: Tensor, mask: Tensor, types: Tensor, positions: Tensor, **options: Any) -> Any:
        key = tuple(input_ids[0].tolist())
        if key not in self._known:
            if len(self._known) >= REMEMBERED_TEXTS:
                del self._known[next(iter(self._known))]
            self._known[key] = self.encoder(input_ids[:1], mask[:1], types[:1], positions[:1], **options)[0]
        from transformers.modeling_outputs import BaseModelOutput

        return BaseModelOutput(last_hidden_state=self._known[key].expand(len(input_ids), -1, -1))


def scaled_size(height: int, width: int, shortest: int, longest: int) -> tuple[int, int]:
    """Sides of a picture whose shorter one is to be ``shortest``, or as much as keeps the longer one within ``longest``."""
    low, high = min(height, width), max(height, width)
    wanted = float(shortest)
    if high / low * shortest > longest:
        wanted = longest * low / high
    short, long = round(wanted), int(wanted * high / low)
    return (short, long) if height <= width else (long, short)


def _to_corners(boxes: Tensor) -> Tensor:
    centre, size = boxes[..., :2], boxes[..., 2:]
    return torch.cat((centre - size / 2, centre + size / 2), -1)
