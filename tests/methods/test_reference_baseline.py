"""Scores over the reference's own answer: a constant for each prompt, and nothing else."""

import pytest
import torch

from rlhf_mini.batch import Sequences, pack_rows
from rlhf_mini.data.chat import draw
from rlhf_mini.methods.reference_baseline import over_reference, prompts_of, reference_scores

PROMPTS = [(1,), (2,), (3, 1)]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def answers_to(model, tokenizer, prompts, seed=0):
    samples = draw(model, tokenizer, prompts, max_new_tokens=3, generator=seeded(seed))
    return Sequences(samples.tokens, samples.mask, samples.response)


def value(sequences):
    """A score that reads the answer's tokens alone."""
    place = torch.arange(sequences.tokens.shape[1])
    return (sequences.tokens * sequences.response * (1 + place % 2)).sum(1).float()


def offset(sequences):
    """A function of the prompt alone, as different scales of tasks are."""
    return torch.tensor([100.0 * sum(prompt) for prompt in prompts_of(sequences)])


def test_the_reference_s_own_answer_is_worth_nothing(toy_policy, toy_tokenizer):
    """The same draw once more, so that the answers are y_ref themselves: exactly 0 each."""
    baselines = reference_scores(
        toy_policy, value, toy_tokenizer, PROMPTS, max_new_tokens=3, generator=seeded()
    )
    own = answers_to(toy_policy, toy_tokenizer, PROMPTS)
    assert set(baselines) == set(PROMPTS)
    assert len(set(baselines.values())) > 1
    assert over_reference(value, baselines)(own).tolist() == [0.0, 0.0, 0.0]


def test_a_function_of_the_prompt_added_to_the_score_changes_nothing(toy_policy, toy_tokenizer):
    def moved(sequences):
        return value(sequences) + offset(sequences)

    others = answers_to(toy_policy, toy_tokenizer, PROMPTS * 4, seed=7)
    paid = [
        over_reference(
            score,
            reference_scores(toy_policy, score, toy_tokenizer, PROMPTS, max_new_tokens=3, generator=seeded()),
        )(others)
        for score in (value, moved)
    ]
    assert torch.equal(*paid)
    assert paid[0].unique().numel() > 2
    assert not torch.equal(value(others), moved(others))


def test_two_answers_to_a_prompt_differ_by_what_they_did():
    answers = pack_rows([[1], [1]], [[4, 0], [2, 0]], pad_token=0)
    paid = over_reference(value, {(1,): 5.0})(answers)
    assert float(paid[0] - paid[1]) == float(value(answers)[0] - value(answers)[1])
    assert torch.equal(paid, value(answers) - 5)


def test_every_prompt_is_answered_once(toy_policy, toy_tokenizer):
    seen = []

    def watching(sequences):
        seen.extend(prompts_of(sequences))
        return value(sequences)

    reference_scores(
        toy_policy, watching, toy_tokenizer, PROMPTS * 3, max_new_tokens=3, generator=seeded(), batch=2
    )
    assert seen == PROMPTS


def test_an_unknown_prompt_is_refused():
    answers = pack_rows([[4]], [[1, 0]], pad_token=0)
    with pytest.raises(ValueError, match=r"no baseline is known for the prompt \(4,\); there are 1"):
        over_reference(value, {(1,): 0.0})(answers)
