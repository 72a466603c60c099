"""SAM 3's detector: the same answers as transformers', one image pass for detector and tracker, examples, loading."""

from __future__ import annotations

import types

import numpy as np
import pytest
import torch
from tiny_sam3 import LONGEST, SIZE, PixelSam3, sam3, session_of, tokenizer

import keepsight
from keepsight.concepts import Concept, ConceptRules, ConceptSession, Exemplar
from keepsight.concepts.choosing import choose, pick
from keepsight.concepts.sam3 import Sam3Detector
from keepsight.core import InputError, ModelError
from keepsight.models.builtin.backbone import load_builtin
from keepsight.models.sam3.examples import example_tokens, roi_align
from keepsight.models.sam3.whole import Sam3Backbone
from keepsight.tracking import Sight, Tracker
from reference import indexed_video
from tiny_models import video

CONCEPTS = [Concept(1, "cow"), Concept(2, "person in blue")]


@pytest.fixture(scope="module")
def whole():
    model = sam3(0)
    return model, PixelSam3(model, video(4, SIZE))


def detector_of(backbone, **settings) -> Sam3Detector:
    return Sam3Detector(backbone, tokenizer(), **{"least": 0.0, **settings})


def sight_of(backbone, frame: int) -> Sight:
    return Sight(backbone, indexed_video(4, SIZE).read(frame).rgb)


def answer_of(model, clip, frame: int, word: str):
    words = tokenizer()(word, return_tensors="pt", padding="max_length", max_length=LONGEST)
    with torch.inference_mode():
        found = model.detector_model(
            pixel_values=clip[frame][None], input_ids=words.input_ids, attention_mask=words.attention_mask
        )
    return found, (found.pred_logits.sigmoid() * found.presence_logits.sigmoid())[0]


@pytest.mark.parametrize("together", [1, 4])
def test_detections_are_transformers(whole, together):
    model, backbone = whole
    detector = detector_of(backbone, concepts_per_call=together)
    [found] = detector.detect([sight_of(backbone, 2)], CONCEPTS)
    for concept in CONCEPTS:
        mine = found.only(found.concepts == concept.number)
        expected, scores = answer_of(model, backbone.clip, 2, concept.text)
        assert np.allclose(mine.scores, scores, atol=1e-5)
        assert np.allclose(mine.boxes, expected.pred_boxes[0] * SIZE, atol=1e-3)
        assert torch.allclose(mine.masks, expected.pred_masks[0], atol=1e-4)


def test_a_frame_goes_through_the_image_encoder_once_for_both():
    model = sam3(1, score_threshold_detection=0.3, new_det_thresh=0.3)
    clip = video(6, SIZE)
    passes = []
    hook = model.detector_model.vision_encoder.backbone.register_forward_hook(lambda *_: passes.append(1))
    texts = []
    words = model.detector_model.text_encoder.register_forward_hook(lambda *_: texts.append(1))
    made = session_of(model, clip, ["cow", "person in blue"])
    results = list(made.propagate())
    hook.remove()
    words.remove()
    assert len(results) == 6
    assert made.units_decoded > 0
    assert len(passes) == 6
    assert len(texts) == 2


def test_beside_another_tracker_it_encodes_frames_itself(whole):
    _, backbone = whole
    other = PixelSam3(sam3(5), backbone.clip)
    detector = detector_of(backbone)
    [alone], [shared] = (detector.detect([sight_of(b, 1)], CONCEPTS) for b in (other, backbone))
    assert np.array_equal(alone.scores, shared.scores)


# -- examples ------------------------------------------------------------------------------------------------------
def pooled_slowly(features: torch.Tensor, box: list[float], size: int) -> torch.Tensor:
    """Mask R-CNN's pooling written out, sample by sample."""
    x1, y1, x2, y2 = box
    width, height = max(x2 - x1, 1.0), max(y2 - y1, 1.0)
    across, down = int(np.ceil(width / size)), int(np.ceil(height / size))
    rows, columns = features.shape[-2:]

    def sample(y: float, x: float) -> torch.Tensor:
        if not (-1 <= y <= rows and -1 <= x <= columns):
            return torch.zeros(len(features))
        y, x = min(max(y, 0), rows - 1), min(max(x, 0), columns - 1)
        y0, x0 = int(y), int(x)
        y9, x9 = min(y0 + 1, rows - 1), min(x0 + 1, columns - 1)
        top = features[:, y0, x0] * (1 - x + x0) + features[:, y0, x9] * (x - x0)
        bottom = features[:, y9, x0] * (1 - x + x0) + features[:, y9, x9] * (x - x0)
        return top * (1 - y + y0) + bottom * (y - y0)

    out = torch.zeros(len(features), size, size)
    for row in range(size):
        for column in range(size):
            samples = [
                sample(y1 + (row + (i + 0.5) / down) * height / size, x1 + (column + (j + 0.5) / across) * width / size)
                for i in range(down)
                for j in range(across)
            ]
            out[:, row, column] = torch.stack(samples).mean(0)
    return out


def test_pooling_is_mask_r_cnns():
    features = torch.randn(3, 12, 17, generator=torch.Generator().manual_seed(0))
    boxes = [[1.0, 2.0, 9.5, 11.0], [4.2, 0.0, 4.4, 12.0], [-3.0, -2.0, 20.0, 15.0], [16.0, 11.0, 17.0, 12.0]]
    got = roi_align(features, torch.tensor(boxes), 7)
    for row, box in enumerate(boxes):
        assert torch.allclose(got[row], pooled_slowly(features, box, 7), atol=1e-5), box


def test_example_tokens_are_transformers(whole, monkeypatch):
    import transformers.models.sam3.modeling_sam3 as theirs

    model, backbone = whole
    pool = types.SimpleNamespace(ops=types.SimpleNamespace(roi_align=lambda f, b, size: roi_align(f[0], b[0], size)))
    monkeypatch.setattr(theirs, "torchvision", pool, raising=False)
    sight = sight_of(backbone, 0)
    [row] = sight.see([sight.whole])
    vision = backbone.vision(sight.features, row)
    boxes, signs = torch.tensor([[0.3, 0.4, 0.2, 0.5], [0.7, 0.6, 0.4, 0.3]]), torch.tensor([1, 0])
    encoder = model.detector_model.geometry_encoder
    with torch.inference_mode():
        expected = encoder(
            boxes[None],
            torch.ones(1, 2, dtype=torch.bool),
            signs[None],
            vision.fpn_hidden_states[:-1],
            vision.fpn_position_encoding[:-1],
        ).last_hidden_state
    assert torch.allclose(example_tokens(encoder, boxes, signs, vision), expected, atol=1e-5)


def test_an_example_changes_what_is_found_on_every_frame_and_its_sign_matters():
    def scores(positive: bool | None) -> list[np.ndarray]:
        made = session_of(sam3(0), video(4, SIZE), ["cow"])
        if positive is not None:
            taught = made.add_exemplar("cow", 0, (10, 10, 30, 40), positive=positive)
            assert taught.exemplars == (Exemplar(0, (10.0, 10.0, 30.0, 40.0), positive),)
        sights = [sight_of(made.backbone, frame) for frame in (0, 3)]
        return [found.scores for found in made.detector.detect(sights, made.concepts)]

    plain, yes, no = scores(None), scores(True), scores(False)
    for frame in (0, 1):
        assert not np.allclose(plain[frame], yes[frame], atol=1e-3)
        assert not np.allclose(yes[frame], no[frame], atol=1e-3)


def test_examples_survive_a_checkpoint():
    model, clip = sam3(0), video(4, SIZE)
    rules = ConceptRules(score_threshold=0.2, new_score=0.2, hotstart_frames=0)
    made = session_of(model, clip, ["cow"], rules)
    made.add_exemplar("cow", 0, (10, 10, 30, 40))
    steps = made.propagate()
    next(steps)
    state = made.save_state()
    rest = [{item.object_id: item.mask for item in result.objects} for result in steps]
    again = session_of(model, clip, ["cow"], rules)
    again.load_state(state)
    resumed = [{item.object_id: item.mask for item in result.objects} for result in again.propagate(resume=True)]
    assert len(resumed) == 3
    assert any(rest)
    assert resumed == rest


def test_examples_that_cannot_be(whole):
    _, backbone = whole
    made = session_of(sam3(0), video(4, SIZE), ["cow"])
    for frame, box, said in [
        (9, (0, 0, 5, 5), "frames 0 to 3"),
        (0, (5, 5, 1, 9), "X2 > X1"),
        (0, (90, 0, 99, 9), "outside"),
    ]:
        with pytest.raises(InputError, match=said):
            made.add_exemplar("cow", frame, box)
    never_shown = Concept(1, "cow", (Exemplar(0, (1.0, 1.0, 5.0, 5.0)),))
    with pytest.raises(InputError, match="not shown"):
        detector_of(backbone).detect([sight_of(backbone, 0)], [never_shown])


# -- loading -------------------------------------------------------------------------------------------------------
def test_loaded_from_a_folder_it_finds_and_follows(tmp_path):
    sam3(0).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    tracker = keepsight.load(tmp_path, device="cpu", dtype="float32", with_detector=True)
    detector = Sam3Detector(tracker.backbone)
    rules = ConceptRules(score_threshold=0.1, new_score=0.1)
    made = ConceptSession(tracker, indexed_video(3, SIZE), "cow", detector, rules)
    results = list(made.propagate())
    assert [result.frame for result in results] == [0, 1, 2]
    assert results[0].objects
    # Without the detector the same folder gives the tracker alone.
    assert not hasattr(keepsight.load(tmp_path, device="cpu").backbone, "whole")


def test_beside_another_tracker_the_detector_comes_alone_and_finds_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("keepsight.models.devices.cpu_has_fast_bf16", lambda: False)  # the same to 1e-5
    model = sam3(0)
    whole, alone = tmp_path / "whole", tmp_path / "alone"
    model.save_pretrained(whole)
    model.detector_model.save_pretrained(alone)
    rgb = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    other = load_builtin()
    answers = []
    for folder in (whole, alone):
        tokenizer().save_pretrained(folder)
        assert choose(str(folder), "builtin") == str(folder)
        detector = pick(str(folder), Tracker(other))
        assert not hasattr(detector.backbone, "whole")
        answers.append(detector.detect([Sight(other, rgb)], CONCEPTS)[0])
    backbone = Sam3Backbone(model, folder=whole)
    answers.append(Sam3Detector(backbone).detect([Sight(backbone, rgb)], CONCEPTS)[0])
    assert len(answers[0])
    for found in answers[1:]:
        assert np.allclose(found.scores, answers[0].scores, atol=1e-5)
        assert torch.allclose(found.masks, answers[0].masks, atol=1e-4)
    # Beside its own model the features are shared.
    assert choose(str(whole), whole) == "sam3"
    with pytest.raises(ModelError, match="cannot follow them; give it as --detector"):
        keepsight.load(alone)


def test_without_words_it_says_so(tmp_path):
    sam3(0).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="tokenizer"):
        Sam3Detector.load(tmp_path, device="cpu")


def test_a_model_without_a_detector_is_refused():
    with pytest.raises(ModelError, match="no detector"):
        Sam3Detector.load("builtin", device="cpu")
