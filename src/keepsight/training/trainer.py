"""A training loop: AdamW, warm-up and cosine, EMA, clipping, checkpoints that resume bit-equal, a CSV curve.

It knows nothing of what is trained: a `step` function turns a step number into a loss. All randomness of a step must
come from its number (and the seed), so no generator state has to be saved. With gradients summed over several parts a
step, or over several processes, every part has a number of its own.
"""

from __future__ import annotations

import csv
import math
import os
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from keepsight.training.ranks import Ranks

StepFunction = Callable[[int, float], tuple[Tensor, dict[str, float]]]
"""(step, progress in [0, 1]) -> (loss with its graph, figures to log)."""


@dataclass
class Group:
    """Parameters that share a learning rate factor; weight decay applies to matrices and kernels only."""

    parameters: list[nn.Parameter]
    factor: float = 1.0


@dataclass
class Schedule:
    """How long and how fast. Exactly one of `steps` and `seconds` bounds the run."""

    peak: float
    steps: int | None = None
    seconds: float | None = None
    warmup: int = 100
    floor: float = 0.02
    shape: Literal["cosine", "inverse-sqrt"] = "cosine"

    def rate(self, step: int, progress: float) -> float:
        """Learning rate: linear warm-up by steps, then cosine by progress down to `floor` of the peak, or by the inverse
        square root of the steps (Vaswani et al., 2017, equation 3)."""
        if self.shape == "inverse-sqrt":
            warmup = max(1, self.warmup)
            return self.peak * min((step + 1) / warmup, math.sqrt(warmup / (step + 1)))
        wave = self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
        return self.peak * wave * min(1.0, (step + 1) / max(1, self.warmup))


class Trainer:
    """Trains `model` with a step function; see the module docstring.

    Args:
        model: its parameters and buffers go into checkpoints and the moving average.
        groups: what is optimised, and how fast.
        schedule: bounds and learning rate.
        folder: gets `checkpoint.pt` and `curve.csv`.
        ema: decay of the moving average of the weights per step (ramped up at the start).
        save_every_s: seconds between checkpoints.
        accumulate: parts of a step whose gradients are averaged. Up: steadier, at no memory; as much slower.
        precision: entered around the step function (mixed precision).
        ranks: processes that train together.
        shrink: asked for smaller steps when a GPU's memory is full; says whether there are any.
        notes: plain values that go into checkpoints and come back by :meth:`resume`.
    """

    def __init__(
        self,
        model: nn.Module,
        groups: Iterable[Group],
        schedule: Schedule,
        folder: Path,
        ema: float = 0.998,
        weight_decay: float = 0.03,
        clip: float = 1.0,
        save_every_s: float = 180.0,
        log: Callable[[str], None] = print,
        *,
        accumulate: int = 1,
        precision: Callable[[], AbstractContextManager[Any]] = nullcontext,
        ranks: Ranks | None = None,
        shrink: Callable[[], bool] | None = None,
        notes: dict[str, Any] | None = None,
    ) -> None:
        self.model, self.schedule, self.folder, self.log = model, schedule, folder, log
        self.decay, self.clip, self.save_every_s = ema, clip, save_every_s
        self.accumulate, self.precision, self.shrink = accumulate, precision, shrink
        self.ranks = ranks or Ranks()
        self.notes: dict[str, Any] = {} if notes is None else notes
        folder.mkdir(parents=True, exist_ok=True)
        param_groups = []
        for group in groups:
            for decays in (True, False):
                chosen = [p for p in group.parameters if (p.ndim > 1) == decays]
                if chosen:
                    wd = weight_decay if decays else 0.0
                    param_groups.append({"params": chosen, "weight_decay": wd, "factor": group.factor})
        self.optimizer = torch.optim.AdamW(param_groups, lr=schedule.peak, betas=(0.9, 0.98), foreach=True)
        self.average = {k: v.detach().clone() for k, v in model.state_dict().items()}
        self.step = self.skipped = 0
        self.elapsed = 0.0
        self._sums: dict[str, list[float]] = {}

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def progress(self) -> float:
        """Share of the budget used."""
        if self.schedule.steps is not None:
            return self.step / self.schedule.steps
        assert self.schedule.seconds is not None, "a schedule needs steps or seconds"
        return self.elapsed / self.schedule.seconds

    def run(self, function: StepFunction, every: int = 25, on_save: Callable[[], None] | None = None) -> None:
        """Trains until the budget is used up."""
        last = time.monotonic()
        saved = last
        while (progress := self.ranks.agree(self.progress())) < 1.0:
            rate = self.schedule.rate(self.step, progress)
            for group in self.optimizer.param_groups:
                group["lr"] = rate * group["factor"]
            try:
                seen = self._gradients(function, progress)
            except KeyboardInterrupt:
                if self.ranks.size == 1:  # nothing has changed since the last step
                    self.save()
                raise
            parameters = [p for g in self.optimizer.param_groups for p in g["params"]]
            self.ranks.average_gradients(parameters)
            norm = float(nn.utils.clip_grad_norm_([p for p in parameters if p.grad is not None], self.clip))
            if math.isfinite(norm):  # one bad batch must not ruin hours
                self.optimizer.step()
                self._update_average()
            else:
                self.skipped += 1
            self.step += 1
            now = time.monotonic()
            self.elapsed, last = self.elapsed + now - last, now
            for figures in [*seen, {"norm": norm}]:
                for key, value in figures.items():
                    if math.isfinite(value):
                        self._sums.setdefault(key, []).append(value)
            if self.step % every == 0:
                self._report(rate)
            if self.ranks.agree(now - saved) > self.save_every_s:
                self._keep(on_save)
                saved = now
        self._keep(on_save)
        if self.skipped and self.ranks.first:
            self.log(f"{self.skipped} steps gave no finite gradient and changed nothing")

    def _keep(self, on_save: Callable[[], None] | None) -> None:
        if self.ranks.first:
            self.save()
            if on_save is not None:
                on_save()
        self.ranks.wait()

    def _gradients(self, function: StepFunction, progress: float) -> list[dict[str, float]]:
        """Leaves the gradients of one step; gives the figures of its parts."""
        while True:
            self.optimizer.zero_grad(set_to_none=True)
            seen = []
            try:
                for part in range(self.accumulate):
                    number = (self.step * self.accumulate + part) * self.ranks.size + self.ranks.rank
                    with self.precision():
                        loss, figures = function(number, progress)
                    (loss / self.accumulate).backward()
                    seen.append({"loss": float(loss.detach()), **figures})
                return seen
            except torch.OutOfMemoryError:
                # Other processes wait for gradients of the same step, so only one that is alone may begin it anew.
                if self.ranks.size > 1 or self.shrink is None or not self.shrink():
                    raise
                loss = None  # type: ignore[assignment]
                torch.cuda.empty_cache()

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.decay, (1 + self.step) / (10 + self.step))
        state = self.model.state_dict()
        mine = [v for k, v in self.average.items() if v.is_floating_point()]
        theirs = [state[k].detach() for k, v in self.average.items() if v.is_floating_point()]
        torch._foreach_lerp_(mine, theirs, 1 - decay)

    def _report(self, rate: float) -> None:
        if not self.ranks.first:
            self._sums = {}
            return
        row = {k: sum(v) / len(v) for k, v in self._sums.items()}
        self._sums = {}
        self.log(
            f"{self.step} {self.elapsed / 60:.1f} min lr {rate:.1e} " + " ".join(f"{k} {v:.3f}" for k, v in row.items())
        )
        path = self.folder / "curve.csv"
        columns = ["step", "seconds", "rate", "key", "value"]
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(columns)
            for key, value in row.items():
                writer.writerow([self.step, round(self.elapsed, 1), rate, key, round(value, 5)])

    def _cut_curve(self) -> None:
        """Takes out what a run wrote after its last checkpoint: it comes again."""
        path = self.folder / "curve.csv"
        if path.exists():
            head, *rows = path.read_text(encoding="utf-8").splitlines(keepends=True)
            path.write_text("".join([head, *(row for row in rows if int(row.split(",")[0]) <= self.step)]))

    def save(self) -> None:
        """Writes the checkpoint; a crash while writing leaves the old one."""
        part = self.checkpoint.with_suffix(".part")
        torch.save(
            {
                "model": self.model.state_dict(),
                "average": self.average,
                "optimizer": self.optimizer.state_dict(),
                "step": self.step,
                "elapsed": self.elapsed,
                "notes": self.notes,
            },
            part,
        )
        os.replace(part, self.checkpoint)

    def resume(self) -> bool:
        """Continues from the checkpoint if there is one."""
        if not self.checkpoint.exists():
            return False
        state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        self.model.load_state_dict(state["model"])
        for key, value in state["average"].items():
            self.average[key].copy_(value)
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.elapsed = state["step"], state["elapsed"]
        self.notes.update(state.get("notes", {}))
        self._cut_curve()
        self.log(f"resuming at step {self.step}, {self.elapsed / 60:.1f} min")
        return True
