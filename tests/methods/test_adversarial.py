"""Hill climbing on a score: it climbs, keeps what is better only, and every edit is one edit."""

import random

import pytest
import torch

from rlhf_mini.methods.adversarial import climb, word_and_sentence_edits


def vowels(rows, texts):
    return torch.tensor([float(sum(letter in "aeiou" for letter in text)) for text in texts])


def exchange(text, rng):
    place = rng.randrange(len(text))
    return text[:place] + rng.choice("abcde") + text[place + 1 :]


def test_it_climbs_to_the_top_of_a_small_hill():
    found = climb(["bbbb", "cccc"], vowels, exchange, rounds=30, tries=8, rng=random.Random(0))
    for search in found:
        assert search.scores[-1] == 4
        assert list(search.scores) == sorted(set(search.scores))  # nothing kept that is not better
        assert search.scores == tuple(vowels([], search.texts).tolist())
        assert search.gain == 4 - search.scores[0]
        for one, next_one in zip(search.texts, search.texts[1:], strict=False):
            assert sum(a != b for a, b in zip(one, next_one, strict=True)) == 1


def test_every_text_is_scored_as_an_answer_to_its_own_start():
    seen = []

    def score(rows, texts):
        seen.append(list(rows))
        return torch.tensor(
            [1.0 if text[0] == "xy"[row] else 0.0 for row, text in zip(rows, texts, strict=True)]
        )

    def edit(text, rng):
        return rng.choice("xy")

    found = climb(["-", "-"], score, edit, rounds=6, tries=3, rng=random.Random(0))
    assert [search.texts[-1] for search in found] == ["x", "y"]
    assert seen[0] == [0, 1]
    assert seen[1] == [0, 0, 0, 1, 1, 1]
    assert len(seen) == 7


def test_nothing_better_leaves_the_start_alone():
    (found,) = climb(["aaaa"], vowels, exchange, rounds=5, tries=4, rng=random.Random(0))
    assert found.texts == ("aaaa",)
    assert found.gain == 0


def test_the_same_randomness_finds_the_same():
    once, again = (
        climb(["bcbc"], vowels, exchange, rounds=3, tries=2, rng=random.Random(5)) for _ in range(2)
    )
    assert once == again


def test_edits_change_one_word_or_one_sentence():
    text, words, sentences = "One fox ran. Two owls sat.", ["kite"], ["Snow fell."]
    edit, rng = word_and_sentence_edits(words, sentences), random.Random(0)
    found = {edit(text, rng) for _ in range(400)}
    assert "One fox ran." in found  # a sentence dropped
    assert "One fox ran. Snow fell." in found  # exchanged
    assert "One fox ran. Snow fell. Two owls sat." in found  # put in
    assert "One fox ran. One fox ran. Two owls sat." in found  # repeated
    assert "One kite ran. Two owls sat." in found
    assert "One fox kite ran. Two owls sat." in found
    assert "One fox fox ran. Two owls sat." in found
    assert "One ran. Two owls sat." in found
    lengths = {len(changed.split()) for changed in found}
    assert lengths <= {3, 5, 6, 7, 8, 9}


def test_a_text_never_becomes_empty():
    edit, rng = word_and_sentence_edits(["a"], ["a"]), random.Random(0)
    for _ in range(200):
        assert edit("fox", rng).strip()
    assert edit("", rng) is not None


@pytest.mark.parametrize(("starts", "rounds", "tries"), [([], 1, 1), (["a"], 0, 1), (["a"], 1, 0)])
def test_searches_that_cannot_be_are_refused(starts, rounds, tries):
    with pytest.raises(ValueError, match="need at least one start, round and try"):
        climb(starts, vowels, exchange, rounds=rounds, tries=tries, rng=random.Random(0))


@pytest.mark.parametrize(("words", "sentences"), [([], ["a"]), (["a"], [])])
def test_edits_need_something_to_put_in(words, sentences):
    with pytest.raises(ValueError, match="need words and sentences"):
        word_and_sentence_edits(words, sentences)


def test_of_several_tries_the_best_is_kept_wherever_it_stands():
    texts = iter(["1", "9", "5", "4"])
    (found,) = climb(
        ["0"],
        lambda rows, drawn: torch.tensor([float(text) for text in drawn]),
        lambda text, rng: next(texts),
        rounds=1,
        tries=4,
        rng=random.Random(0),
    )
    assert found.texts == ("0", "9")
    assert found.scores == (0.0, 9.0)


def test_one_round_of_one_try_is_enough():
    (found,) = climb(["a"], vowels, lambda text, rng: "aa", rounds=1, tries=1, rng=random.Random(0))
    assert found.texts == ("a", "aa")


def test_what_is_put_in_stands_behind_the_place_chosen():
    edit, rng = word_and_sentence_edits(["kite"], ["kite"]), random.Random(0)
    assert {edit("fox", rng) for _ in range(300)} == {"kite", "fox kite", "fox fox", "fox"}


def test_the_kinds_of_edits_by_their_random_numbers():
    class Scripted(random.Random):
        """The first random number, and the kind that is chosen, as told."""

        def __init__(self, number, kind):
            super().__init__(0)
            self.number, self.kind = number, kind

        def random(self):
            return self.number

        def choice(self, options):
            return self.kind if self.kind in options else options[0]

        def randrange(self, *_):
            return 0

    edit = word_and_sentence_edits(["kite"], ["Snow fell."])
    text = "A fox ran. It slept."
    assert edit(text, Scripted(0.2, "repeat")) == "A A fox ran. It slept."
    assert edit(text, Scripted(0.2, "drop")) == "fox ran. It slept."
    assert edit(text, Scripted(0.7, "repeat")) == "A fox ran. A fox ran. It slept."
    assert edit(text, Scripted(0.7, "drop")) == "It slept."
