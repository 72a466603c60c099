"""What a policy reads at a step, in forms that a test can state."""

from __future__ import annotations

from keepsight.memory import ObjectMemory, Policy, Step


def forward(frame: int, count: int | None = 100, **fields: int) -> Step:
    return Step(frame, False, count, **fields)


def slots(policy: Policy, step: Step, memory: ObjectMemory) -> list[tuple[int, int]]:
    """``(slot code, frame)`` in the order in which they are read."""
    return [(read.slot_code, read.record.frame) for read in policy.select_memory(step, memory, 0).spatial]


def by_code(policy: Policy, step: Step, memory: ObjectMemory) -> dict[int, list[int]]:
    """Frames by slot code."""
    found: dict[int, list[int]] = {}
    for code, frame in slots(policy, step, memory):
        found.setdefault(code, []).append(frame)
    return found


def pointers(policy: Policy, step: Step, memory: ObjectMemory) -> list[tuple[int, int]]:
    """``(position, frame)`` in the order in which they are read."""
    return [(read.position, read.record.frame) for read in policy.select_memory(step, memory, 0).pointers]


def reads(policy: Policy, step: Step, memory: ObjectMemory) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Slots and pointers; nothing that was forgotten is among them."""
    selection = policy.select_memory(step, memory, 0)
    assert all(read.record.memory is not None for read in selection.spatial)
    assert all(read.record.pointer is not None for read in selection.pointers)
    return slots(policy, step, memory), pointers(policy, step, memory)
