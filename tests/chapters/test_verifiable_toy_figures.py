"""The figures of chapter 12's toy language say in words what they show, and show what was measured."""

import re

import pytest

from rlhf_mini.chapters.verifiable import toy, toy_figures, toy_groups, toy_kl, toy_moves, toy_tries


def test_the_slider_shows_a_size_of_group_each():
    shown = toy_figures.group_frames()
    assert shown.body.count('class="rm-frame"') == len(toy_figures.GROUPS)
    told = re.findall(r"in groups of (\d+): GRPO (\S+) at a pass rate of 0.01 and (\S+) at 0.48", shown.text)
    assert [int(size) for size, _, _ in told] == list(toy_figures.GROUPS)
    hard, even = ([float(row[place]) for row in told] for place in (1, 2))
    assert hard == sorted(hard)
    assert even == sorted(even)
    idle = re.findall(r"all wrong: (\S+) at a pass rate of 0.01", shown.text)
    expected = [0.01**size + 0.99**size for size in toy_figures.GROUPS]
    assert [float(share.rstrip(",")) for share in idle] == pytest.approx(expected, abs=0.006)


def test_lengths_are_told():
    found = [toy_groups.by_length(seed=0)]
    shown = toy_figures.length_figure(found)
    assert "GRPO from 1.00 to 0.50" in shown.text
    assert f"GRPO from −3.00 to −{-found[0]['wrong 4 GRPO']:.2f}" in shown.text


def test_parting_and_own_ways_end_where_they_end():
    parted, own = [toy_moves.parted(seed=0)], [toy_moves.own_ways(seed=0)]
    assert f"CISPO {parted[0]['cosine CISPO'][-1]:.2f}" in toy_figures.parting_figure(parted).text
    shown = toy_figures.own_ways_figure(own)
    assert f"RLOO {own[0]['RLOO']['pass_rate'][-1]:.2f}" in shown.text
    assert set(toy_figures.LATER) <= set(toy.methods_of(toy.World(0)))


def test_the_slopes_of_the_penalties():
    """k3's is 1 − π_ref/π: far below the reference it pulls up without bound, far above with 1 at most."""
    shown = toy_figures.penalty_figure()
    assert "goes from −11.18 to 0.92" in shown.text  # 1 − e^2.5 and 1 − e^−2.5
    assert set(toy_kl.PENALTIES) >= {"k1", "k2", "k3"}


def test_tries_are_told():
    found = toy_tries.curves("behind")
    assert f"the vote goes to {found['majority'][-1]:.2f}" in toy_figures.tries_figure().text
    rare = toy_tries.estimates("rare")
    told = toy_figures.estimates_figure().text
    assert f"{rare['pass'][-1]:.3f}, as it should be, and the other {rare['plugged in'][-1]:.3f}" in told
