"""Looks at the machine: what can be used, what cannot, and what would mend it."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

_LEAST_MEMORY_GB = 2.0
_LEAST_DISK_GB = 2.0
_HUB_TIMEOUT_S = 3.0


@dataclass(frozen=True)
class Finding:
    """One line of the diagnosis.

    Attributes:
        topic: what was looked at.
        text: what is there.
        remedy: what is wrong and what mends it; empty when nothing is.
        fatal: Keepsight cannot be used until it is mended.
    """

    topic: str
    text: str
    remedy: str = ""
    fatal: bool = False

    @property
    def mark(self) -> str:
        """One character for the start of the line."""
        return "x" if self.fatal else "!" if self.remedy else "+"


def examine(online: bool = False) -> list[Finding]:
    """Everything there is to say about this machine.

    Args:
        online: also try to reach the Hugging Face hub (a few seconds at most).
    """
    findings: list[Finding] = []
    checks: list[Callable[[], list[Finding]]] = [_versions, _compute, _memory, _disk, _codecs, _models]
    for check in checks:
        try:
            findings += check()
        except Exception as error:  # one broken corner must not hide the others
            findings.append(
                Finding(check.__name__.strip("_"), f"could not be examined: {error}", "please report this.")
            )
    findings.append(_token())
    findings.append(_hub() if online else Finding("hub", "not tried (ask with --online)"))
    return findings


def _versions() -> list[Finding]:
    findings = [
        Finding("keepsight", metadata.version("keepsight")),
        Finding("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
    ]
    for module, package in (
        ("torch", "torch"),
        ("transformers", "transformers"),
        ("onnxruntime", "onnxruntime"),
        ("av", "av"),
        ("cv2", "opencv-python-headless"),
    ):
        try:
            importlib.import_module(module)
            findings.append(Finding("PyAV" if module == "av" else module, metadata.version(package)))
        except ImportError as error:
            remedy = f"{package} cannot be imported; run `pip install {package}`."
            findings.append(Finding(module, f"cannot be imported: {str(error).splitlines()[0]}", remedy, fatal=True))
    return findings


def _compute() -> list[Finding]:
    import torch

    findings = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(index)
            bf16 = "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
            findings.append(Finding("device", f"cuda:{index} {card.name}, {card.total_memory / 2**30:.0f} GB, {bf16}"))
    elif getattr(torch.backends, "mps", None) is not None and torch.backends.mps.is_available():
        findings.append(Finding("device", "mps (Apple GPU)"))
    elif shutil.which("nvidia-smi") and torch.version.cuda is None:
        findings.append(
            Finding(
                "device",
                "cpu, though there is an NVIDIA driver",
                "this torch was built without CUDA; install a CUDA build from https://pytorch.org/get-started/locally/.",
            )
        )
    else:
        findings.append(Finding("device", "cpu (no GPU found)"))
    from keepsight.models.devices import resolve_device, resolve_dtype

    device = resolve_device("auto")
    dtypes = {family: str(resolve_dtype("auto", device, family=family))[6:] for family in ("builtin", "sam2")}
    findings.append(Finding("auto", f"{device}; {dtypes['builtin']} for builtin, {dtypes['sam2']} for the others"))
    findings.append(_cpu_precision())
    threads, cores = torch.get_num_threads(), _usable_cores()
    remedy = ""
    if threads > cores:
        remedy = (
            f"torch uses more threads than it may use cores, and they wait for each other; set OMP_NUM_THREADS={cores}."
        )
    findings.append(Finding("threads", f"{threads} for {cores} cores", remedy))
    return findings


def _usable_cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def _cpu_precision() -> Finding:
    """Times one product in both precisions: what a processor says it has and what is fast are not the same."""
    import torch

    times = {}
    with torch.inference_mode():
        for dtype in (torch.float32, torch.bfloat16):
            a = torch.ones(256, 256, dtype=dtype)  # small: some processors take seconds for a large one
            a @ a
            best = min(_timed(lambda a=a: a @ a) for _ in range(3))  # type: ignore[misc]
            times[dtype] = best
    ratio = times[torch.float32] / times[torch.bfloat16]
    verdict = "worth using" if ratio > 1.2 else "not worth using"
    compared = f"{ratio:.2g} times faster" if ratio >= 1 else f"{1 / ratio:.2g} times slower"
    return Finding("bfloat16", f"{compared} than float32 on this CPU (measured): {verdict} here")


def _timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _memory() -> list[Finding]:
    import psutil

    memory = psutil.virtual_memory()
    free = memory.available / 2**30
    remedy = (
        f"less than {_LEAST_MEMORY_GB:g} GB is free; close something, or expect to swap."
        if free < _LEAST_MEMORY_GB
        else ""
    )
    return [Finding("memory", f"{free:.1f} of {memory.total / 2**30:.1f} GB free", remedy)]


def _disk() -> list[Finding]:
    from huggingface_hub import constants

    findings = []
    for topic, folder in (("disk here", Path.cwd()), ("disk of models", Path(constants.HF_HUB_CACHE))):
        existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
        free = shutil.disk_usage(existing).free / 1e9
        remedy = ""
        if free < _LEAST_DISK_GB:
            remedy = f"less than {_LEAST_DISK_GB:g} GB is free at {folder}; free some space."
        findings.append(Finding(topic, f"{free:.0f} GB free at {folder}", remedy))
    if not os.access(Path.cwd(), os.W_OK):
        findings.append(
            Finding("here", f"{Path.cwd()} cannot be written", "give --out a folder that you may write to.")
        )
    return findings


def _codecs() -> list[Finding]:
    from av.codec import Codec

    def has(name: str, mode: str) -> bool:
        try:
            Codec(name, mode)
        except Exception:  # PyAV's error for an unknown codec differs between versions
            return False
        return True

    decoders = {
        "h264": has("h264", "r"),
        "hevc": has("hevc", "r"),
        "vp9": has("vp9", "r") or has("libvpx-vp9", "r"),
        "av1": has("libdav1d", "r") or has("av1", "r"),
    }
    missing = [name for name, present in decoders.items() if not present]
    reads = ", ".join(name for name, present in decoders.items() if present) or "none"
    remedy = (
        "videos in the missing formats cannot be read; `pip install --force-reinstall av` brings a full build."
        if missing
        else ""
    )
    findings = [
        Finding(
            "reads", reads + (f" (missing: {', '.join(missing)})" if missing else ""), remedy, fatal=len(missing) == 4
        )
    ]
    encoder = next((name for name in ("libx264", "h264", "libopenh264", "mpeg4") if has(name, "w")), None)
    if encoder in ("libx264", "h264", "libopenh264"):
        findings.append(Finding("writes", f"h264 ({encoder})"))
    else:
        text = "no h264 encoder" + (f" ({encoder} instead)" if encoder else "")
        findings.append(
            Finding(
                "writes", text, "`pip install --force-reinstall av` brings a build with libx264.", fatal=encoder is None
            )
        )
    return findings


def _models() -> list[Finding]:
    from keepsight.models.registry import ENTRIES, is_cached

    here = [entry.name for entry in ENTRIES if is_cached(entry)]
    remedy = ""
    if "builtin" not in here:
        remedy = "the built-in model's weights are missing from this installation; reinstall, or run `keepsight train builtin`."
    return [Finding("models here", ", ".join(here) or "none", remedy)]


def _token() -> Finding:
    from huggingface_hub import get_token

    present = get_token() is not None
    return Finding(
        "hub login", "logged in" if present else "not logged in (only gated models need it: `hf auth login`)"
    )


def _hub() -> Finding:
    import urllib.error
    import urllib.request

    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return Finding("hub", "switched off by HF_HUB_OFFLINE", "unset HF_HUB_OFFLINE to download models.")
    request = urllib.request.Request(constants.ENDPOINT, method="HEAD", headers={"User-Agent": "keepsight"})
    begin = time.perf_counter()
    try:
        urllib.request.urlopen(request, timeout=_HUB_TIMEOUT_S).close()
    except urllib.error.HTTPError:
        pass  # it answered
    except OSError as error:
        reason = getattr(error, "reason", error)
        return Finding(
            "hub",
            f"{constants.ENDPOINT} cannot be reached ({reason})",
            "models cannot be downloaded; check the connection or proxy. What is here works without.",
        )
    return Finding("hub", f"{constants.ENDPOINT} answers in {time.perf_counter() - begin:.1f} s")
