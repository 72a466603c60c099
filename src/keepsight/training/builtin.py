"""Training of the built-in network, from package archives to the weights file.

A phase has one optimiser and one learning rate curve; its stages change the length of the sub-clips, how often the true
mask is put into memory in place of the prediction, and towards the end the second half of the backbone learns too.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from keepsight.models.builtin.efficientnet import EfficientNetLite0
from keepsight.models.builtin.network import BuiltinNetwork
from keepsight.models.builtin.weights import load_network, save_weights
from keepsight.training import sources
from keepsight.training.cache import ClipCache, chunk_folders, write_chunks
from keepsight.training.clips import load_assets
from keepsight.training.episodes import EpisodeOptions, EpisodeTrainer
from keepsight.training.trainer import Group, Schedule, Trainer

DEFAULT_MINUTES = 170.0
_CHUNKS = 100_000
_FIRST_CHUNKS = 6
_KEPT_CHUNKS = 260


@dataclass(frozen=True)
class Stage:
    """One stage, from progress `start` (0..1 of the phase) on."""

    name: str
    start: float
    options: EpisodeOptions


@dataclass(frozen=True)
class Phase:
    """A run with its own optimiser, learning rate curve and cache, from the weights of the phase before.

    The features in its cache come from the backbone it starts from, so a second phase builds on what the first one
    taught the backbone. What comes out is the mean of its weights and, by the part `keep`, those it started from: they
    lie in one valley, and between them the network is better than at either end (Wortsman et al., 2022).
    """

    name: str
    share: float
    peak: float
    stages: tuple[Stage, ...]
    keep: float = 0.0


FIRST = Phase(
    "first",
    0.52,
    1.5e-3,
    (
        Stage("s1", 0.0, EpisodeOptions(clips=4, frames=2, teach=0.5, corrected=0.25)),
        Stage("s2", 0.22, EpisodeOptions(clips=3, frames=3, teach=0.4, corrected=0.3, tracked_corrections=0.06)),
        Stage("s3", 0.62, EpisodeOptions(clips=3, frames=4, teach=0.3, corrected=0.3, tracked_corrections=0.1)),
        Stage(
            "s4",
            0.76,
            EpisodeOptions(clips=3, frames=4, teach=0.25, corrected=0.3, tracked_corrections=0.1, train_tail=True),
        ),
    ),
)
SECOND = Phase(
    "second",
    0.48,
    7e-4,
    (
        Stage("t3", 0.0, EpisodeOptions(clips=4, frames=3, teach=0.35, corrected=0.3, tracked_corrections=0.08)),
        Stage("t5", 0.3, EpisodeOptions(clips=3, frames=5, teach=0.25, corrected=0.3, tracked_corrections=0.1)),
        # Long episodes on what it predicted itself: short ones make it lean on the last mask, and it drifts.
        Stage(
            "t6 tail",
            0.46,
            EpisodeOptions(
                clips=2, frames=6, teach=0.15, corrected=0.3, tracked_corrections=0.08, train_tail=True, flow=0.75
            ),
        ),
        Stage(
            "t9 tail",
            0.75,
            EpisodeOptions(
                clips=2, frames=9, teach=0.05, corrected=0.3, tracked_corrections=0.06, train_tail=True, flow=0.75
            ),
        ),
    ),
    keep=0.5,
)
PHASES = (FIRST, SECOND)
_TAIL_RATE = 0.12


def train_builtin(
    out: Path,
    *,
    data: Path = Path("data/builtin"),
    minutes: float | None = None,
    device: str = "auto",
    workers: int = 1,
    resume: bool = True,
    seed: int = 0,
    start: Path | None = None,
    phases: tuple[Phase, ...] = PHASES,
    log: Callable[[str], None] = print,
) -> Path:
    """Trains the built-in network.

    Args:
        out: folder for checkpoints, the curve and `weights.safetensors`.
        data: folder for packages and cached features (about 14 GB); may be shared by runs. The second phase needs as
            much again below `out` while it runs.
        minutes: time for training proper, without fetching; default 170. More time gives better masks.
        device: "auto" (GPU when there is one), "cpu", "cuda".
        workers: processes that make clips beside the training; 0 uses what is cached already.
        resume: continue from the checkpoint in `out`.
        seed: of the initial weights and of everything drawn.
        start: weights file to go on from in place of the first phase.
        phases: what changes in the course of the run.
        log: takes one line at a time.

    Returns:
        Path of the weights.

    Raises:
        keepsight.training.sources.SourceError: pictures or backbone weights cannot be fetched.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    sources.fetch_all(data, log)
    seconds = (minutes or DEFAULT_MINUTES) * 60
    if start is not None:
        phases = phases[1:]
        seconds /= sum(phase.share for phase in phases)
    weights = start
    for phase in phases:
        folder = out / phase.name
        finished = folder / "weights.safetensors"
        if resume and finished.exists() and (folder / "finished").exists():
            weights = finished
            continue
        fresh = weights is None
        network = new_network(data, seed, log) if weights is None else load_network(weights).requires_grad_(True)
        # Features of the ImageNet backbone serve any run; those of a trained one only the run that it belongs to.
        cache_root = data / "cache" if fresh else folder / "cache"
        if not (fresh or resume):
            shutil.rmtree(cache_root, ignore_errors=True)
        makers = _start_makers(data, cache_root, weights, workers)
        try:
            cache = _first_clips(cache_root, makers)
            if fresh:
                set_statistics(network, cache)
            made = run(network, cache, folder, seconds * phase.share, device, resume, seed, phase, log)
        finally:
            for maker in makers:
                maker.terminate()
        if weights is not None and phase.keep:
            blend(weights, made, phase.keep)
        weights = made
        (folder / "finished").touch()
        if not fresh:
            shutil.rmtree(cache_root, ignore_errors=True)
    assert weights is not None, "a run needs at least one phase"
    shutil.copyfile(weights, out / "weights.safetensors")
    # With this beside the weights the folder is a model that can be named: `--model FOLDER`.
    (out / "config.json").write_text('{"model_type": "keepsight_builtin"}\n', encoding="utf-8")
    return out / "weights.safetensors"


def blend(start: Path, end: Path, keep: float) -> None:
    """Replaces the weights file `end` by (1 - keep) of it and `keep` of `start`."""
    old, new = load_network(start).state_dict(), load_network(end).state_dict()
    mixed = {k: torch.lerp(v, old[k], keep) if v.is_floating_point() else v for k, v in new.items()}
    save_weights(mixed, end)


def _first_clips(root: Path, makers: list[multiprocessing.process.BaseProcess]) -> ClipCache:
    """The cache, once there is something in it."""
    while len(chunk_folders(root)) < _FIRST_CHUNKS:
        if makers and not any(m.is_alive() for m in makers):
            raise RuntimeError("making clips failed; see the messages above")
        if not makers:
            raise RuntimeError(f"no cached clips below {root}; run with workers >= 1")
        time.sleep(2)
    return ClipCache(root)


def new_network(data: Path, seed: int, log: Callable[[str], None] = print) -> BuiltinNetwork:
    """Network with the ImageNet backbone and fresh heads."""
    torch.manual_seed(seed)
    network = BuiltinNetwork()
    network.backbone.load_imagenet(sources.load_imagenet_state(data, log))
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


@torch.no_grad()
def set_statistics(network: BuiltinNetwork, cache: ClipCache) -> None:
    """Standardisation of the taps, and the key projection as the principal components of what it sees."""
    neck = network.neck
    for name, (mean, scale) in cache.statistics().items():
        getattr(neck, f"mean_{name}").copy_(mean)
        getattr(neck, f"scale_{name}").copy_(scale)
    picks = [(clip, 0) for clip in range(min(len(cache), 72))]
    x = neck.key_input(neck.standardise(cache.taps(picks))).permute(0, 2, 3, 1).flatten(0, 2)
    x = x - x.mean(0)
    _, vectors = torch.linalg.eigh(x.T @ x / len(x))
    neck.key.weight.copy_(vectors.flip(1)[:, : neck.key.out_channels].T[:, :, None, None])


def run(
    network: BuiltinNetwork,
    cache: ClipCache,
    out: Path,
    seconds: float,
    device: str,
    resume: bool,
    seed: int,
    phase: Phase,
    log: Callable[[str], None],
    steps: int | None = None,
) -> Path:
    """The optimisation itself, on a network with statistics set; bounded by `steps` if given, else by `seconds`."""
    network.to(device).train()
    tail = [p for block in network.backbone.blocks[5:] for p in block.parameters()]
    network.backbone.requires_grad_(False)
    heads = [p for p in network.parameters() if p.requires_grad]
    for p in tail:
        p.requires_grad_(True)
    weights = out / "weights.safetensors"
    schedule = Schedule(peak=phase.peak, steps=steps, seconds=None if steps else seconds)
    trainer = Trainer(network, [Group(heads), Group(tail, _TAIL_RATE)], schedule, out, log=log)
    if resume:
        trainer.resume()
    episodes = EpisodeTrainer(network, cache, seed, device)

    def step(number: int, progress: float) -> tuple[torch.Tensor, dict[str, float]]:
        if number % 50 == 0:
            cache.refresh()
        stage = [s for s in phase.stages if s.start <= progress][-1]
        return episodes(number, stage.options)

    trainer.run(step, on_save=lambda: save_weights(trainer.average, weights))
    return weights


def _start_makers(
    data: Path, cache: Path, weights: Path | None, workers: int
) -> list[multiprocessing.process.BaseProcess]:
    context = multiprocessing.get_context("spawn")
    makers: list[multiprocessing.process.BaseProcess] = []
    for i in range(workers):
        numbers = range(i, _CHUNKS, workers)
        maker = context.Process(target=_make_chunks, args=(data, cache, weights, numbers), daemon=True)
        maker.start()
        makers.append(maker)
    return makers


def _make_chunks(data: Path, cache: Path, weights: Path | None, numbers: range) -> None:
    if hasattr(os, "nice"):
        os.nice(10)  # training comes first
    if weights is None:
        backbone = EfficientNetLite0()
        backbone.load_imagenet(sources.load_imagenet_state(data))
    else:
        backbone = load_network(weights).backbone
    backbone.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    write_chunks(cache, backbone, load_assets(data, held_out=False), numbers, keep=_KEPT_CHUNKS)
