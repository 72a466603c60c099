"""The adapter: grouping of units that read the same frames, memory of given masks, packing, faulty weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from keepsight.core.errors import ModelError
from keepsight.models.backbone import MemoryRead, PromptBatch, UnitReads
from keepsight.models.builtin.backbone import BuiltinBackbone, load_builtin
from keepsight.models.builtin.weights import load_network, load_weights


@pytest.fixture(scope="module")
def backbone() -> BuiltinBackbone:
    return load_builtin()


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    """A bright square on a dark, noisy ground that moves to the right."""
    rng = np.random.default_rng(0)
    ground = rng.integers(20, 60, (180, 320, 3)).astype(np.uint8)
    out = []
    for t in range(3):
        image = ground.copy()
        image[60:130, 80 + 8 * t : 170 + 8 * t] = (220, 170, 40)
        out.append(image)
    return out


def test_units_follow_a_square_and_do_not_depend_on_their_company(
    backbone: BuiltinBackbone, frames: list[np.ndarray]
) -> None:
    features = [backbone.encode_image(backbone.preprocess(f)) for f in frames]
    mask = torch.zeros(2, 1, 256, 256)
    mask[0, 0, 86:185, 64:136] = 1
    mask[1, 0, 10:50, 150:220] = 1
    memories = backbone.encode_memory(
        features[0], mask * 20 - 10, torch.tensor([10.0, 10.0]), binarize=True, views=[0, 0]
    )
    assert memories[0].keys.data_ptr() == memories[1].keys.data_ptr()
    reads = [UnitReads((MemoryRead(m, 3, True),)) for m in memories]
    conditioned = backbone.condition(features[1], reads, [0] * len(reads))
    out = backbone.decode(features[1], conditioned, None, True, [0] * len(reads))
    shown = out.logits[0, int(out.ious[0].argmax())] > 0
    truth = torch.zeros(256, 256, dtype=torch.bool)
    truth[86:185, 71:142] = True
    assert float((shown & truth).sum() / (shown | truth).sum()) > 0.8
    # Alone, and beside a unit that reads something else, the first unit gets the same answer.
    keep = np.ones((32, 32), np.bool_)
    keep[:, :16] = False
    mixed = [reads[0], UnitReads((MemoryRead(memories[1], 3, True, keep, 1.05),))]
    for company in ([reads[0]], mixed):
        other = backbone.condition(features[1], company, [0] * len(company))
        alone = backbone.decode(features[1], backbone.select_units(other, [0]), None, True, [0])
        assert torch.allclose(alone.logits[0], out.logits[0], atol=1e-2)


def test_histories_that_share_frames_read_what_each_would_alone(
    backbone: BuiltinBackbone, frames: list[np.ndarray]
) -> None:
    """As pathways do: one prompted frame, a frame before with a mask of their own, read with other weights or not at all."""
    features = [backbone.encode_image(backbone.preprocess(f)) for f in frames]
    masks = torch.full((3, 1, 256, 256), -10.0)
    for i in range(3):
        masks[i, 0, 86 - 6 * i : 185, 64:136] = 10.0
    score = torch.tensor([10.0])
    first = backbone.encode_memory(features[0], masks[:1], score, binarize=True, views=[0])[0]
    seconds = backbone.encode_memory(features[1], masks, score.expand(3), binarize=False, views=[0] * 3)
    prompted = MemoryRead(first, 3, True, placement=(1.1, 1.1, -0.05, -0.05), age=2)
    reads = [
        UnitReads((prompted, MemoryRead(seconds[0], 0, False, age=1))),
        UnitReads((prompted, MemoryRead(seconds[1], 0, False, key_scale=1.05, age=1))),
        UnitReads((prompted, MemoryRead(seconds[2], 0, False, age=1))),
        UnitReads((prompted,)),
    ]
    together = backbone.condition(features[2], reads, [0] * 4).prior
    assert together is not None
    for i, read in enumerate(reads):
        alone = backbone.condition(features[2], [read], [0]).prior
        assert alone is not None
        assert torch.allclose(together[i], alone[0], atol=1e-4)


def test_prompts_reach_the_decoder(backbone: BuiltinBackbone, frames: list[np.ndarray]) -> None:
    features = backbone.encode_image(backbone.preprocess(frames[0]))
    empty = backbone.condition(features, [UnitReads()], [0])
    box = PromptBatch(torch.tensor([[[64.0, 86.0], [136.0, 185.0]]]), torch.tensor([[2, 3]], dtype=torch.int32))
    out = backbone.decode(features, empty, box, False, [0])
    shown = out.logits[0, 0] > 0
    truth = torch.zeros(256, 256, dtype=torch.bool)
    truth[86:185, 64:136] = True
    assert float((shown & truth).sum() / (shown | truth).sum()) > 0.8
    again = backbone.decode(features, empty, PromptBatch(box.points, box.labels, out.logits), False, [0])
    assert again.logits.shape == (1, 1, 256, 256)


def test_memory_survives_packing_and_absence_empties_it(backbone: BuiltinBackbone, frames: list[np.ndarray]) -> None:
    features = backbone.encode_image(backbone.preprocess(frames[0]))
    logits = torch.randn(2, 1, 256, 256)
    kept, gone = backbone.encode_memory(features, logits, torch.tensor([1.0, -1.0]), binarize=False, views=[0, 0])
    assert float(gone.value.abs().max()) == 0
    copy = backbone.unpack_memory(backbone.pack_memory(kept))
    assert torch.equal(copy.keys, kept.keys)
    assert torch.equal(copy.value, kept.value)


def test_faulty_weights_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no single safetensors"):
        load_builtin(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelError, match="does not hold weights") as caught:
        load_builtin(tmp_path)
    assert "\n" not in str(caught.value)
    weights = load_weights()
    for wrong, reason in (
        ({name: x for name, x in weights.items() if name != "no_prior"}, "no_prior is missing"),
        (weights | {"no_posterior": torch.zeros(3)}, "no_posterior is not of this network"),
        (weights | {"no_prior": torch.zeros(3)}, r"no_prior is \(3,\) and not \(128,\)"),
    ):
        save_file(wrong, tmp_path / "model.safetensors")
        with pytest.raises(ModelError, match=reason):
            load_builtin(tmp_path)


def test_graphs_and_network_follow_alike(backbone: BuiltinBackbone, frames: list[np.ndarray]) -> None:
    answers = []
    for one in (backbone, BuiltinBackbone(load_network())):
        first, second = (one.encode_views([frame]) for frame in frames[:2])
        mask = torch.zeros(2, 1, 256, 256)
        mask[:, 0, 86:185, 64:136] = 1
        memories = one.encode_memory(first, mask * 20 - 10, torch.tensor([10.0, 10.0]), binarize=True, views=[0, 0])
        conditioned = one.condition(second, [UnitReads((MemoryRead(m, 3, True),)) for m in memories], [0, 0])
        answers.append(one.decode(second, conditioned, None, True, [0, 0]))
    assert torch.allclose(answers[0].logits, answers[1].logits, atol=1e-2)
    assert torch.allclose(answers[0].ious, answers[1].ious, atol=1e-4)
