"""The figures of a set are those that its rows and rules give: what is printed, drawn and compared is one thing."""

from __future__ import annotations

import numpy as np
import pytest

from keepsight.evaluation import paired
from keepsight.evaluation.results import Results, Row
from keepsight.evaluation.vos.protocol import Mean, Protocol
from keepsight.evaluation.vos.statistics import headline, object_values, summarise


def rows_of_two_kinds() -> list[Row]:
    rng = np.random.default_rng(0)
    rows = []
    for video in range(6):
        for item in range(1 + video % 3):
            values = object_values(rng.random(8), rng.random(8), stability=True)
            rows.append(Row(f"v{video}", str(item), values, ("seen",) if (video + item) % 3 else ("unseen",)))
    return rows


@pytest.mark.parametrize("mean", list(Mean))
@pytest.mark.parametrize("split", ["", "youtube-vos", "lvos"])
def test_summary_follows_from_rows_and_rules(mean: Mean, split: str) -> None:
    rows = rows_of_two_kinds()
    summary, figures = summarise(rows, Protocol(mean=mean, split=split))
    results = Results("vos", (), summary, headline(summary), tuple(rows), {}, figures=figures)
    drawn = paired.estimates(results, draws=10)
    assert {name: estimate.value for name, estimate in drawn.items()} == pytest.approx(summary, abs=1e-12)
    assert ("G" in summary) == bool(split)
    assert results.headline[0] == ("G" if split else "J&F")


def test_g_is_the_mean_of_j_and_f_of_both_kinds() -> None:
    rows = rows_of_two_kinds()
    summary, _ = summarise(rows, Protocol(split="lvos"))
    parts = []
    for kind in ("seen", "unseen"):
        for name in ("J", "F"):
            parts.append(np.mean([row.values[name] for row in rows if kind in row.attributes]))
            assert summary[f"{name} {kind}"] == pytest.approx(parts[-1])
        stability = [row.values["V"] for row in rows if kind in row.attributes]
        assert summary[f"V {kind}"] == pytest.approx(np.mean(stability))
    assert summary["G"] == pytest.approx(np.mean(parts))
    assert summary["J&F"] != pytest.approx(summary["G"], abs=1e-3)


def test_one_kind_alone_has_no_g() -> None:
    rows = [row for row in rows_of_two_kinds() if "seen" in row.attributes]
    summary, _ = summarise(rows, Protocol(split="youtube-vos"))
    assert "G" not in summary
    assert list(summary)[:3] == ["J&F", "J", "F"]
