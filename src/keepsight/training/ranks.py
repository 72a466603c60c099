"""Several processes that train one model together (`torchrun`): each sees other clips, gradients are averaged."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn


class Ranks:
    """The processes of a run, this one among them; one of one where nothing else was said.

    Gradients are averaged here and not by DistributedDataParallel, because a step calls the parts of a model in an order of
    its own and never its `forward`.

    Attributes:
        rank: number of this process; 0 writes and talks.
        size: how many there are.
    """

    def __init__(
        self, rank: int = 0, size: int = 1, group: dist.ProcessGroup | None = None, device: str = "cpu"
    ) -> None:
        self.rank, self.size = rank, size
        self._group, self._device = group, device

    @classmethod
    def of_environment(cls, device: str) -> Ranks:
        """Joins the processes that `torchrun` started, which says so in the environment."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return cls()
        if device.startswith("cuda"):
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        # The others wait while the first one measures.
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=timedelta(hours=12))
        return cls(dist.get_rank(), size, dist.group.WORLD, device)

    @property
    def first(self) -> bool:
        """Whether this process writes and talks."""
        return self.rank == 0

    def voice(self, log: Callable[[str], None]) -> Callable[[str], None]:
        """What this process says things with: ``log`` in the first one, nothing in the others."""
        return log if self.first else _silent

    def agree(self, number: float) -> float:
        """The number of the first process, for all."""
        if self.size == 1:
            return number
        told = torch.tensor([number if self.first else 0.0], dtype=torch.float64, device=self._device)
        self._sum(told)
        return float(told)

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replaces gradients by their mean over all processes; one that saw none counts as zero."""
        if self.size == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        flat = torch.cat([_gradient(parameter).flatten() for parameter in parameters])
        self._sum(flat)
        flat /= self.size
        start = 0
        for parameter in parameters:
            stop = start + parameter.numel()
            _gradient(parameter).copy_(flat[start:stop].view_as(parameter))
            start = stop

    def wait(self) -> None:
        """Goes on when all are here."""
        self.agree(0.0)

    def _sum(self, x: Tensor) -> None:
        assert self._group is not None, "several processes need a group"
        self._group.allreduce([x]).wait()

    def leave(self) -> None:
        """Ends the group of processes."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def _silent(line: str) -> None:
    """Takes a line."""
