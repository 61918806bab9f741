"""The solutions of chapter 06 are what the library does."""

import torch

from rlhf_mini.chapters.llama2 import exercises
from rlhf_mini.data.dialogue import last_answers, pack_dialogues
from rlhf_mini.data.tokenizer import train_tokenizer
from rlhf_mini.estimators import piecewise_reward
from rlhf_mini.exact import best_of_n
from rlhf_mini.losses import pairwise_loss
from rlhf_mini.methods.rejection_sampling import best_of, keep


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_margin_loss_is_that_of_the_library():
    chosen, rejected, margin = (numbers(9, seed=seed) for seed in range(3))
    torch.testing.assert_close(
        exercises.margin_loss(chosen, rejected, margin), pairwise_loss(chosen, rejected, margin=margin)
    )


def test_the_chosen_reward_is_that_of_the_library():
    helpful, safe = numbers(200).sigmoid(), (2 * numbers(200, seed=1)).sigmoid()
    asked = numbers(200, seed=2) > 0.5
    assert torch.equal(
        exercises.chosen_reward(helpful, safe, asked), piecewise_reward(helpful, safe, asked, threshold=0.15)
    )


def test_the_best_of_k_is_exact():
    probabilities = numbers(7).double().softmax(0)
    for k in (1, 3, 20):
        expected = best_of_n(probabilities.log(), torch.arange(7.0).double(), n=k).exp()
        torch.testing.assert_close(exercises.best_of_k(probabilities, k), expected)


def test_the_best_of_each_prompt_is_the_library_s():
    scores = numbers(6, 4)
    answers = [f"{prompt} {place}" for prompt in range(6) for place in range(4)]
    rows = [answers[start : start + 4] for start in range(0, 24, 4)]
    assert (
        exercises.keep_the_best(answers, scores.flatten(), 4) == keep([""] * 6, rows, best_of(scores)).answers
    )


def test_the_last_answer_is_that_of_packed_dialogues():
    tokenizer = train_tokenizer(["who sat? a cat"], vocab_size=270)
    packed = pack_dialogues(
        tokenizer, [[("who?", "a cat"), ("sat?", "a"), ("a", "who sat")], [("a cat", "sat")]]
    )
    assert torch.equal(exercises.last_answer(packed.response), last_answers(packed).response)
