"""Where to compute and in which precision."""

from __future__ import annotations

from pathlib import Path

import torch

from keepsight.core.errors import InputError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
ALIASES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16", "half": "float16"}


def resolve_device(name: str = "auto") -> torch.device:
    """``auto`` takes a CUDA GPU, then Apple's GPU, then the CPU.

    Raises:
        InputError: unknown name, or a device that this machine or this build of torch does not have.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"Unknown device '{name}'; use auto, cpu, cuda, cuda:N or mps.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "No CUDA GPU can be used here: 'keepsight doctor' says why. Use --device cpu, or install a CUDA build of torch."
        )
    if device.type == "cuda" and device.index is not None and device.index >= torch.cuda.device_count():
        raise InputError(f"There is no {name}; this machine has {torch.cuda.device_count()} CUDA GPU(s).")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError("Apple's GPU (mps) is not available here; use --device cpu.")
    if device.type not in ("cpu", "cuda", "mps"):
        raise InputError(f"Device '{name}' is not supported; use auto, cpu, cuda, cuda:N or mps.")
    return device


def cpu_has_fast_bf16() -> bool:
    """Whether the processor multiplies bf16 matrices natively (AMX or AVX-512 BF16; Linux tells, elsewhere assume not)."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags


def resolve_dtype(name: str, device: torch.device, *, family: str) -> torch.dtype:
    """``auto``: bf16 where the device is fast at it, else fp32; the built-in model always runs in fp32 on a CPU.

    Raises:
        InputError: unknown name, or half precision where it cannot work.
    """
    name = ALIASES.get(name, name)
    if name == "auto":
        if device.type == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported() and family != "builtin" else torch.float32
        if device.type == "cpu" and family != "builtin" and cpu_has_fast_bf16():
            return torch.bfloat16
        return torch.float32
    if name not in DTYPES:
        raise InputError(f"Unknown dtype '{name}'; use auto, float32, bfloat16 or float16.")
    if family == "builtin" and name != "float32":
        raise InputError("The built-in model computes in float32; leave --dtype at auto.")
    if name == "float16" and device.type == "cpu":
        raise InputError("float16 is not supported on a CPU; use bfloat16 or float32.")
    return DTYPES[name]
