"""Reward models from rankings, ratings and weighted pairs: what is minimised, and what is learned."""

import math
from itertools import combinations

import pytest
import torch

from rlhf_mini.batch import Pairs, Rankings, Ratings, pack_rows
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.losses import best_of_k_loss, focal_pairwise_loss, plackett_luce_loss, score_penalty
from rlhf_mini.methods.reward_model import (
    RewardModelConfig,
    raw_scores,
    scores,
    train_on_rankings,
    train_on_ratings,
    train_reward_model,
)
from rlhf_mini.models import new_llama, new_reward_model

GOOD = 7


def settings(*, epochs=1, batch=8, learning_rate=3e-3):
    return RewardModelConfig(
        epochs=epochs, batch=batch, optimizer=OptimizerConfig(learning_rate=learning_rate)
    )


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def model():
    policy = new_llama(
        vocab_size=16, width=16, layers=1, heads=2, context=12, pad_token=0, eos_token=2, bos_token=1, seed=0
    )
    return new_reward_model(policy, seed=3)


def answer_with(good: int, generator: torch.Generator) -> list[int]:
    """Three words and the end, `good` of the words being GOOD, in any place."""
    words = torch.randint(9, 16, (3,), generator=generator)
    words[torch.randperm(3, generator=generator)[:good]] = GOOD
    return [*words.tolist(), 2]


def rankings_of(count, seed=0) -> Rankings:
    """Four answers a prompt, with three, two, one and no good words, in this order."""
    generator = seeded(seed)
    answers = [answer_with(good, generator) for _ in range(count) for good in (3, 2, 1, 0)]
    return Rankings(pack_rows([[1, 4]] * len(answers), answers, pad_token=0), k=4)


def ratings_of(count, seed=0) -> Ratings:
    """Rated by the number of good words, plus two."""
    generator = seeded(seed)
    good = torch.randint(4, (count,), generator=generator).tolist()
    answers = [answer_with(number, generator) for number in good]
    return Ratings(pack_rows([[1, 4]] * count, answers, pad_token=0), torch.tensor(good) + 2.0)


def picked_first(ranked: torch.Tensor) -> torch.Tensor:
    return best_of_k_loss(ranked, torch.zeros(len(ranked), dtype=torch.int64))


@pytest.mark.parametrize("loss", [None, plackett_luce_loss, picked_first])
def test_it_learns_to_rank(model, loss):
    chosen = {} if loss is None else {"loss": loss}
    history = train_on_rankings(
        model, rankings_of(160), config=settings(epochs=4), generator=seeded(), **chosen
    )
    assert len(history) == 4 * 20
    ranked = scores(model, rankings_of(40, seed=1).answers).view(-1, 4)
    assert (ranked[:, 0] > ranked[:, 3]).float().mean() > 0.95
    assert (ranked.argmax(1) == 0).float().mean() > 0.9
    if loss is not picked_first:  # which says nothing about the order of the others
        assert history[-1]["accuracy"] > 0.9
    assert not model.training


def test_ranking_loss_and_accuracy_by_a_plain_loop(model):
    rankings = rankings_of(8)
    losses, right = [], 0
    with torch.no_grad():
        raw = [
            model(row[mask][None]).logits.item()
            for row, mask in zip(rankings.answers.tokens, rankings.answers.mask, strict=True)
        ]
    for prompt in range(8):
        pairs = list(combinations(raw[4 * prompt : 4 * prompt + 4], 2))
        losses.append(sum(math.log(1 + math.exp(worse - better)) for better, worse in pairs) / 6)
        right += sum(better > worse for better, worse in pairs)
    (entry,) = train_on_rankings(model, rankings, config=settings(), generator=seeded())
    assert entry["loss"] == pytest.approx(sum(losses) / 8, abs=1e-5)
    assert entry["accuracy"] == pytest.approx(right / 48)


def test_rankings_of_two_are_pairs(model):
    rankings = rankings_of(16)
    first_two = rankings.answers.rows([4 * row + place for row in range(16) for place in (0, 1)])
    pairs = Pairs(first_two.rows(slice(0, None, 2)), first_two.rows(slice(1, None, 2)))
    by_pairs = train_reward_model(model, pairs, config=settings(), generator=seeded())
    policy = new_llama(
        vocab_size=16, width=16, layers=1, heads=2, context=12, pad_token=0, eos_token=2, bos_token=1, seed=0
    )
    again = new_reward_model(policy, seed=3)
    by_ranks = train_on_rankings(again, Rankings(first_two, 2), config=settings(), generator=seeded())
    for one, other in zip(by_pairs, by_ranks, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)
        assert one["accuracy"] == other["accuracy"]


def test_it_learns_ratings_in_their_own_unit(model):
    history = train_on_ratings(
        model, ratings_of(256), config=settings(epochs=8, learning_rate=1e-2), generator=seeded()
    )
    assert len(history) == 8 * 32
    test = ratings_of(64, seed=1)
    errors = raw_scores(model, test.answers).detach() - test.ratings
    assert errors.square().mean() < 0.2  # the ratings' own variance is 1.25, and their mean 3.5
    assert not model.training


def test_rating_loss_by_a_plain_loop(model):
    rated = ratings_of(8)
    raw = raw_scores(model, rated.answers).detach()
    expected = sum(0.5 * (float(r) - float(y)) ** 2 for r, y in zip(raw, rated.ratings, strict=True)) / 8
    (entry,) = train_on_ratings(model, rated, config=settings(), generator=seeded())
    assert entry["loss"] == pytest.approx(expected, rel=1e-5)


def pairs_of(count, **numbers) -> Pairs:
    generator = seeded(2)
    sides = [[answer_with(good, generator) for _ in range(count)] for good in (2, 1)]
    return Pairs(*(pack_rows([[1, 4]] * count, side, pad_token=0) for side in sides), **numbers)


def test_the_loss_is_the_callers_and_each_pair_has_its_weight(model):
    weight = torch.linspace(0, 2, 8)
    pairs = pairs_of(8, weight=weight)

    def loss(chosen, rejected):
        barrier = score_penalty(chosen) + score_penalty(rejected)
        return focal_pairwise_loss(chosen, rejected, focus=2.0) + 0.02 * barrier

    with torch.no_grad():
        expected = (weight * loss(raw_scores(model, pairs.chosen), raw_scores(model, pairs.rejected))).mean()
    (entry,) = train_reward_model(model, pairs, config=settings(), generator=seeded(), loss=loss)
    assert entry["loss"] == pytest.approx(float(expected), rel=1e-5)


def test_a_pair_of_weight_zero_teaches_nothing(model):
    right = pairs_of(64)
    both = Pairs(
        pack_together(right.chosen, right.rejected),
        pack_together(right.rejected, right.chosen),
        weight=torch.tensor([2.0, 0.0]).repeat_interleave(64),
    )
    train_reward_model(model, both, config=settings(epochs=6), generator=seeded())
    gaps = scores(model, right.chosen) - scores(model, right.rejected)
    assert (gaps > 0).float().mean() > 0.9  # unweighted, every pair would have its opposite beside it


def pack_together(one, other):
    tokens = [*one.tokens.tolist(), *other.tokens.tolist()]
    return pack_rows([row[:2] for row in tokens], [row[2:] for row in tokens], pad_token=0)


def test_margins_reach_a_loss_that_takes_them(model):
    seen = []

    def loss(chosen, rejected, *, margin):
        seen.append(margin.tolist())
        return (margin - (chosen - rejected)).square()

    train_reward_model(
        model, pairs_of(8, margin=torch.arange(8.0)), config=settings(), generator=seeded(), loss=loss
    )
    assert sorted(seen[0]) == list(range(8))


def test_texts_longer_than_the_context_are_refused_before_training(model, weights_of, same_weights):
    before = weights_of(model)
    answers = pack_rows([[1], [1] * 9], [[GOOD, 2], [9, 9, 9, 2]], pad_token=0)
    with pytest.raises(ValueError, match=r"row 2 has 13 tokens.* context of 12"):
        train_on_rankings(model, Rankings(answers, 2), config=settings(batch=1), generator=seeded())
    rated = Ratings(answers, torch.zeros(2))
    with pytest.raises(ValueError, match=r"row 2 has 13 tokens.* context of 12"):
        train_on_ratings(model, rated, config=settings(batch=1), generator=seeded())
    assert same_weights(before, weights_of(model))


def test_fewer_prompts_than_a_batch_are_refused(model):
    with pytest.raises(ValueError, match="4 rows do not fill one batch of 8"):
        train_on_rankings(model, rankings_of(4), config=settings(), generator=seeded())
