"""The crew: order, threads of one core each, inference mode, errors; the caller's number of threads stays."""

import threading

import pytest
import torch

from keepsight.models.crew import Crew


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_pieces_run_side_by_side_on_one_core_each(two_threads: None) -> None:
    crew, together = Crew(), threading.Barrier(2, timeout=30)

    def work(item: int) -> tuple[int, int, bool, str]:
        together.wait()  # only two at a time get past this
        return item, torch.get_num_threads(), torch.is_inference_mode_enabled(), threading.current_thread().name

    with crew.lead(), torch.inference_mode():
        with crew.lead():
            assert torch.get_num_threads() == 1
        done = crew.map(work, range(4))
    assert [item for item, *_ in done] == [0, 1, 2, 3]
    assert {(threads, inference) for _, threads, inference, _ in done} == {(1, True)}
    assert len({name for *_, name in done}) == 2
    assert torch.get_num_threads() == 2
    started = []
    later = threading.Thread(target=lambda: started.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert started == [2]
    with pytest.raises(ZeroDivisionError), crew.lead():
        crew.map(lambda item: 1 // item, [1, 0])


def test_where_one_thread_is_allowed_the_caller_does_it() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    crew = Crew()
    with crew.lead():
        assert crew.map(lambda _: threading.current_thread(), range(2)) == [threading.current_thread()] * 2
    torch.set_num_threads(before)
