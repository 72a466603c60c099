"""Checkpoints from a folder: every weight accounted for, or one line that names it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny_models
from keepsight.core import InputError, ModelError
from keepsight.models.loading import load_backbone
from keepsight.models.sam2.hf_video import HFVideoBackbone
from keepsight.tracking import Tracker
from keepsight.video import ArrayVideo

FAMILIES = {"sam2": "sam2", "edgetam": "edgetam", "sam3_tracker": "sam3-tracker"}


@pytest.fixture(scope="module", params=FAMILIES)
def saved(request, tmp_path_factory):
    model = getattr(tiny_models, request.param)()
    folder = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder)
    return model, folder, FAMILIES[request.param]


@pytest.fixture
def copy(saved, tmp_path):
    """A folder of one's own to spoil."""
    folder = tmp_path / "model"
    shutil.copytree(saved[1], folder)
    return folder


def masks(backbone, side=48):
    rgb = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), dtype=np.uint8)
    session = Tracker(backbone).open(ArrayVideo(rgb))
    session.add(object_id=1, frame=0, points=[(side / 2, side / 2)])
    return [session.last_logits[1].clone() for _ in session.propagate()]


def test_a_folder_is_loaded_as_it_was_saved(saved):
    model, folder, family = saved
    backbone = load_backbone(folder, device="cpu", dtype="float32")
    assert (backbone.info.family, backbone.info.name) == (family, str(folder))
    assert backbone.info.image_size == model.image_size
    assert not backbone.model.training
    for ours, theirs in zip(masks(backbone), masks(HFVideoBackbone(model)), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_half_precision(saved):
    backbone = load_backbone(saved[1], device="cpu", dtype="bf16")
    assert backbone.dtype == torch.bfloat16
    assert all(torch.isfinite(logits).all() for logits in masks(backbone))


def _spoil(folder, change) -> None:
    """Edits the tensors, under the names that the model has: a saved SAM 3 tracker carries a prefix."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    prefix = next(key for key in tensors if key.endswith(NAME)).removesuffix(NAME)
    plain = {key.removeprefix(prefix): tensor for key, tensor in tensors.items()}
    change(plain)
    tensors = {prefix + key: tensor for key, tensor in plain.items()}
    save_file(tensors, path, metadata={"format": "pt"})


def refused(folder, says, kind=ModelError, **arguments) -> str:
    with pytest.raises(kind, match=says) as caught:
        load_backbone(folder, **{"device": "cpu", "dtype": "float32", **arguments})
    assert "\n" not in str(caught.value)
    return str(caught.value)


NAME = "mask_decoder.iou_prediction_head.proj_out.weight"  # as the model has it


def test_a_tensor_is_missing(copy):
    _spoil(copy, lambda tensors: tensors.pop(NAME))
    assert NAME in refused(copy, "leaves weights of the model unset")


def test_a_tensor_is_left_over(copy):
    _spoil(copy, lambda tensors: tensors.update({"mask_decoder.extra.weight": torch.zeros(2)}))
    assert "mask_decoder.extra.weight" in refused(copy, "does not use")


def test_a_tensor_has_another_shape(copy):
    _spoil(copy, lambda tensors: tensors.update({NAME: torch.zeros(2, 3)}))
    assert NAME in refused(copy, "of another shape")


def test_a_damaged_file(copy):
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    refused(copy, "cannot be loaded")
    path.write_bytes(b"not weights")
    refused(copy, "cannot be loaded")


def test_pickled_weights_are_not_read(copy):
    (copy / "model.safetensors").unlink()
    (copy / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    refused(copy, r"no complete model\.safetensors")


def test_folders_that_are_no_models(tmp_path):
    refused(tmp_path, r"no config\.json")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    refused(tmp_path, "type 'bert'")
    (tmp_path / "config.json").write_text("{")
    refused(tmp_path, "cannot be read as JSON")
    refused(tmp_path / "nothing", "does not exist")


def test_names_whose_weights_are_not_here(tmp_path, monkeypatch):
    for module in ("constants", "file_download"):
        monkeypatch.setattr(f"huggingface_hub.{module}.HF_HUB_CACHE", str(tmp_path), raising=False)
    refused("sam2.1-tiny", r"`keepsight models download sam2\.1-tiny` \(about 156 MB\)")
    refused("sam3", "It is gated: first accept its licence at https://huggingface.co/facebook/sam3")
    refused("someone/model", "`keepsight models download someone/model`")
    refused("sam2.1-tin", "Did you mean sam2.1-tiny")


def test_devices_and_dtypes_are_checked_before_anything_is_read(saved):
    refused(saved[1], "float16 is not supported on a CPU", InputError, dtype="float16")
    refused(saved[1], "Unknown device 'gpu'", InputError, device="gpu")


def test_another_input_size(saved):
    model, folder, family = saved
    size = 84 if family == "sam3-tracker" else 128
    backbone = load_backbone(folder, device="cpu", dtype="float32", image_size=size)
    assert (backbone.info.image_size, backbone.info.mask_size) == (size, size // (14 if "3" in family else 16) * 4)
    logits = masks(backbone)
    assert all(item.shape == (backbone.info.mask_size,) * 2 for item in logits)
    assert all(torch.isfinite(item).all() for item in logits)
    assert model.image_size != size


def test_an_input_size_that_does_not_divide(saved):
    refused(saved[1], "image_size is a multiple of", InputError, image_size=50)


def test_the_tracker_is_taken_out_of_a_whole_sam3(tmp_path):
    """The published checkpoint holds a detector and a tracker that share one image encoder under the detector's name."""
    whole = tiny_models.sam3_video()
    whole.save_pretrained(tmp_path)
    backbone = load_backbone(tmp_path, device="cpu", dtype="float32")
    assert backbone.info.family == "sam3-tracker"
    loaded = backbone.model.state_dict()
    parts = {
        "vision_encoder.backbone.": whole.detector_model.vision_encoder.backbone,
        "vision_encoder.neck.": whole.tracker_neck,
        "": whole.tracker_model,
    }
    for prefix, part in parts.items():
        for name, tensor in part.state_dict().items():
            assert torch.equal(loaded[prefix + name], tensor), prefix + name
