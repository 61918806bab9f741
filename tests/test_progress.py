"""The progress bar: when it shows, and how often it is drawn."""

import pytest

import rlhf_mini.progress as module
from rlhf_mini.progress import hide_bars, progress_bar


@pytest.fixture(autouse=True)
def _shown(monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    monkeypatch.setitem(module._state, "hidden", False)


def test_a_bar_is_redrawn_at_most_twice_a_second_and_only_after_two():
    now, drawn = [0.0], []
    bar = progress_bar(total=10_000, description="work")
    bar._time, bar.start_t, bar.last_print_t = lambda: now[0], 0.0, 0.0
    bar.display = lambda *_, **__: drawn.append(now[0])
    for _ in range(10_000):  # ten seconds
        now[0] += 0.001
        bar.update()
    assert drawn
    assert min(drawn) >= 2
    assert len(drawn) <= 18


@pytest.mark.parametrize(("value", "disabled"), [("1", True), ("0", False), ("", False)])
def test_the_environment_switches_bars_off(monkeypatch, value, disabled):
    monkeypatch.setenv("TQDM_DISABLE", value)
    assert progress_bar(total=1, description="work").disable is disabled


def test_hidden_bars_stay_hidden():
    assert not progress_bar(total=1, description="work").disable
    hide_bars()
    assert progress_bar(total=1, description="work").disable
