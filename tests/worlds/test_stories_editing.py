"""Edited answers are better than they were, and what needs no editing is left alone."""

import random

from rlhf_mini.worlds.stories import demonstrate, demonstrators, draw_requests, gold
from rlhf_mini.worlds.stories.editing import edited
from rlhf_mini.worlds.stories.gold import BEST


def test_an_edit_raises_gold_and_a_perfect_answer_has_none():
    rng, better, perfect = random.Random(0), 0, 0
    for request in draw_requests(60, seed=1):
        for writer, _ in demonstrators.CREW:
            text = demonstrate(request, writer, rng)
            was, new = gold(request, text).total, edited(request.text, text, rng)
            if was >= BEST - 1e-9:
                perfect += 1
                assert new is None
            if new is not None:
                better += 1
                assert gold(request, new).total > was
    assert better > 60
    assert perfect > 60


def test_an_edit_by_hand():
    """A perfect story under the name of another hero: the edit puts back the one that was asked for."""
    rng, writer = random.Random(0), demonstrators.CREW[0][0]
    tried = 0
    for request in draw_requests(40, seed=2):
        right = demonstrate(request, writer, rng)
        if request.unkind is None and gold(request, right).total >= BEST - 1e-9:
            other = "rabbit" if request.hero != "rabbit" else "badger"
            if request.hero[0] in "aeiou" or other in right:
                continue
            tried += 1
            assert edited(request.text, right.replace(request.hero, other), rng) == right
    assert tried > 10


def test_the_same_random_numbers_make_the_same_edit():
    prompt, broken = "Tell me a happy story about a fox and a kite.", "Once upon a time, a sad owl slept."
    assert edited(prompt, broken, random.Random(3)) == edited(prompt, broken, random.Random(3))
