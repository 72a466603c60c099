"""Devices and dtypes by name: what is taken, and what is refused with a remedy."""

from __future__ import annotations

import pytest
import torch

from keepsight.core import InputError
from keepsight.models import devices
from keepsight.models.devices import resolve_device, resolve_dtype

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_auto_takes_the_best_there_is(monkeypatch, no_gpu):
    assert resolve_device() == CPU
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device("auto").type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto").type == "cuda"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("cuda", "--device cpu"),
        ("cuda:1", "--device cpu"),
        ("mps", "--device cpu"),
        ("gpu", "use auto, cpu, cuda, cuda:N or mps"),
        ("", "use auto"),
        ("meta", "not supported"),
    ],
)
def test_devices_that_are_not_here(no_gpu, name, says):
    with pytest.raises(InputError, match=says) as caught:
        resolve_device(name)
    assert "\n" not in str(caught.value)


def test_a_gpu_too_many(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert resolve_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(InputError, match="no cuda:1; this machine has 1"):
        resolve_device("cuda:1")


@pytest.mark.parametrize("fast", [True, False])
def test_auto_dtype(monkeypatch, fast):
    monkeypatch.setattr(devices, "cpu_has_fast_bf16", lambda: fast)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: fast)
    half = torch.bfloat16 if fast else torch.float32
    assert resolve_dtype("auto", CPU, family="sam2") == half
    assert resolve_dtype("auto", CUDA, family="sam2") == half
    assert resolve_dtype("auto", CPU, family="builtin") == torch.float32
    assert resolve_dtype("auto", CUDA, family="builtin") == torch.float32


def test_named_dtypes():
    assert resolve_dtype("bf16", CPU, family="sam2") == torch.bfloat16
    assert resolve_dtype("fp32", CPU, family="builtin") == torch.float32
    assert resolve_dtype("half", CUDA, family="sam2") == torch.float16
    for name, device, family, says in (
        ("float64", CPU, "sam2", "use auto, float32, bfloat16 or float16"),
        ("float16", CPU, "sam2", "not supported on a CPU"),
        ("bfloat16", CPU, "builtin", "leave --dtype at auto"),
    ):
        with pytest.raises(InputError, match=says):
            resolve_dtype(name, device, family=family)
