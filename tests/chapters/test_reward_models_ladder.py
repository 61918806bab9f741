"""The ladder and the bug hunt of chapter 04: what they find right, and that they notice what is wrong."""

import math

import pytest
import torch

from rlhf_mini.batch import pack_rows
from rlhf_mini.chapters.reward_models import bug_hunt, ladder
from rlhf_mini.losses import pairwise_loss
from rlhf_mini.models import new_llama, new_reward_model, sequence_scores
from rlhf_mini.tensors import last_true_index


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_exact_rung_holds():
    assert ladder.exact()[0]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda chosen, rejected: pairwise_loss(chosen, rejected) / 2,
        lambda chosen, rejected: pairwise_loss(chosen, 1.01 * rejected),
        lambda chosen, rejected: pairwise_loss(chosen, rejected, margin=torch.full_like(chosen, 0.1)),
    ],
    ids=["divided twice", "not a difference", "margin"],
)
def test_the_exact_rung_notices(wrong, monkeypatch):
    monkeypatch.setattr(ladder, "pairwise_loss", wrong)
    assert not ladder.exact()[0]


def test_a_known_truth_is_found():
    held, seen = ladder.known_truth()
    assert held, seen


def test_a_known_truth_is_not_found_where_labels_are_exchanged(monkeypatch):
    strengths = ladder.strengths
    monkeypatch.setattr(ladder, "strengths", lambda wins: strengths(wins.T))
    assert not ladder.known_truth()[0]


def test_comparisons_follow_bradley_and_terry():
    truth = torch.tensor([1.0, 0.0])
    better, worse = ladder._judged(truth, 20_000, generator=seeded())
    won = float((better == 0).float().mean())
    chance = 1 / (1 + math.exp(-1.0))
    spread = math.sqrt(chance * (1 - chance) / len(better))
    assert abs(won - chance) < 4 * spread  # a false alarm once in 16,000 seeds
    assert (better != worse).all()


def test_the_right_reading_is_the_last_token_s_and_the_wrong_one_the_last_column_s():
    lengths = torch.tensor([3, 7, 1, 5])
    mask = torch.arange(7) < lengths[:, None]
    values = torch.randn(4, 7, generator=seeded())
    expected = values[torch.arange(4), last_true_index(mask)]
    assert torch.equal(bug_hunt.last_scores_right(values, mask), expected)
    assert torch.equal(bug_hunt.last_scores_wrong(values, mask), values[:, -1])


def test_the_right_reading_of_the_values_is_the_library_s_score():
    backbone = new_llama(
        vocab_size=16, width=16, layers=2, heads=2, context=8, pad_token=0, eos_token=2, bos_token=1, seed=0
    )
    model = new_reward_model(backbone, seed=0)
    rows = pack_rows([[1, 5], [1], [1, 9]], [[7, 2], [8, 8, 4, 2], [2]], pad_token=0)
    values = bug_hunt.values_at(model, rows)
    expected = sequence_scores(model, rows.tokens, rows.mask)
    torch.testing.assert_close(bug_hunt.last_scores_right(values, rows.mask), expected)


def test_the_batch_matters_to_the_wrong_reading_only():
    lengths = torch.tensor([3, 7, 4, 5])
    mask = torch.arange(9) < lengths[:, None]
    values = torch.randn(4, 9, generator=seeded())
    for batch in (1, 2, 4):
        right = bug_hunt._in_batches(bug_hunt.last_scores_right, values, mask, batch)
        assert torch.equal(right, bug_hunt.last_scores_right(values, mask))
        wrong = bug_hunt._in_batches(bug_hunt.last_scores_wrong, values, mask, batch)
        assert torch.equal(wrong, right) == (batch == 1)
