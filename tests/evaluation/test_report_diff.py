"""Two runs side by side: the right differences, no comparison of unlike things, a page that tells it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from keepsight.cli.main import run as keepsight
from keepsight.core import InputError
from keepsight.evaluation import paired
from keepsight.evaluation.diff import compare_runs, write_difference
from keepsight.evaluation.report import Picture, Run, open_run, write_run
from keepsight.evaluation.results import Results, Row


def _results(gain=0.0, videos=30, policy="sam2", **more):
    """J as hard as the video is, plus a gain; an error measure that moves the other way; a figure of no rows."""
    rng = np.random.default_rng(1)
    rows = []
    for video in range(videos):
        hard = float(rng.uniform(0.3, 0.8))
        own = gain * 2 * (video + 1) / (videos + 1)  # the last gains most
        values = {"J": hard + own, "lost": 0.4 - own}
        kinds = ("small",) if video % 2 else ("large",)
        rows.append(Row(f"v{video:02d}", "1", values, kinds, (1, 2, 3), {"J": (hard, hard + own, None)}))
    summary = {name: float(np.mean([row.values[name] for row in rows])) for name in ("J", "lost")} | {
        "HOTA": 0.5 + gain
    }
    told = {"dataset": "davis17", "split": "val", "root": f"/data/{policy}", "policy": policy, "options": {"n": policy}}
    return Results("vos", ("skip first",), summary, ("J", "HOTA"), tuple(rows), told, (), (), ("lost",), **more)


def _runs(tmp_path, before, after):
    for name, results in (("a", before), ("b", after)):
        if not (tmp_path / name).exists():
            write_run(results, tmp_path / name)
    return open_run(tmp_path / "a"), open_run(tmp_path / "b")


def test_differences_are_paired_and_say_better_or_worse(tmp_path):
    old, new = _results(), _results(0.05, policy="sam2long")
    found = compare_runs(*_runs(tmp_path, old, new))
    changes = {change.name: change for change in found.changes}
    assert list(changes) == ["J", "HOTA", "lost"]
    assert changes["J"].difference == paired.differences(old, new)["J"]
    assert changes["J"].difference.value == pytest.approx(0.05)
    assert [change.verdict for change in changes.values()] == ["better", "", "better"]
    assert (changes["HOTA"].difference.low, changes["HOTA"].difference.why) == (None, paired.NOT_OF_ROWS)
    backwards = compare_runs(*reversed(_runs(tmp_path, old, new)))
    assert {change.name: change.verdict for change in backwards.changes} == {"J": "worse", "HOTA": "", "lost": "worse"}
    assert [row.after.name for row in found.gains[:2]] == [row.after.name for row in backwards.losses[:2]]
    assert found.gains[0].after.name == "v29/1"
    assert {name: (a, b) for name, a, b in found.settings} == {
        "policy": ("sam2", "sam2long"),
        "root": ("/data/sam2", "/data/sam2long"),
        "options n": ("sam2", "sam2long"),
    }
    assert {name: count for name, count, _ in found.groups} == {"small": 15, "large": 15}


def test_a_run_against_itself_changes_nothing(tmp_path):
    run, _ = _runs(tmp_path, _results(), _results())
    found = compare_runs(run, run)
    for change in found.changes:
        assert change.difference.value == 0
        assert change.difference.low in (0, None)
        assert change.verdict == ""
    assert not found.losses + found.gains
    assert found.settings == ()


@pytest.mark.parametrize(("videos", "verdict"), [(5, ""), (6, "better")])
def test_a_handful_of_videos_proves_nothing(tmp_path, videos, verdict):
    before, after = _results(videos=videos), _results(0.05, videos=videos)
    [j, *_] = compare_runs(Run(tmp_path / "a", before, {}), Run(tmp_path / "b", after, {})).changes
    assert j.difference.low > 0
    assert j.verdict == verdict


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"task": "box"}, "task vos, the other of box"),
        ({"settings": {"dataset": "mose", "split": "val"}}, "dataset is davis17 in one and mose in the other"),
        ({"settings": {"dataset": "davis17", "split": "test"}}, "split is val in one and test"),
        ({"protocol": ("skip first", "void is background")}, "scored differently: .*void is background"),
        ({"rows": _results().rows[:-2]}, "2 rows are in one run only, such as v28/1"),
    ],
)
def test_unlike_runs_are_refused_with_what_differs(tmp_path, change, said):
    before = Run(tmp_path / "a", _results(), {})
    after = Run(tmp_path / "b", replace(_results(), **change), {})
    with pytest.raises(InputError, match=said) as caught:
        compare_runs(before, after)
    assert "\n" not in str(caught.value)


def test_common_rows_are_compared_on_request(tmp_path):
    old, new = _results(), _results(0.05)
    new = replace(new, rows=tuple(reversed(new.rows[10:])), settings={"dataset": "mose"})
    found = compare_runs(Run(tmp_path / "a", old, {}), Run(tmp_path / "b", new, {}), common=True)
    [j] = [change for change in found.changes if change.name == "J"]
    assert j.before == pytest.approx(np.mean([row.values["J"] for row in old.rows[10:]]))
    assert j.after == pytest.approx(np.mean([row.values["J"] for row in new.rows]))
    assert j.difference.videos == 20
    # A figure of all rows says nothing about some of them.
    assert "HOTA" not in {change.name for change in found.changes}
    assert any("mose" in note for note in found.notes)
    assert any("20 rows" in note for note in found.notes)
    strangers = replace(new, rows=(Row("other", "", {"J": 1.0}),))
    with pytest.raises(InputError, match="no row in common"):
        compare_runs(Run(tmp_path / "a", old, {}), Run(tmp_path / "b", strangers, {}), common=True)


def test_the_command_prints_and_writes_the_page(tmp_path, capsys):
    grey = np.full((40, 60, 3), 90, np.uint8)
    write_run(_results(), tmp_path / "a", pictures=[Picture("v28/1", "frame 2 <b>", grey)])
    write_run(_results(0.05, policy="[bold]x"), tmp_path / "b", pictures=[Picture("v28/1", "frame 2 <b>", grey + 60)])
    out = tmp_path / "out"
    assert (
        keepsight(["eval", "diff", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(out), "--draws", "500"]) == 0
    )
    printed = capsys.readouterr().out
    assert "+0.050" in printed
    assert "policy: sam2 / [bold]x" in printed
    page = (out / "diff.html").read_text()
    assert page.count("data:image/jpeg") == 2  # both runs' look at one row, side by side
    assert "frame 2 &lt;b&gt;" in page
    found = json.loads((out / "diff.json").read_text())
    assert found["figures"]["J"]["difference"] == pytest.approx(0.05)
    assert found["bootstrap"] == {"draws": 500, "seed": 0, "over": "videos"}
    assert len(found["rows"]) == 30


def test_the_command_refuses_in_one_line(tmp_path, capsys):
    write_run(_results(), tmp_path / "a")
    assert keepsight(["eval", "diff", str(tmp_path / "a"), str(tmp_path / "nothing")]) == 2
    assert "has no run.json" in capsys.readouterr().err


def test_pages_without_rows_or_series_can_be_written(tmp_path):
    bare = Results("concepts", (), {"cgF1": 0.4}, ("cgF1",), (), {})
    write_run(bare, tmp_path / "bare")
    assert "0.400" in (tmp_path / "bare" / "report.html").read_text()
    one = Results("box", (), {"AUC": 0.4}, ("AUC",), (Row("v", "", {"AUC": 0.4}),), {})
    before, after = Run(tmp_path / "a", one, {}), Run(tmp_path / "b", one, {})
    write_difference(compare_runs(before, after), tmp_path / "diff")
    assert "one video says nothing about others" in (tmp_path / "diff" / "diff.html").read_text()
