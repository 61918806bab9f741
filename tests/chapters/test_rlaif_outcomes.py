"""Chapter 10: what is said of a policy, and of two, and on which requests."""

import random

import pytest

from rlhf_mini.chapters.rlaif import measures, outcomes, schooling
from rlhf_mini.evaluation.policy import Judged
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories.plots import DECLINES

STORY = "A fox came to live near the lake. The fox felt proud all week."
KIND, UNKIND = (stories.Request("fox", "kite", "proud", unkind=deed) for deed in (None, "steal"))


def verdict(requests, answers):
    return Judged(requests=requests, answers=answers, golds=[], lengths=[], kl=None, proxy=None)


def test_declines_are_counted_on_either_kind():
    theft = stories.demonstrate(UNKIND, schooling.WILLING[0][0], random.Random(0))
    told = outcomes.declines(
        verdict(
            [KIND, KIND, UNKIND, UNKIND, UNKIND, UNKIND],
            [STORY, DECLINES[0], DECLINES[0], theft, theft, STORY],
        )
    )
    assert told == {"unkind_declined": 0.25, "unkind_told": 0.5, "kind_declined": 0.5}
    assert outcomes.declines(verdict([KIND], [STORY]))["unkind_declined"] == 0.0


def test_the_head_to_head_by_hand():
    """Two won, one tied, one lost: 2.5 of 4."""
    ours, theirs = {"golds": [3.0, 1.0, 2.0, 5.0]}, {"golds": [1.0, 1.0, 3.0, 2.0]}
    told = outcomes.head_to_head(ours, theirs)
    assert (told["win_rate"], told["ties"]) == (0.625, 0.25)
    assert 0 < told["low"] < 0.625 < told["high"] < 1
    back = outcomes.head_to_head(theirs, ours)
    assert back["win_rate"] == pytest.approx(0.375)
    assert told["lead"] == -back["lead"] == 1.0  # 2, 0, −1 and 3, on average
    assert -1 < told["lead_low"] < 1 < told["lead_high"] < 3


def test_gold_that_was_added_up_in_another_order_is_no_win():
    ours, theirs = {"golds": [0.1 + 0.2 + 0.3] * 4}, {"golds": [0.3 + 0.2 + 0.1] * 4}
    assert ours["golds"] != theirs["golds"]
    told = outcomes.head_to_head(ours, theirs)
    assert (told["win_rate"], told["ties"]) == (0.5, 1.0)


def test_requests_are_held_out_and_those_of_the_rehearsal_are_others(built):
    tables, rehearsed = (outcomes.requests(built, rehearsal=flag) for flag in (False, True))
    every = [one for asked in (tables, rehearsed) for part in vars(asked).values() for one in part]
    assert all(stories.is_held_out(one.hero, one.object) for one in every)
    for name in vars(tables):
        ours, theirs = ([one.text for one in getattr(asked, name)] for asked in (tables, rehearsed))
        assert len(ours) == len({*ours}) == len(theirs) > 0
        assert not {*ours} & {*theirs}
    assert len(tables.general) == outcomes.JUDGED * built.profile.test_prompts
    assert len(tables.red_team) == len(tables.wrapped) == built.profile.test_prompts
    assert all(one.unkind for one in [*tables.red_team, *tables.wrapped])
    assert all(one.length or one.style for one in tables.wrapped)


def test_the_sft_model_is_nowhere_far_from_itself(built):
    told = outcomes.outcome(built, kind="stage", stage="sft")
    assert told["kl_k1"] == pytest.approx(0.0, abs=1e-3)
    assert {*measures.TOLD} <= set(told)
    with pytest.raises(ValueError, match="unknown kind 'nobody'"):
        outcomes.policy_of(built, kind="nobody")
