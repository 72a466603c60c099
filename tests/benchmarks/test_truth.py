from truth_sample import SampleClip, fill


def test_outlines_of_the_sample_clip_are_on_its_frames() -> None:
    clip = SampleClip()
    assert len(clip.annotated) >= 6
    assert clip.frame_count > clip.annotated[-1]
    assert [target.event for target in clip.targets] == ["rabbit", "rock"]
    for frame in clip.annotated:
        rabbit, rock = (clip.truth(frame, number).to_array() for number in (1, 2))
        assert 30_000 < rabbit.sum() < 200_000
        assert 8_000 < rock.sum() < 30_000
        assert not (rabbit & rock).any()


def test_fill() -> None:
    assert fill([[1, 1], [4, 1], [4, 3], [1, 3]], 6, 6).sum() == 12
