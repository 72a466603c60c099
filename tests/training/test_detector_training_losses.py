"""What the detector is taught, against plain loops: heads, matching, losses, and where gradients arrive."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from shape_pictures import SIDE, tiny_config, tokenizer

from keepsight.models.sam3.vision import vision_of
from keepsight.training.detector.boxes import corners, overlaps
from keepsight.training.detector.heads import Head, Layers
from keepsight.training.detector.losses import detector_loss, mask_dice, mask_focal, score_loss
from keepsight.training.detector.matching import Targets, costs, one_to_many, one_to_one
from keepsight.training.detector.settings import Matching, Weights
from keepsight.training.detector.words import Words

RULES = Matching()


def boxes_of(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    centre, size = rng.uniform(0.2, 0.8, (*shape, 2)), rng.uniform(0.05, 0.4, (*shape, 2))
    return torch.tensor(np.concatenate([centre, size], -1), dtype=torch.float32)


def targets_for(rng: np.random.Generator, counts: list[int], cells: int = 8) -> Targets:
    most = max(counts)
    there = torch.arange(most)[None] < torch.tensor(counts)[:, None]
    masks = torch.tensor(rng.random((len(counts), most, cells, cells)) < 0.4).float()
    masked = there.clone()
    masked[0, 0] = False  # an object with a box only
    return Targets(boxes_of(rng, len(counts), most), there, masks, masked)


def naive_giou(a: list[float], b: list[float]) -> tuple[float, float]:
    def sides(box: list[float]) -> tuple[float, float, float, float]:
        x, y, w, h = box
        return x - w / 2, y - h / 2, x + w / 2, y + h / 2

    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = sides(a), sides(b)
    shared = max(0.0, min(ax2, bx2) - max(ax1, bx1)) * max(0.0, min(ay2, by2) - max(ay1, by1))
    union = a[2] * a[3] + b[2] * b[3] - shared
    around = (max(ax2, bx2) - min(ax1, bx1)) * (max(ay2, by2) - min(ay1, by1))
    return shared / union, shared / union - (around - union) / around


# -- the head --------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def detector():
    from transformers import Sam3Model

    torch.manual_seed(3)
    model = Sam3Model(tiny_config(layers=2, queries=5)).eval()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


def ask(model, phrases: list[str], seed: int = 0) -> tuple[Head, torch.Tensor]:
    pixels = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
    patches = model.vision_encoder.backbone(pixels).last_hidden_state
    words = Words(model, tokenizer(), learning=False)
    return Head(model, vision_of(model, patches).repeat([len(phrases)]), *words(phrases)), pixels


def test_the_last_layer_and_the_chosen_masks_are_the_models_own_answer(detector):
    with torch.no_grad():
        head, pixels = ask(detector, ["red", "blue"])
        layers = head.decode()
        chosen = torch.tensor([[3, 0], [1, 4]])
        masks = head.masks(layers.queries.gather(1, chosen[..., None].expand(-1, -1, layers.queries.shape[-1])))
        for row, phrase in enumerate(["red", "blue"]):
            said = tokenizer()(phrase, return_tensors="pt", padding="max_length", max_length=4)
            own = detector(pixel_values=pixels, input_ids=said.input_ids, attention_mask=said.attention_mask)
            assert torch.allclose(layers.logits[-1, row], own.pred_logits[0], atol=1e-5)
            assert torch.allclose(corners(layers.boxes[-1, row]), own.pred_boxes[0], atol=1e-5)
            assert torch.allclose(layers.presence[-1, row], own.presence_logits[0, 0], atol=1e-5)
            assert torch.allclose(masks[row], own.pred_masks[0, chosen[row]], atol=1e-4)
    assert len(layers.logits) == 2
    assert not torch.allclose(layers.logits[0], layers.logits[1])


def test_queries_that_look_for_themselves_do_not_see_each_other_and_the_model_is_as_before(detector):
    with torch.no_grad():
        head, _ = ask(detector, ["red"])
        before, alone = head.decode(), head.decode(together=False)
        first = detector.detr_decoder.query_embed.weight[0].clone()
        detector.detr_decoder.query_embed.weight[0] += 1.0
        try:
            changed, changed_alone = head.decode(), head.decode(together=False)
        finally:
            detector.detr_decoder.query_embed.weight[0] = first
        again = head.decode()
    assert torch.equal(before.logits, again.logits)
    assert not torch.allclose(changed.logits[:, :, 1:], before.logits[:, :, 1:], atol=1e-4)
    assert torch.allclose(changed_alone.logits[:, :, 1:], alone.logits[:, :, 1:], atol=1e-6)


# -- matching --------------------------------------------------------------------------------------------------------
def test_the_assignment_is_the_cheapest_of_all():
    rng = np.random.default_rng(0)
    targets = targets_for(rng, [3, 0, 2])
    logits, boxes = torch.tensor(rng.normal(0, 2, (2, 3, 4)), dtype=torch.float32), boxes_of(rng, 2, 3, 4)
    matched = one_to_one(logits, boxes, targets, RULES)
    for layer, pair in itertools.product(range(2), range(3)):
        count = int(targets.there[pair].sum())
        price = np.zeros((4, count))
        for query, target in itertools.product(range(4), range(count)):
            p = 1 / (1 + math.exp(-float(logits[layer, pair, query])))
            mine, truth = boxes[layer, pair, query].tolist(), targets.boxes[pair, target].tolist()
            focal = -0.25 * (1 - p) ** 2 * math.log(p) + 0.75 * p**2 * math.log(1 - p)
            apart = sum(abs(a - b) for a, b in zip(mine, truth, strict=True))
            price[query, target] = 2 * focal + 5 * apart - 2 * naive_giou(mine, truth)[1]
        assert torch.allclose(
            costs(logits, boxes, targets, RULES)[layer, pair, :, :count], torch.tensor(price).float(), atol=1e-4
        )
        best = min(
            itertools.permutations(range(4), count),
            key=lambda queries: sum(price[query, target] for target, query in enumerate(queries)),
        )
        expected = [-1] * 4
        for target, query in enumerate(best):
            expected[query] = target
        assert matched[layer, pair].tolist() == expected


def test_one_to_many_takes_the_best_query_and_good_ones_as_a_loop_does():
    rng = np.random.default_rng(1)
    rules = Matching(many=3, many_least=0.45)
    targets = targets_for(rng, [3, 0, 1, 2])
    near = targets.boxes.repeat(1, 4, 1)[None].repeat(2, 1, 1, 1)  # 12 queries about the targets
    boxes = near + torch.tensor(rng.normal(0, 0.03, near.shape), dtype=torch.float32)
    logits = torch.tensor(rng.normal(0, 2, boxes.shape[:3]), dtype=torch.float32)
    matched = one_to_many(logits, boxes, targets, rules)
    several = 0
    for layer, pair in itertools.product(range(2), range(4)):
        wants: dict[int, list[tuple[float, int]]] = {}
        for target in range(int(targets.there[pair].sum())):
            good = []
            for query in range(boxes.shape[2]):
                iou = naive_giou(boxes[layer, pair, query].tolist(), targets.boxes[pair, target].tolist())[0]
                good.append((0.3 / (1 + math.exp(-float(logits[layer, pair, query]))) + 0.7 * iou, query))
            for rank, (value, query) in enumerate(sorted(good, reverse=True)[:3]):
                if rank == 0 or value > 0.45:
                    wants.setdefault(query, []).append((value, target))
        expected = [max(wants[query])[1] if query in wants else -1 for query in range(boxes.shape[2])]
        assert matched[layer, pair].tolist() == expected
        several += sum(target >= 0 for target in expected) > int(targets.there[pair].sum())
    assert several


# -- losses ----------------------------------------------------------------------------------------------------------
def test_overlaps_are_those_of_a_loop():
    rng = np.random.default_rng(2)
    a, b = boxes_of(rng, 20), boxes_of(rng, 20)
    iou, generalised = overlaps(corners(a), corners(b))
    expected = [naive_giou(x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    assert np.allclose(torch.stack([iou, generalised], 1), expected, atol=1e-5)
    assert min(generalised) < -0.1


def test_score_and_mask_losses_are_those_of_a_loop():
    rng = np.random.default_rng(3)
    logits = torch.tensor(rng.normal(0, 2, 12), dtype=torch.float64)
    found, iou = torch.tensor(rng.random(12) < 0.5), torch.tensor(rng.random(12))
    expected = []
    for value, hit, fits in zip(logits.tolist(), found.tolist(), iou.tolist(), strict=True):
        p = 1 / (1 + math.exp(-value))
        goal = max(p**0.25 * fits**0.75, 0.01) if hit else 0.0
        entropy = -goal * math.log(p) - (1 - goal) * math.log(1 - p)
        expected.append(entropy if hit else p**2 * entropy)
    assert np.allclose(score_loss(logits, found, iou), expected, atol=1e-9)

    cells = torch.tensor(rng.normal(0, 2, (3, 4, 5)), dtype=torch.float64)
    truth = torch.tensor(np.clip(rng.normal(0.5, 0.6, (3, 4, 5)), 0, 1))
    for n in range(3):
        focal, shared, mine, theirs = [], 0.0, 0.0, 0.0
        for value, t in zip(cells[n].flatten().tolist(), truth[n].flatten().tolist(), strict=True):
            p = 1 / (1 + math.exp(-value))
            right = p * t + (1 - p) * (1 - t)
            entropy = -t * math.log(p) - (1 - t) * math.log(1 - p)
            focal.append((0.25 * t + 0.75 * (1 - t)) * (1 - right) ** 2 * entropy)
            shared, mine, theirs = shared + p * t, mine + p, theirs + t
        assert float(mask_focal(cells, truth)[n]) == pytest.approx(np.mean(focal))
        assert float(mask_dice(cells, truth)[n]) == pytest.approx(1 - (2 * shared + 1) / (mine + theirs + 1))


class Said:
    """A head that says what it is told to."""

    def __init__(self, layers: Layers, alone: Layers, masks: torch.Tensor) -> None:
        self.layers, self.alone, self.all_masks = layers, alone, masks

    def decode(self, *, together: bool = True) -> Layers:
        return self.layers if together else self.alone

    def masks(self, queries: torch.Tensor) -> torch.Tensor:
        number = queries[..., 0].round().long()  # a query's first feature is its number here
        return torch.stack([self.all_masks[pair, number[pair]] for pair in range(len(number))])


def test_the_sum_is_that_of_loops_over_layers_pairs_and_objects():
    rng = np.random.default_rng(4)
    targets = targets_for(rng, [2, 0, 3])

    def made() -> Layers:
        queries = torch.arange(5.0)[None, :, None].expand(3, 5, 2)
        presence = torch.tensor(rng.normal(0, 1, (2, 3)), dtype=torch.float32)
        return Layers(
            torch.tensor(rng.normal(0, 1, (2, 3, 5)), dtype=torch.float32), boxes_of(rng, 2, 3, 5), presence, queries
        )

    head = Said(made(), made(), torch.tensor(rng.normal(0, 1, (3, 5, 8, 8)), dtype=torch.float32))
    total, parts = detector_loss(head, targets, Weights(many=0.5), RULES)

    def of_layers(said: Layers, matched: torch.Tensor) -> dict[str, float]:
        sums = {"box": 0.0, "giou": 0.0, "score": 0.0}
        for layer in range(2):
            count = max(5, int((matched[layer] >= 0).sum()))
            for pair, query in itertools.product(range(3), range(5)):
                target, iou = int(matched[layer, pair, query]), torch.tensor(0.0)
                mine = said.boxes[layer, pair, query].tolist()
                if target >= 0:
                    truth = targets.boxes[pair, target].tolist()
                    fits, generalised = naive_giou(mine, truth)
                    iou = torch.tensor(fits)
                    sums["box"] += 5 * sum(abs(a - b) for a, b in zip(mine, truth, strict=True)) / count
                    sums["giou"] += 2 * (1 - generalised) / count
                if pair != 1:  # where the phrase is not there only presence is taught
                    logit = said.logits[layer, pair, query]
                    sums["score"] += 20 * float(score_loss(logit, torch.tensor(target >= 0), iou)) / count
        return sums

    matched = one_to_one(head.layers.logits, head.layers.boxes, targets, RULES)
    expected = of_layers(head.layers, matched)
    several = one_to_many(head.alone.logits, head.alone.boxes, targets, RULES)
    expected["many"] = 0.5 * sum(of_layers(head.alone, several).values())
    expected["presence"] = sum(
        20 * math.log(1 + math.exp(-x if pair != 1 else x)) / 3
        for layer in head.layers.presence.tolist()
        for pair, x in enumerate(layer)
    )
    focal = dice = 0.0
    for pair, query in itertools.product(range(3), range(5)):
        target = int(matched[1, pair, query])
        if target >= 0 and targets.masked[pair, target]:
            mine, truth = head.all_masks[pair, query][None], targets.masks[pair, target][None]
            focal += 200 * float(mask_focal(mine, truth)) / 4
            dice += 10 * float(mask_dice(mine, truth)) / 4
    expected |= {"focal": focal, "dice": dice}
    assert {name: float(value) for name, value in parts.items()} == pytest.approx(expected, rel=1e-4)
    assert float(total.detach()) == pytest.approx(sum(expected.values()), rel=1e-4)


def test_masks_learn_and_without_their_losses_nothing_of_theirs_does(detector):
    rng = np.random.default_rng(5)
    targets = targets_for(rng, [2, 1, 0], cells=16)

    def gradients(weights: Weights) -> dict[str, float]:
        detector.zero_grad(set_to_none=True)
        head, _ = ask(detector, ["red", "green", "blue"])
        detector_loss(head, targets, weights, RULES)[0].backward()
        return {name: float(p.grad.abs().sum()) for name, p in detector.named_parameters() if p.grad is not None}

    with_masks = gradients(Weights())
    # The model makes masks without these.
    untaught = ("mask_decoder.semantic_projection", "mask_decoder.pixel_decoder.conv_layers.2")
    for name, parameter in detector.named_parameters():
        if name.startswith("mask_decoder.") and not name.startswith(untaught) and parameter.ndim > 1:
            assert with_masks[name] > 0, name
    without = gradients(Weights(focal=0.0, dice=0.0))
    assert not [name for name, value in without.items() if name.startswith("mask_decoder.") and value]
    assert without["detr_decoder.box_head.layer3.weight"] > 0
    detector.zero_grad(set_to_none=True)


def test_a_batch_without_any_object_teaches_presence_alone(detector):
    nothing = Targets(
        torch.zeros(2, 0, 4),
        torch.zeros(2, 0, dtype=torch.bool),
        torch.zeros(2, 0, 16, 16),
        torch.zeros(2, 0, dtype=torch.bool),
    )
    head, _ = ask(detector, ["red", "green"])
    total, parts = detector_loss(head, nothing, Weights(), RULES)
    assert float(total.detach()) == pytest.approx(float(parts["presence"]))
    assert float(total.detach()) > 0


def test_in_mixed_precision_the_loss_is_nearly_the_same(detector):
    targets = targets_for(np.random.default_rng(6), [2, 1, 0], cells=16)
    losses = []
    for mixed in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            head, _ = ask(detector, ["red", "green", "blue"])
            loss, _ = detector_loss(head, targets, Weights(), RULES)
        loss.backward()
        losses.append(float(loss.detach()))
    assert losses[1] == pytest.approx(losses[0], rel=0.1)
    assert all(torch.isfinite(p.grad).all() for p in detector.parameters() if p.grad is not None)
    detector.zero_grad(set_to_none=True)
