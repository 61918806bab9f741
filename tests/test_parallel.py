"""Work side by side: the results of a plain loop, in its order, with its first exception."""

import os
import time

import pytest
import torch

from rlhf_mini.parallel import default_jobs, side_by_side
from rlhf_mini.progress import progress_bar


def tell(item):  # at module level, where another process finds it
    if item == "fail":
        raise ValueError("item fail")
    time.sleep(0.3 if item == "slow" else 0)
    return item, os.getpid(), torch.get_num_threads(), progress_bar(total=1, description="hidden").disable


@pytest.mark.slow  # two new processes load torch
def test_pieces_run_in_other_processes_which_share_the_threads_and_show_no_bar(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    told = list(side_by_side(tell, ["slow", "quick", "quick"], description="pieces", jobs=2))
    assert [item for item, *_ in told] == ["slow", "quick", "quick"]
    assert os.getpid() not in {process for _, process, *_ in told}
    assert len({process for _, process, *_ in told}) == 2
    assert {(threads, hidden) for *_, threads, hidden in told} == {(3, True)}


@pytest.mark.slow  # two new processes load torch
def test_an_exception_is_raised_where_its_result_would_come():
    results = side_by_side(tell, ["quick", "fail", "quick"], description="pieces", jobs=2)
    assert next(results)[0] == "quick"
    with pytest.raises(ValueError, match="item fail"):
        next(results)


def test_one_job_runs_here_and_takes_what_cannot_be_pickled():
    seen = []
    assert list(side_by_side(lambda x: seen.append(x) or 2 * x, [1, 2], description="here", jobs=1)) == [2, 4]
    assert seen == [1, 2]
    assert [process for _, process, *_ in side_by_side(tell, ["alone"], description="", jobs=5)] == [
        os.getpid()
    ]
    assert list(side_by_side(tell, [], description="nothing", jobs=2)) == []


def test_as_many_jobs_as_threads_on_a_processor_and_one_on_an_accelerator(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setenv("RLHF_MINI_DEVICE", "cpu")
    assert default_jobs() == 3
    monkeypatch.setattr("rlhf_mini.parallel.pick_device", lambda: torch.device("cuda"))
    assert default_jobs() == 1


def test_fewer_than_one_job_is_refused():
    with pytest.raises(ValueError, match="jobs must be at least 1, got 0"):
        list(side_by_side(tell, ["a", "b"], description="none", jobs=0))
