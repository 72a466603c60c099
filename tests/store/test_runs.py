"""What a run leaves behind in the file."""

from __future__ import annotations

from keepsight.store import Project


def test_a_finished_run_gives_the_space_of_its_checkpoints_back(tmp_path):
    path = tmp_path / "clip.keepsight"
    with Project.create(path) as project:
        video = project.add_video(
            path="clip.mp4", name="clip", height=4, width=6, fps=25, frame_count=9, fingerprint="x"
        )
        run = project.start_run(video, {})
        project.save_checkpoint(run, 3, bytes(range(256)) * 20_000)
        assert project.latest_checkpoint(run) is not None
        project.finish_run(run, "finished")
    assert path.stat().st_size < 500_000
