"""What two runs do not have in common, as values."""

from __future__ import annotations

from dataclasses import dataclass

from keepsight.evaluation.paired import DRAWS, Estimate
from keepsight.evaluation.report.run import Run
from keepsight.evaluation.results import Row

_SEEN = 0.0005


@dataclass(frozen=True)
class Change:
    """A figure in both runs.

    Attributes:
        before, after: the figures; NaN where a run does not have it.
        difference: ``after`` minus ``before``, with its interval.
        lower: whether less of it is better.
        count: whether it counts something.
    """

    name: str
    before: float
    after: float
    difference: Estimate
    lower: bool
    count: bool = False

    @property
    def verdict(self) -> str:
        """ "better" or "worse" where the sign is certain; otherwise empty."""
        if not self.difference.certain:
            return ""
        return "better" if (self.difference.value > 0) != self.lower else "worse"


@dataclass(frozen=True)
class RowChange:
    """A row that both runs scored, by the measure that rows are compared by."""

    before: Row
    after: Row
    change: float


@dataclass(frozen=True)
class Difference:
    """What two runs do not have in common.

    Attributes:
        before, after: the runs, reduced to their common rows where ``common`` was asked for.
        changes: every figure that both have, those of the headline first.
        settings: ``(name, before, after)`` of every setting that differs, as text; empty where a run has it not.
        measure: what ``rows`` are compared by.
        rows: rows that have the measure in both runs, from the greatest loss to the greatest gain.
        groups: change of ``measure`` by attribute.
        notes: what a reader must know.
        draws, seed: of the bootstrap.
    """

    before: Run
    after: Run
    changes: tuple[Change, ...]
    settings: tuple[tuple[str, str, str], ...]
    measure: str
    rows: tuple[RowChange, ...]
    groups: tuple[tuple[str, int, Change], ...]
    notes: tuple[str, ...]
    draws: int = DRAWS
    seed: int = 0

    @property
    def losses(self) -> list[RowChange]:
        """Rows that became worse by what can be seen in three digits, the worst first."""
        return [row for row in self.rows if row.change <= -_SEEN]

    @property
    def gains(self) -> list[RowChange]:
        """Rows that became better by what can be seen in three digits, the best first."""
        return [row for row in reversed(self.rows) if row.change >= _SEEN]
