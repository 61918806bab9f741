"""The five questions of chapter 15: no giveaway, and what their answers say is so."""

import math

import pytest
import torch

from rlhf_mini.chapters.real.quiz import QUIZ
from rlhf_mini.data.tokenizer import train_tokenizer
from rlhf_mini.evaluation.training_cost import MIXED
from rlhf_mini.losses import dpo_loss, ipo_loss
from rlhf_mini.models import new_llama, new_reward_model
from rlhf_mini.reader import quiz


def test_the_quiz_is_no_giveaway():
    assert len(QUIZ) == 5
    assert len({question.right for question in QUIZ}) >= 4
    assert quiz(QUIZ).text.count("\n") >= 5 * 3
    longest = [max(range(len(q.options)), key=lambda i, q=q: len(q.options[i][0])) for q in QUIZ]
    assert sum(place == q.right for place, q in zip(longest, QUIZ, strict=True)) <= 3


def test_the_right_answers_are_the_right_ones():
    words = ("sixteen bytes", "which rows went", "one token too early", "Hardly anything", "other's answers")
    for question, word in zip(QUIZ, words, strict=True):
        for place, (option, why) in enumerate(question.options):
            assert (word in option) == (place == question.right)
            assert why.startswith(("Yes. ", "Yes, ")) == (place == question.right)


def test_sixteen_bytes_a_parameter():
    assert MIXED.trained * 7e9 == pytest.approx(112e9)
    assert MIXED.optimizer / MIXED.trained == 3 / 4  # "three quarters of the whole"


def test_with_the_end_token_as_padding_the_score_is_read_one_token_early():
    """The texts "5 6 end" and "5 6 7 end": as long as padding has a token of its own, the end counts."""
    policy = new_llama(
        vocab_size=10, width=16, layers=1, heads=2, context=8, pad_token=0, bos_token=1, eos_token=2, seed=0
    )
    model = new_reward_model(policy, seed=0).eval()
    rows = torch.tensor([[5, 6, 2, 0], [5, 6, 7, 2]])
    mask = (rows != 0).long()
    with torch.no_grad():
        read = model(rows, attention_mask=mask).logits[:, 0]
        before_the_end = torch.stack([model(row[None]).logits[0, 0] for row in (rows[0, :2], rows[1, :3])])
        model.config.pad_token_id = 2
        wrong = model(torch.where(rows == 0, 2, rows), attention_mask=mask).logits[:, 0]
    torch.testing.assert_close(wrong, before_the_end)
    assert float((wrong - read).abs().min()) > 1e-3


def test_a_first_loss_of_log_2_says_nothing_of_the_weight_and_little_of_the_rest():
    level = torch.zeros(3)
    for kl_weight in (0.01, 0.1, 10.0):
        losses = dpo_loss(level, level, kl_weight=kl_weight)
        assert losses.tolist() == pytest.approx([math.log(2)] * 3)
    assert float(ipo_loss(level, level, kl_weight=0.1)[0]) != pytest.approx(math.log(2))  # not every loss


def test_the_book_s_own_tokenizer_keeps_the_two_apart():
    tokenizer = train_tokenizer(["a fox"], vocab_size=261)
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
