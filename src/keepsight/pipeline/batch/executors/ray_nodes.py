"""Which workers a machine of a Ray cluster gets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keepsight.pipeline.batch.config import BatchConfig
from keepsight.pipeline.batch.executors.base import crew_of, names_of


@dataclass(frozen=True)
class Node:
    """A machine of the cluster, and what Ray may give away there."""

    id: str
    host: str
    cpus: float
    gpus: int


@dataclass(frozen=True)
class Place:
    """Room for a worker on a machine.

    Attributes:
        name: what people call it.
        device: as the worker sees it; Ray shows it one GPU, whichever that is.
        cpus, gpus: what it takes of the machine.
    """

    node: str
    name: str
    stages: tuple[str, ...]
    device: str
    cpus: float
    gpus: int


def nodes_of(described: Iterable[Mapping[str, Any]]) -> list[Node]:
    """The machines that live, from what ``ray.nodes()`` says; several on one host are told apart by their ids."""
    alive = [item for item in described if item["Alive"]]
    hosts = [item["NodeManagerHostname"] for item in alive]
    return [
        Node(
            id=item["NodeID"],
            host=host if hosts.count(host) == 1 else f"{host}-{item['NodeID'][:4]}",
            cpus=item["Resources"].get("CPU", 0.0),
            gpus=int(item["Resources"].get("GPU", 0)),
        )
        for item, host in zip(alive, hosts, strict=True)
    ]


def places_on(node: Node, config: BatchConfig, *, gpus_anywhere: bool) -> list[Place]:
    """The workers of a machine: those of a single one (:func:`.base.crew_of`), as far as it can hold them.

    ``auto`` means every GPU of the machine, and its CPU where the whole cluster has no GPU. Segmenting on a CPU takes all
    that the others leave. A machine that Ray gives no CPU of (a head that only keeps the books) gets no workers.

    Args:
        gpus_anywhere: whether some machine of the cluster has a GPU.
    """
    if node.cpus <= 0:
        return []
    crew = crew_of(config.model_copy(update={"devices": _devices(node, config.devices, gpus_anywhere)}))
    on_cpu = sum("segment" in stages and device == "cpu" for stages, device in crew)
    small = min(1.0, node.cpus / len(crew))
    left = node.cpus - small * (len(crew) - on_cpu)
    # Ray counts in whole CPUs above one.
    large = max(float(left // on_cpu), small) if on_cpu and left >= on_cpu else small
    return [
        Place(
            node=node.id,
            name=f"{node.host} {name}",
            stages=stages,
            device=device,
            cpus=large if "segment" in stages and device == "cpu" else small,
            gpus=int(device == "cuda"),
        )
        for (stages, device), name in zip(crew, names_of(crew), strict=True)
    ]


def _devices(node: Node, wanted: Sequence[str], gpus_anywhere: bool) -> tuple[str, ...]:
    devices: list[str] = []
    for device in wanted:
        if device == "auto":
            devices += ["cuda"] * node.gpus if gpus_anywhere else ["cpu"]
        else:
            devices.append("cuda" if device.startswith("cuda") else device)
    surplus = devices.count("cuda") - node.gpus
    for _ in range(surplus):
        devices.remove("cuda")
    return tuple(devices)
