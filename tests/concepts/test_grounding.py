"""Grounding DINO and OWLv2 against transformers' own post-processing; words, batches, and checkpoints from a folder."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import tiny_detectors
import torch
from safetensors.torch import load_file, save_file
from transformers.image_transforms import get_size_with_aspect_ratio
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil
from transformers.models.grounding_dino.processing_grounding_dino import GroundingDinoProcessor
from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil

from keepsight.concepts import Concept
from keepsight.concepts.grounding import GroundingDino, Owlv2, load_grounding, scaled_size
from keepsight.core import InputError, ModelError
from keepsight.models.loading import load_backbone
from keepsight.tracking import Sight

RAW = {"even": 0.5, "least": 0.0, "box_nms": 1.0}
CONCEPTS = [Concept(3, "Person in blue"), Concept(1, "cow")]
HEIGHT, WIDTH = 60, 90


def sight(seed=0):
    rgb = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return Sight(None, rgb)


@pytest.fixture(scope="module")
def dino():
    return tiny_detectors.grounding_dino(), tiny_detectors.bert_tokenizer()


@pytest.fixture(scope="module")
def owl():
    return tiny_detectors.owlv2(), tiny_detectors.clip_tokenizer()


def make(request, kind, **settings):
    model, tokenizer = request.getfixturevalue(kind)
    if kind == "dino":
        return GroundingDino(model, tokenizer, **{"shortest": 64, "longest": 90, **settings})
    return Owlv2(model, tokenizer, **settings)


def same(found, number, scores, boxes):
    """Whether the detections of one concept are these boxes and scores, in whatever order."""
    rows = found.concepts == number
    boxes = boxes.clamp(min=0).minimum(torch.tensor([WIDTH, HEIGHT] * 2)).numpy()
    real = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    assert real.sum() == rows.sum() >= 8
    order = np.argsort(-scores.numpy()[real], kind="stable")
    np.testing.assert_allclose(found.scores[rows], scores.numpy()[real][order], atol=1e-4)
    np.testing.assert_allclose(found.boxes[rows], boxes[real][order], atol=1e-4 * WIDTH)


def test_grounding_dino_is_what_transformers_makes_of_each_concepts_tokens(dino, request):
    model, tokenizer = dino
    detector = make(request, "dino", **RAW)
    [found] = detector.detect([sight()], CONCEPTS)
    text = GroundingDinoProcessor._preprocess_input_text(None, [concept.text for concept in CONCEPTS])
    inputs = tokenizer(text, return_tensors="pt")
    assert text == "person in blue. cow."
    frame = sight()
    with torch.inference_mode():
        out = model(pixel_values=detector.preprocess(frame.pixels(frame.whole)), **inputs)
    post = GroundingDinoProcessor.post_process_grounded_object_detection
    for concept, own in zip(CONCEPTS, ([1, 2, 3], [5]), strict=True):
        others = torch.ones(out.logits.shape[-1], dtype=torch.bool)
        others[own] = False
        only = type(out)(logits=out.logits.masked_fill(others, -torch.inf), pred_boxes=out.pred_boxes)
        tool = type("", (), {"batch_decode": lambda self, ids: [None] * len(ids)})()
        [theirs] = post(tool, only, inputs["input_ids"], threshold=0.0, target_sizes=[(HEIGHT, WIDTH)])
        same(found, concept.number, theirs["scores"], theirs["boxes"])


def test_owlv2_is_what_transformers_makes_of_each_query(owl, request):
    model, tokenizer = owl
    detector = make(request, "owl", **RAW)
    [found] = detector.detect([sight()], CONCEPTS)
    texts = ["a photo of a person in blue", "a photo of a cow"]
    inputs = tokenizer(texts, padding="max_length", max_length=32, return_tensors="pt")
    frame = sight()
    with torch.inference_mode():
        out = model(pixel_values=detector.preprocess(frame.pixels(frame.whole)), **inputs)
    for column, concept in enumerate(CONCEPTS):
        only = type(out)(logits=out.logits[..., [column]], pred_boxes=out.pred_boxes)
        [theirs] = Owlv2ImageProcessorPil().post_process_object_detection(only, 0.0, [(HEIGHT, WIDTH)])
        same(found, concept.number, theirs["scores"], theirs["boxes"])


@pytest.mark.parametrize("size", [(60, 90), (90, 60), (64, 64), (1080, 1920), (480, 853), (300, 2000)])
def test_frames_are_scaled_as_transformers_scales_them(size):
    assert scaled_size(*size, 800, 1333) == get_size_with_aspect_ratio(size, 800, 1333)


def test_pixels_are_those_of_the_image_processors(request):
    # Smooth, for the resampling itself differs in the last digits between torch and PIL or scipy.
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    rgb = np.stack((x * 2, y * 3, x + y), -1).astype(np.uint8)
    theirs = GroundingDinoImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 90})(rgb, return_tensors="pt")
    ours = make(request, "dino").preprocess(rgb)
    assert ours.shape == theirs["pixel_values"].shape
    assert (ours - theirs["pixel_values"]).abs().max() < 0.05
    theirs = Owlv2ImageProcessorPil(size={"height": 48, "width": 48})(rgb, return_tensors="pt")["pixel_values"]
    ours = make(request, "owl").preprocess(rgb)
    assert ours.shape == theirs.shape
    difference = (ours - theirs).abs()
    # The picture ends in the middle of the square, where it is resized before it is filled up.
    assert difference[..., :30, :].max() < 0.05
    assert difference[..., 34:, :].max() < 1e-5


@pytest.mark.parametrize("kind", ["dino", "owl"])
def test_frames_go_through_in_batches(kind, request):
    frames = [sight(seed) for seed in range(3)]
    together = make(request, kind, frames_per_call=2, **RAW).detect(frames, CONCEPTS)
    alone = [make(request, kind, **RAW).detect([frame], CONCEPTS)[0] for frame in frames]
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_array_equal(a.concepts, b.concepts)
        np.testing.assert_allclose(a.scores, b.scores, atol=1e-5)
        np.testing.assert_allclose(a.boxes, b.boxes, atol=1e-3)
    assert not np.allclose(together[0].scores, together[1].scores)


@pytest.mark.parametrize("kind", ["dino", "owl"])
def test_text_is_encoded_once(kind, request):
    detector = make(request, kind, **RAW)
    owner = detector.model.model.text_backbone.encoder if kind == "dino" else detector.model.owlv2.text_model
    calls = []
    hook = owner.register_forward_hook(lambda *_: calls.append(1))
    fresh = [Concept(1, "red car"), Concept(2, "traffic light")]
    for _ in range(2):
        detector.detect([sight(), sight(1)], fresh)
    hook.remove()
    assert len(calls) == (1 if kind == "dino" else len(fresh))


def test_scores_are_shifted_so_that_even_counts_as_one_half(request):
    raw = make(request, "owl", **RAW).detect([sight()], CONCEPTS)[0]
    middle = float(np.sort(raw.scores)[20])
    shifted = make(request, "owl", **{**RAW, "even": middle}).detect([sight()], CONCEPTS)[0]
    np.testing.assert_array_equal(raw.boxes, shifted.boxes)
    assert abs(shifted.scores[np.abs(raw.scores - middle).argmin()] - 0.5) < 1e-4
    cut = make(request, "owl", **{**RAW, "even": middle, "least": 0.5}).detect([sight()], CONCEPTS)[0]
    assert len(cut) in (len(raw) - 21, len(raw) - 20)


def test_of_boxes_that_overlap_one_stays_for_each_concept(request):
    every = make(request, "owl", **RAW).detect([sight()], CONCEPTS)[0]
    few = make(request, "owl", **{**RAW, "box_nms": 0.01}).detect([sight()], CONCEPTS)[0]
    assert 0 < len(few) < len(every)
    assert set(few.concepts) == set(every.concepts)
    capped = make(request, "owl", **RAW, most=2).detect([sight()], CONCEPTS)[0]
    np.testing.assert_array_equal(np.bincount(capped.concepts)[[1, 3]], [2, 2])


def test_many_concepts_are_asked_in_several_captions(request):
    detector = make(request, "dino", **RAW)
    texts = ["person in blue", "red car", "traffic light", "cow", "an an an an an", "the the the the the"]
    concepts = [Concept(number, text) for number, text in enumerate(texts, start=1)]
    captions = detector.captions(concepts)
    assert [len(tokens) <= 24 for tokens, _ in captions] == [True, True]
    first, second = (len(spans) for _, spans in captions)
    assert (first, second) == (5, 1)
    for tokens, spans in captions:
        assert [tokens[span.stop] for span in spans] == [1012] * len(spans)
    [found] = detector.detect([sight()], concepts)
    [alone] = detector.detect([sight()], concepts[5:])
    rows = found.concepts == 6
    np.testing.assert_allclose(found.scores[rows], alone.scores, atol=1e-5)
    assert set(found.concepts) == {1, 2, 3, 4, 5, 6}


@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        ("dino", "cow " * 30, "too long for grounding-dino: 30 tokens, at most 21"),
        ("dino", " . ? ", "no word"),
        ("owl", "c" * 40, "too long for owlv2.*at most 32.*--detector grounding-dino"),
    ],
)
def test_a_text_that_cannot_be_read_is_one_line(kind, text, says, request):
    with pytest.raises(InputError, match=says) as caught:
        make(request, kind).detect([sight()], [Concept(1, text)])
    assert "\n" not in str(caught.value)


def test_a_full_stop_inside_a_concept_does_not_cut_it(request):
    [(tokens, [span])] = make(request, "dino").captions([Concept(1, "the. cow?")])
    assert tokens[span] == [210, 200]


@pytest.fixture(scope="module", params=["dino", "owl"])
def saved(request, tmp_path_factory):
    model, tokenizer = request.getfixturevalue(request.param)
    if request.param == "dino":
        model = tiny_detectors.grounding_dino()  # without our text memory, as it is published
    return request.param, tiny_detectors.save(model, tokenizer, tmp_path_factory.mktemp(request.param))


def test_a_folder_is_loaded_as_it_was_saved(saved, request):
    kind, folder = saved
    small = {"shortest": 64, "longest": 90} if kind == "dino" else {}
    detector = load_grounding(folder, device="cpu", **small, **RAW)
    assert (detector.name, detector.understands_words, detector.model.training) == (str(folder), True, False)
    [a], [b] = (d.detect([sight()], CONCEPTS) for d in (detector, make(request, kind, **RAW)))
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-5)


@pytest.mark.parametrize("change", ["missing", "left over"])
def test_every_weight_is_accounted_for(saved, change, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(saved[1], folder)
    tensors = load_file(folder / "model.safetensors")
    name = next(key for key in tensors if "box" in key and key.endswith("weight"))
    if change == "missing":
        del tensors[name]
    else:
        tensors["stray.weight"] = torch.zeros(2)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="stray.weight" if change == "left over" else "unset"):
        load_grounding(folder, device="cpu")


def test_a_detector_without_its_tokenizer_is_one_line(saved, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(saved[1] / name, folder)
    with pytest.raises(ModelError, match="no tokenizer that can be read") as caught:
        load_grounding(folder, device="cpu")
    assert "\n" not in str(caught.value)


def test_not_here_not_a_detector_not_a_tracker(saved, tmp_path, monkeypatch):
    for module in ("constants", "file_download"):
        monkeypatch.setattr(f"huggingface_hub.{module}.HF_HUB_CACHE", str(tmp_path), raising=False)
    with pytest.raises(ModelError, match=r"run `keepsight models download grounding-dino` \(about 689 MB\)"):
        load_grounding("grounding-dino-tiny")
    with pytest.raises(ModelError, match="does not find objects by words"):
        load_grounding("builtin")
    with pytest.raises(ModelError, match="--detector"):
        load_backbone(saved[1])


@pytest.mark.parametrize("settings", [{"even": 0.0}, {"even": 1.0}, {"box_nms": 0.0}, {"most": 0}, {"least": 1.5}])
def test_settings_are_checked(settings, request):
    with pytest.raises(InputError):
        make(request, "owl", **settings)
