"""Unit evaluations a frame of the policy sam2long, by the share of uncertain frames; numbers only, no model.

    python benchmarks/pathway_cost.py

The estimates are drawn: one good mask and two worse ones a frame, and every history sees them with a noise of its own. A unit
is one memory attention, decoder and memory encoder call; the image encoder, which runs once a frame whatever the policy, is
given by ``--encoder`` as a multiple of a unit. The paper's 22 and 19 frames/s for one and three pathways of SAM 2 large come to
about 11; smaller models have less, so measure yours.
"""

from __future__ import annotations

import argparse
import random

import numpy as np

from keepsight.memory import (
    Candidates,
    FrameRecord,
    MemoryLimits,
    ObjectMemory,
    ReferenceRules,
    Role,
    SAM2Long,
    Step,
)

FRAMES, CLIPS, NOISE = 200, 3, 0.02


def evaluations(seed: int, share: float, gap: float) -> float:
    """Units a frame over one made-up clip.

    Args:
        share: of uncertain frames.
        gap: how much worse the second mask is estimated than the best.
    """
    dice, noise = random.Random(seed), random.Random(-seed - 1)
    policy, bank = SAM2Long()(MemoryLimits(7, 16), ReferenceRules()), ObjectMemory()
    bank.add_conditioning(FrameRecord(0, Role.PROMPT, "memory", "pointer", iou=1.0, object_score=10.0))
    units = 0
    for frame in range(1, FRAMES):
        step = Step(frame, False, FRAMES)
        presence = 1.0 if dice.random() < share else 7.0
        masks = [0.9, 0.9 - gap * dice.uniform(0.5, 1.5), 0.9 - 2 * gap * dice.uniform(0.5, 1.5)]
        candidates = []
        for hypothesis in policy.active_hypotheses(step, bank):
            ious = tuple(float(np.clip(value + noise.gauss(0, NOISE), 0.01, 0.99)) for value in masks)
            candidates.append(
                Candidates(hypothesis, ious, presence, bank.at(frame - 1, hypothesis), lambda _: np.zeros((1, 1), bool))
            )
        units += len(candidates)
        survivors = policy.choose(step, candidates)
        records = []
        for survivor, plan in zip(survivors, policy.write_plan(step, survivors, candidates), strict=True):
            record = FrameRecord(frame, Role.TRACK, "memory", "pointer", object_score=presence, marks=dict(plan.marks))
            record.iou, record.score = candidates[survivor.hypothesis].ious[survivor.candidate], survivor.score
            records.append(record)
        policy.commit(step, bank, records)
        policy.evict(step, bank)
    return units / (FRAMES - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", type=float, default=11.0, help="cost of the image encoder in units")
    encoder = parser.parse_args().encoder
    print("uncertain  gap   units/frame  time relative to sam2")
    for share in (0.0, 0.02, 0.1, 0.2, 0.5, 1.0):
        for gap in (0.02, 0.1):
            units = float(np.mean([evaluations(seed, share, gap) for seed in range(CLIPS)]))
            print(f"{share:8.0%}  {gap:4.2f}  {units:10.2f}  {(encoder + units) / (encoder + 1):10.2f}", flush=True)


if __name__ == "__main__":
    main()
