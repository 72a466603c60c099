"""One step of fine-tuning: gradients, what is frozen, what is cached, what LoRA does, what it will cost."""

import copy
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from tracker_projects import make_project

import tiny_models
from keepsight.core import InputError
from keepsight.models.backbone import Decoded, MemoryRead, PointerToken, PromptBatch, UnitReads
from keepsight.models.loading import load_backbone
from keepsight.models.sam2.hf_video import HFVideoBackbone
from keepsight.training.ranks import Ranks
from keepsight.training.tracker.budget import fit, weigh
from keepsight.training.tracker.builtin_learner import view_clip
from keepsight.training.tracker.episode import ClipOptions
from keepsight.training.tracker.features import FeatureStore
from keepsight.training.tracker.footage import Footage, collect
from keepsight.training.tracker.learner import Sam2Learner
from keepsight.training.tracker.losses import dice_loss, focal_loss, mask_losses
from keepsight.training.tracker.sampler import Sampler
from keepsight.training.tracker.split import Part
from keepsight.training.trainer import Group, Schedule, Trainer
from keepsight.training.views import placement

OPTIONS = ClipOptions(frames=3, objects=2, clicks=1)


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Footage:
    folder = tmp_path_factory.mktemp("project")
    (found,) = collect([make_project(folder, frames=8, squares=2)], folder / "scratch")
    return found


def learner(footage: Footage, cache: Path, limit: int = 10**9, lora: int = 0, size: int = 64) -> Sam2Learner:
    backbone = HFVideoBackbone(tiny_models.sam2(size))
    sampler = Sampler([Part(footage, 0, 8)])
    return Sam2Learner(backbone, sampler, OPTIONS, 0, lora=lora, cache=cache, cache_bytes=limit)


def train(made: Sam2Learner, folder: Path, steps: int = 4) -> Trainer:
    trainer = Trainer(
        made.module, made.groups(), Schedule(1e-3, steps, warmup=1), folder, log=lambda _: None, notes=made.notes
    )
    trainer.run(made.step, every=1)
    return trainer


@pytest.mark.parametrize("make", [tiny_models.sam2, tiny_models.edgetam, tiny_models.sam3_tracker])
def test_a_learning_model_computes_the_same_with_gradients(make) -> None:
    model = make()
    backbone = HFVideoBackbone(model)
    size = backbone.info.image_size
    clip, points = tiny_models.video(2, size), torch.full((2, 1, 2), size / 3)

    def follow() -> Decoded:
        first, second = backbone.encode_image(clip[:1]), backbone.encode_image(clip[1:])
        seen = backbone.condition(first, [UnitReads()] * 2, [0, 0])
        said = backbone.decode(first, seen, PromptBatch(points, torch.ones(2, 1)), True, [0, 0])
        memories = backbone.encode_memory(first, said.logits[:, :1], said.object_scores, False, [0, 0])
        assert said.pointers is not None
        reads = [
            UnitReads(
                (MemoryRead(memory, backbone.info.slots - 1, True, age=1),),
                (PointerToken(said.pointers[row, :1], 1 / 15),),
            )
            for row, memory in enumerate(memories)
        ]
        return backbone.decode(second, backbone.condition(second, reads, [0, 0]), None, True, [0, 0])

    plain = follow()
    assert not plain.logits.requires_grad
    backbone.learn()
    learning = follow()
    assert torch.allclose(plain.logits, learning.logits, atol=1e-5)
    (learning.logits.sum() + learning.ious.sum()).backward()
    reached = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    for part in ("vision_encoder.", "memory_attention.", "memory_encoder.", "mask_decoder.", "object_pointer_proj."):
        named = {name for name, _ in model.named_parameters() if name.startswith(part)}
        assert len(reached & named) > 0.8 * len(named), part
    assert "memory_temporal_positional_encoding" in reached


def test_what_is_frozen_does_not_change_and_the_rest_does(footage: Footage, tmp_path: Path) -> None:
    made = learner(footage, tmp_path / "cache")
    before = copy.deepcopy(made.module.state_dict())
    train(made, tmp_path / "run")
    after = made.module.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    frozen = ("vision_encoder.", "prompt_encoder.", "mask_decoder.conv_s0.", "mask_decoder.conv_s1.")
    assert not {name for name in changed if name.startswith(frozen)}
    for part in ("mask_decoder.transformer.", "memory_attention.", "memory_encoder.", "object_pointer_proj."):
        assert {name for name in changed if name.startswith(part)}, part


def test_kept_features_give_the_loss_of_fresh_ones(footage: Footage, tmp_path: Path) -> None:
    kept, fresh = learner(footage, tmp_path / "a"), learner(footage, tmp_path / "b", limit=0)
    assert kept.features is not None
    assert fresh.features is not None
    for made in (kept, fresh):
        train(made, tmp_path / f"run{made is kept}", 3)
    with torch.no_grad():
        losses = [[float(made.step(number, 0.0)[0]) for number in range(3)] for made in (kept, fresh)]
    assert losses[0] == losses[1]
    assert fresh.features.held_bytes == 0
    made = kept.features.made
    assert made <= 8
    with torch.no_grad():
        exact = kept.backbone.encode_image(kept.backbone.preprocess(footage.rgb(0)))
    assert torch.allclose(kept.features(footage, 0).top, exact.top, atol=2e-3)
    again = FeatureStore(kept.backbone, tmp_path / "a", 10**9)
    assert again.held_bytes == kept.features.held_bytes > 0
    again(footage, 0)
    assert again.made == 0
    assert FeatureStore(HFVideoBackbone(tiny_models.sam2(96)), tmp_path / "a", 0).folder != again.folder
    other = tiny_models.sam2()
    with torch.no_grad():
        next(other.vision_encoder.parameters()).add_(1e-3)
    assert FeatureStore(HFVideoBackbone(other), tmp_path / "a", 0).folder != again.folder


def test_lora_bends_the_encoder_and_merges_to_the_same_outputs(footage: Footage, tmp_path: Path) -> None:
    made = learner(footage, tmp_path / "cache", lora=2)
    assert made.features is None
    encoder = {k: v.clone() for k, v in made.module.state_dict().items() if "base_layer.weight" in k}
    assert len(encoder) == 5  # a block each
    trainer = train(made, tmp_path / "run")
    assert all(torch.equal(made.module.state_dict()[name], value) for name, value in encoder.items())
    made.module.load_state_dict(trainer.average)
    picture = made.backbone.preprocess(footage.rgb(2))
    with torch.no_grad():
        bent = made.backbone.encode_image(picture)
    made.write(trainer.average, tmp_path / "model")
    loaded = load_backbone(tmp_path / "model", device="cpu", dtype="float32")
    merged = loaded.encode_image(loaded.preprocess(footage.rgb(2)))
    plain = HFVideoBackbone(tiny_models.sam2())
    straight = plain.encode_image(plain.preprocess(footage.rgb(2)))
    assert torch.allclose(bent.top, merged.top, atol=1e-5)
    assert not torch.allclose(straight.top, merged.top, atol=1e-3)


def test_mixed_precision_reaches_the_same_weights(footage: Footage, tmp_path: Path) -> None:
    made = learner(footage, tmp_path / "cache", lora=2)
    made.options = ClipOptions(frames=3, objects=2, clicks=1, corrected=1.0)
    losses, reached = [], []
    for precision in (nullcontext(), torch.autocast("cpu", torch.bfloat16)):
        made.module.zero_grad()
        with precision:
            loss, _ = made.step(1, 0.0)
        loss.backward()
        losses.append(float(loss.detach()))
        reached.append({n for n, p in made.module.named_parameters() if p.grad is not None and bool(p.grad.any())})
    assert losses[1] == pytest.approx(losses[0], rel=0.03)
    assert reached[0] == reached[1]
    assert len(reached[0]) > 150


def test_losses_are_those_of_the_paper_and_push_the_best_candidate_only() -> None:
    logits = torch.tensor([[[[2.0, -1.0]], [[-2.0, 3.0]]]], requires_grad=True)
    target = torch.tensor([[[1.0, 0.0]]])
    p = torch.sigmoid(torch.tensor([2.0, -1.0]))
    by_hand = (0.25 * (1 - p[0]) ** 2 * -p[0].log() + 0.75 * p[1] ** 2 * -(1 - p[1]).log()) / 2
    assert torch.allclose(focal_loss(logits, target)[0, 0], by_hand)
    assert torch.allclose(dice_loss(logits, target)[0, 0], 1 - (2 * p[0] + 1) / (p.sum() + 2))
    decoded = Decoded(logits, torch.tensor([[0.5, 0.5]]), torch.tensor([1.0]), None)
    loss = mask_losses(decoded, target, torch.tensor([True]))
    loss.total.backward()
    assert logits.grad is not None
    assert bool((logits.grad[0, 0] != 0).all())
    assert bool((logits.grad[0, 1] == 0).all())
    # The best mask agrees with the truth, the other one with nothing: errors of both estimates are one half.
    assert float(loss.iou.detach()) == pytest.approx(0.5)
    gone = mask_losses(decoded, torch.zeros(1, 1, 2), torch.tensor([True]))
    assert float((gone.focal + gone.dice + gone.iou).detach()) == 0
    assert float(gone.presence.detach()) == pytest.approx(float(-torch.log(1 - torch.sigmoid(torch.tensor(1.0)))))
    assert float(mask_losses(decoded, target, torch.tensor([False])).total.detach()) == 0


def test_the_preview_foretells_what_a_step_keeps(footage: Footage, tmp_path: Path) -> None:
    made = learner(footage, tmp_path / "cache")
    made.options = ClipOptions(frames=8, objects=2, clicks=1)
    told: list[str] = []
    preview = fit(made, 10**12, made.backbone.info.slots, log=told.append)
    assert (preview.frames, preview.objects) == (8, 2)
    assert preview.step_bytes == pytest.approx(weigh(made.module, lambda: made.dry(8, 2)), rel=0.2)
    assert "8 frames and 2 objects" in told[-1]
    room = preview.weights_bytes + preview.step_bytes // 2
    smaller = fit(made, room, made.backbone.info.slots, log=told.append)
    assert smaller.total_bytes <= room
    assert made.clip_size() == (smaller.frames, smaller.objects) != (8, 2)
    with pytest.raises(InputError, match="--image-size"):
        fit(made, 10**5, made.backbone.info.slots, log=told.append)


def test_a_full_gpu_makes_clips_smaller_and_the_step_is_taken_again(tmp_path: Path) -> None:
    layer = nn.Linear(2, 1)
    asked: list[int] = []
    shrunk: list[bool] = []

    def step(number: int, progress: float) -> tuple[torch.Tensor, dict[str, float]]:
        asked.append(number)
        if number == 1 and not shrunk:
            raise torch.OutOfMemoryError("full")
        return layer(torch.ones(2)).sum(), {}

    def shrink() -> bool:
        shrunk.append(True)
        return True

    schedule = Schedule(1e-3, 3, warmup=1)
    Trainer(layer, [Group(list(layer.parameters()))], schedule, tmp_path, log=lambda _: None, shrink=shrink).run(step)
    assert asked == [0, 1, 1, 2]
    stubborn = Trainer(layer, [Group(list(layer.parameters()))], schedule, tmp_path, shrink=lambda: False)
    shrunk.clear()
    with pytest.raises(torch.OutOfMemoryError):
        stubborn.run(step)


def fit_line(folder: Path, ranks: Ranks) -> dict[str, torch.Tensor]:
    """Three steps of two parts each, of a model of four numbers."""
    layer = nn.Linear(3, 1)
    nn.init.constant_(layer.weight, 0.1)
    nn.init.zeros_(layer.bias)

    def step(number: int, progress: float) -> tuple[torch.Tensor, dict[str, float]]:
        x = torch.from_numpy(np.random.default_rng(number).normal(size=(4, 3)).astype(np.float32))
        return (layer(x) - x.sum(1, keepdim=True)).pow(2).mean(), {}

    groups, schedule = [Group(list(layer.parameters()))], Schedule(1e-2, 3, warmup=1)
    Trainer(layer, groups, schedule, folder, log=print, ranks=ranks, accumulate=2 // ranks.size).run(step)
    return layer.state_dict()


def test_two_that_train_together_learn_what_one_with_two_parts_a_step_learns(tmp_path: Path) -> None:
    alone = fit_line(tmp_path / "one", Ranks())
    store = torch.distributed.HashStore()

    def take_part(rank: int) -> dict[str, torch.Tensor]:
        # A thread each stands for a process each: what they share is the group alone.
        group = torch.distributed.ProcessGroupGloo(store, rank, 2, timedelta(seconds=60))
        return fit_line(tmp_path / "two", Ranks(rank, 2, group))

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(take_part, range(2))
    for name in alone:
        assert torch.equal(first[name], second[name])
        assert torch.allclose(alone[name], first[name], atol=1e-6)
    assert not torch.allclose(alone["weight"], torch.full((1, 3), 0.1), atol=1e-3)


def test_the_builtin_model_sees_what_it_would_look_at(footage: Footage) -> None:
    sampler = Sampler([Part(footage, 0, 8)], reverse=0.0)
    seen_close = 0
    for number in range(12):
        rng = np.random.default_rng(number)
        clip = view_clip(sampler.draw(rng, 10, 6), rng)
        assert clip.frames.shape == (10, 256, 256, 3)
        assert (clip.labels == clip.principal).any((1, 2))[0]
        seen_close += bool(clip.views[0, 2] < 64)
        assert placement(clip.views, 3, 3) == (1, 1, 0, 0)
        # Where a place of one view comes to lie in another one.
        sx, sy, dx, dy = placement(clip.views, 0, 9)
        x, y = clip.views[0, 0] + clip.views[0, 2] / 2, clip.views[0, 1] + clip.views[0, 3] / 2
        assert (sx / 2 + dx) * clip.views[9, 2] + clip.views[9, 0] == pytest.approx(float(x), abs=1e-3)
        assert (sy / 2 + dy) * clip.views[9, 3] + clip.views[9, 1] == pytest.approx(float(y), abs=1e-3)
        # The mask lies on the square's colour.
        inside = clip.frames[0][clip.labels[0] == clip.principal].mean(0)
        assert max(inside[0], inside[2]) > 2.5 * inside[1]
    assert seen_close >= 6
