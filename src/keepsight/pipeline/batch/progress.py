"""How far a batch is: units by state, who is at what, and when it will be over."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from keepsight.pipeline.batch.executors.base import Hand
from keepsight.pipeline.batch.manifest import STAGES, Unit

_STATES = ("ready", "running", "done", "failed")


class Tally:
    """Counts units by (stage, state) and adds up their seconds, as they change.

    Attributes:
        counts: units by (stage, state).
    """

    def __init__(self) -> None:
        self._of: dict[int, tuple[str, str]] = {}
        self._seconds: dict[str, float] = defaultdict(float)
        self.counts: Counter[tuple[str, str]] = Counter()

    def note(self, unit: Unit) -> None:
        """Takes in a unit that is new or has changed."""
        before = self._of.get(unit.id)
        if before is not None:
            self.counts[before] -= 1
        self._of[unit.id] = (unit.stage, unit.state)
        self.counts[unit.stage, unit.state] += 1
        if unit.state == "done" and before != (unit.stage, "done"):
            self._seconds[unit.stage] += unit.seconds

    def ended(self, stage: str) -> int:
        """Units of a stage that are done or have failed."""
        return self.counts[stage, "done"] + self.counts[stage, "failed"]

    def total(self, stage: str) -> int:
        """Units of a stage, those still to be made included: every clip goes through all, up to where it fails."""
        if stage in ("plan", "link"):  # of a video, not of a clip
            return sum(self.counts[stage, state] for state in _STATES)
        clips = sum(self.counts["clip", state] for state in _STATES)
        return clips - sum(self.counts[earlier, "failed"] for earlier in STAGES[1 : STAGES.index(stage)])

    def left_s(self, hands: Sequence[Hand]) -> float | None:
        """Seconds until the batch is over, by how long its units took so far; ``None`` where nobody can know.

        Each kind of worker has its own heap to work off, and the highest heap decides. What is in flight counts as half done.
        """
        if self.total("plan") > self.ended("plan"):
            return None
        heaps: dict[tuple[str, ...], float] = defaultdict(float)
        crew = Counter(hand.stages for hand in hands)
        for stage in STAGES:
            left = self.total(stage) - self.ended(stage) - 0.5 * self.counts[stage, "running"]
            if left <= 0:
                continue
            done = self.counts[stage, "done"]
            workers = next((stages for stages in crew if stage in stages), None)
            if stage == "link" and done == 0:
                continue  # the first one comes at the very end of a video, and takes little beside the rest
            if done == 0 or workers is None:
                return None
            heaps[workers] += left * self._seconds[stage] / done / crew[workers]
        return max(heaps.values(), default=0.0)


class Observer:
    """Is told what happens in a batch; what is not of interest need not be overridden."""

    def changed(self, unit: Unit, counts: Counter[tuple[str, str]]) -> None:
        """A unit has changed; ``counts`` are units by (stage, state)."""

    def looked(self, hands: Sequence[Hand], tally: Tally) -> None:
        """A second has passed."""

    def remarked(self, line: str) -> None:
        """Something about the machines that a person should know."""
