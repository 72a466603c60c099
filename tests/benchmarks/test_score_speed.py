import multiprocessing
from pathlib import Path

import pytest

import score_speed


def test_both_scorers_give_the_same_figures_on_what_is_measured(tmp_path: Path) -> None:
    for seed in range(2):
        score_speed.write_video(tmp_path / "t" / f"v{seed}", tmp_path / "p" / f"v{seed}", 72, 128, 7, seed)
    got = [
        score_speed.timed(scorer, tmp_path / "t", tmp_path / "p", 1)
        for scorer in (score_speed.ours, score_speed.theirs)
    ]
    assert got[0][2] == pytest.approx(got[1][2], abs=1e-12)
    assert 0.3 < got[0][2][0] < 1
    assert all(seconds > 0 for seconds, _, _ in got)
    assert not multiprocessing.active_children()
