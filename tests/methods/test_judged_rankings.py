"""Rankings made of a judge's verdicts: every pair once, in a drawn order; what a favourite place does."""

import random
from itertools import permutations

import pytest
import torch

from rlhf_mini.methods.judged_rankings import compared, ranked

PROMPTS = ["p", "q"]
TEXTS = [["c", "a", "d", "b"], ["b", "d", "a", "c"]]


def by_letter(comparisons):
    """The later letter is better with chance 0.9, whatever its place."""
    return torch.tensor([0.9 if one.first > one.second else 0.1 for one in comparisons])


def by_place(comparisons):
    """The first is always better."""
    return torch.full((len(comparisons),), 1.0)


def test_an_honest_judge_ranks_by_what_it_likes():
    wins = compared(by_letter, "Be late.", PROMPTS, TEXTS, rng=random.Random(0))
    assert wins.shape == (2, 4, 4)
    assert wins[0, 0].tolist() == pytest.approx([0.5, 0.9, 0.1, 0.9])  # c against c, a, d, b
    torch.testing.assert_close(wins + wins.transpose(1, 2), torch.ones(2, 4, 4))
    order = ranked(wins)
    assert [[TEXTS[row][place] for place in places] for row, places in enumerate(order.tolist())] == [
        ["d", "c", "b", "a"]
    ] * 2


def test_every_pair_is_asked_about_once_under_the_principle_and_about_its_own_prompt():
    asked = []

    def ask(comparisons):
        asked.extend(comparisons)
        return by_letter(comparisons)

    compared(ask, "Be late.", PROMPTS, TEXTS, rng=random.Random(0))
    assert len(asked) == 12
    assert {one.principle for one in asked} == {"Be late."}
    for prompt in PROMPTS:
        pairs = [frozenset((one.first, one.second)) for one in asked if one.prompt == prompt]
        assert len(pairs) == len({*pairs}) == 6


def test_which_of_two_is_shown_first_is_drawn_and_not_by_its_number():
    """Of 2,000 pairs about half in either order: 5 standard deviations are 112."""
    texts = [["a", "b"]] * 2000
    seen = []

    def ask(comparisons):
        seen.extend(one.first for one in comparisons)
        return by_letter(comparisons)

    compared(ask, "", ["p"] * 2000, texts, rng=random.Random(3))
    assert 888 < seen.count("a") < 1112
    again = seen.copy()
    seen.clear()
    compared(ask, "", ["p"] * 2000, texts, rng=random.Random(3))
    assert seen == again


def test_a_favourite_place_favours_no_answer_and_in_a_fixed_order_it_would():
    """A judge that knows nothing but places: every number comes first about as often.

    About 2,250 of 3,000 are untied, and a number comes first in 750 of them, give or take 22; the bound is
    130, which chance passes less than once in ten million times.
    """
    count = 3000
    wins = compared(by_place, "", ["p"] * count, [["a", "b", "c"]] * count, rng=random.Random(0))
    # of three answers with one win each none is first: such ties are left out
    untied = wins[(wins.sum(2) == 2.5).any(1)]
    firsts = ranked(untied)[:, 0].bincount(minlength=3).tolist()
    assert sum(firsts) > 2000
    assert all(abs(number - sum(firsts) / 3) < 130 for number in firsts)

    class Unshuffled(random.Random):
        def sample(self, population, k):
            return [*population][:k]

    fixed = compared(by_place, "", ["p"] * 4, [["a", "b", "c"]] * 4, rng=Unshuffled())
    assert ranked(fixed).tolist() == [[0, 1, 2]] * 4


def test_ranks_do_not_depend_on_the_order_in_which_answers_come():
    for order in permutations("abcd"):
        wins = compared(by_letter, "", ["p"], [list(order)], rng=random.Random(1))
        assert [order[place] for place in ranked(wins)[0].tolist()] == ["d", "c", "b", "a"]


def test_ties_keep_their_order():
    assert ranked(torch.full((1, 3, 3), 0.5)).tolist() == [[0, 1, 2]]


def test_what_is_refused():
    with pytest.raises(ValueError, match="need as many answers"):
        compared(by_letter, "", ["p"], [["a"]], rng=random.Random(0))
    with pytest.raises(ValueError, match=r"2 lists of \[1, 2\]"):
        compared(by_letter, "", PROMPTS, [["a"], ["a", "b"]], rng=random.Random(0))
    with pytest.raises(ValueError, match="one probability for each of 6 comparisons"):
        compared(lambda c: torch.full((len(c),), 2.0), "", ["p"], [TEXTS[0]], rng=random.Random(0))
