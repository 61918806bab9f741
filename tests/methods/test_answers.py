"""Answers and their rewards: where they stand, how they are scored, and what is kept of them."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf_mini.batch import pack_rows
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.data.digits import character_tokenizer
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.answers import (
    Answers,
    Drawing,
    at_most,
    best_of_each,
    best_overall,
    draw_answers,
    side_by_side,
    text_score,
)
from rlhf_mini.methods.rejection_sampling import RejectionSamplingConfig, draw_candidates
from rlhf_mini.methods.sft import SFTConfig
from rlhf_mini.worlds.sums import ALPHABET, verify
from tests.methods.toy_words import rewards_by_text, score_by_text, seeded, word_tokenizer

DRAWING = Drawing(samples=3, temperature=1.0, max_new_tokens=3)
TWO = Answers(["p", "q"], [["a", "b"], ["c", "d"]], torch.tensor([[0.0, 1.0], [3.0, 2.0]]))


def test_answers_are_those_of_rejection_sampling_with_their_scores(toy_policy):
    tokenizer, score = word_tokenizer(), score_by_text(rewards_by_text())
    found = draw_answers(toy_policy, tokenizer, ["a", "c"], score, config=DRAWING, generator=seeded())
    sft = SFTConfig(epochs=1, batch=1, optimizer=OptimizerConfig(learning_rate=1e-3))
    config = RejectionSamplingConfig(samples=3, temperature=1.0, max_new_tokens=3, sft=sft)
    expected = draw_candidates(toy_policy, tokenizer, ["a", "c"], config=config, generator=seeded())
    assert found.texts == expected
    assert (found.prompts, found.samples, found.rewards.shape) == (["a", "c"], 3, (2, 3))
    for row, prompt in enumerate(found.prompts):
        scores = score(pack_texts(tokenizer, [prompt] * 3, found.texts[row]))
        assert torch.equal(found.rewards[row], scores)


def test_answers_are_drawn_in_eval_mode_at_their_temperature(toy_policy):
    """At a low temperature the same chances draw other texts; a model that trains is put in eval mode."""
    tokenizer, score = word_tokenizer(), score_by_text(rewards_by_text())
    prompts = ["a", "c"] * 8
    toy_policy.train()
    warm, cold = (
        draw_answers(
            toy_policy,
            tokenizer,
            prompts,
            score,
            config=Drawing(samples=3, temperature=temperature, max_new_tokens=3),
            generator=seeded(),
        )
        for temperature in (1.0, 0.05)
    )
    assert not toy_policy.training
    different = [len({text for texts in found.texts for text in texts}) for found in (warm, cold)]
    assert different[0] > different[1]


def test_a_program_on_words_scores_tokens():
    tokenizer = character_tokenizer(ALPHABET)
    score = text_score(tokenizer, lambda prompt, text: verify(prompt, text).grade)
    prompts = ["right 27+58", "1+2", "27+58"]
    texts = ["7+8=15 2+5+1=8 =85", "1+2=3 =3", "7+8=15 2+5=7 =75"]
    assert score(pack_texts(tokenizer, prompts, texts)).tolist() == pytest.approx([1, 1, 1 / 3])
    seen = []
    text_score(tokenizer, lambda prompt, text: seen.append((prompt, text)) or 0.0)(
        pack_texts(tokenizer, ["1+2", "10+20"], ["=3", ""])
    )
    assert seen == [("1+2", "=3"), ("10+20", "")]


def test_a_program_reads_a_cut_off_answer_as_it_is():
    tokenizer = character_tokenizer("ab")
    cut_off = pack_rows([[1, 5]], [[6, 6]], pad_token=0)  # no end token
    seen = []
    text_score(tokenizer, lambda prompt, text: seen.append((prompt, text)) or 1.0)(cut_off)
    assert seen == [("a", "bb")]


def test_what_is_kept_stands_beside_its_prompt():
    kept = TWO.kept(torch.tensor([[True, False], [True, True]]))
    assert (kept.prompts, kept.answers) == (["p", "q", "q"], ["a", "c", "d"])
    assert len(TWO.kept(torch.zeros(2, 2, dtype=torch.bool))) == 0


def test_sources_stand_side_by_side():
    assert side_by_side([TWO]).texts == TWO.texts
    one = Answers(["p", "q"], [["x"], ["y"]], torch.tensor([[7.0], [8.0]]))
    both = side_by_side([TWO, one])
    assert both.texts == [["a", "b", "x"], ["c", "d", "y"]]
    assert both.rewards.tolist() == [[0.0, 1.0, 7.0], [3.0, 2.0, 8.0]]
    with pytest.raises(ValueError, match="to the same prompts"):
        side_by_side([TWO, Answers(["q", "p"], [["x"], ["y"]], torch.zeros(2, 1))])


def test_the_best_of_each_and_the_best_of_all():
    rewards = torch.tensor([[0.0, 1.0, 1.0], [5.0, 4.0, 6.0]])
    assert best_of_each(rewards).tolist() == [[False, True, False], [False, False, True]]
    assert best_overall(rewards).tolist() == [[False] * 3, [True, False, True]]
    assert best_overall(torch.zeros(2, 2)).tolist() == [[True, True], [False, False]]
    ties = torch.zeros(40, 25)  # so many that a sort may change the order of what ties
    assert best_overall(ties).flatten().nonzero().flatten().tolist() == [*range(40)]


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 5))
def test_as_many_are_kept_as_there_are_prompts_and_none_left_out_is_better(seed, rows, samples):
    rewards = torch.randint(4, (rows, samples), generator=seeded(seed)).float()
    for mask in (best_of_each(rewards), best_overall(rewards)):
        assert int(mask.sum()) == rows
    assert best_of_each(rewards).sum(1).tolist() == [1] * rows
    assert torch.equal(rewards[best_of_each(rewards)], rewards.amax(1))
    mask = best_overall(rewards)
    if not mask.all():
        assert rewards[mask].min() >= rewards[~mask].max()


def test_at_most_so_many_of_a_prompt():
    mask = torch.tensor([[True, False, True, True], [False] * 4, [True] * 4])
    assert at_most(mask, 2).tolist() == [[True, False, True, False], [False] * 4, [True, True, False, False]]
    assert at_most(mask, 1).int().argmax(1).tolist() == [0, 0, 0]
    assert at_most(mask, 1).sum(1).tolist() == [1, 0, 1]
    assert torch.equal(at_most(mask, 4), mask)
    with pytest.raises(ValueError, match="most must be at least 1, got 0"):
        at_most(mask, 0)


def test_bad_input():
    with pytest.raises(ValueError, match="samples and max_new_tokens"):
        Drawing(samples=0, temperature=1.0, max_new_tokens=3)
    for bad in (0.0, float("inf")):
        with pytest.raises(ValueError, match="temperature must be above 0 and finite"):
            Drawing(samples=1, temperature=bad, max_new_tokens=3)
    for texts in ([["a"]], [["a"], ["b", "c"]], [[], []]):
        with pytest.raises(ValueError, match="need the same number of answers"):
            Answers(["p", "q"], texts, torch.zeros(2, 1))
    one_nan = torch.tensor([[0.0, float("nan")], [1.0, 2.0]])
    for rewards in (torch.zeros(2), torch.zeros(2, 1), one_nan):
        with pytest.raises(ValueError, match=re.escape("rewards must be (2, 2), all finite")):
            Answers(["p", "q"], [["a", "b"], ["c", "d"]], rewards)
    for mask in (torch.ones(2, 2), torch.ones(2, dtype=torch.bool)):
        with pytest.raises(ValueError, match=re.escape("the mask must be (2, 2) and boolean")):
            TWO.kept(mask)
