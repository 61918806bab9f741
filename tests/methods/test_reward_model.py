"""Reward models: the loss that is trained, normalisation, ties, margins."""

import math

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from rlhf_mini.batch import Pairs, pack_rows
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.reward_model import (
    RewardModelConfig,
    normalise,
    pair_accuracy,
    raw_scores,
    scores,
    train_reward_model,
)
from rlhf_mini.models import new_llama, new_reward_model

GOOD, BAD = 7, 8


def settings(*, epochs=1, batch=8, learning_rate=3e-3):
    return RewardModelConfig(
        epochs=epochs, batch=batch, optimizer=OptimizerConfig(learning_rate=learning_rate)
    )


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def sequences(count, word, seed):
    """Answers of one to five words; `word` stands once among words 9 to 15."""
    generator, prompts, answers = seeded(seed), [], []
    for _ in range(count):
        length = int(torch.randint(1, 6, (), generator=generator))
        words = torch.randint(9, 16, (length,), generator=generator).tolist()
        words[int(torch.randint(length, (), generator=generator))] = word
        prompts.append([1, int(torch.randint(3, 6, (), generator=generator))])
        answers.append([*words, 2])
    return pack_rows(prompts, answers, pad_token=0)


def pairs_of(count, seed=0, margin=None):
    return Pairs(sequences(count, GOOD, 2 * seed), sequences(count, BAD, 2 * seed + 1), margin)


@pytest.fixture
def model():
    policy = new_llama(
        vocab_size=16, width=16, layers=1, heads=2, context=12, pad_token=0, eos_token=2, bos_token=1, seed=0
    )
    return new_reward_model(policy, seed=3)


def test_it_learns_a_separable_preference(model):
    history = train_reward_model(model, pairs_of(128), config=settings(epochs=4), generator=seeded())
    assert len(history) == 4 * 16
    assert abs(history[0]["loss"] - math.log(2)) < 0.3  # it starts near not knowing
    assert history[-1]["loss"] < 0.1
    assert history[-1]["accuracy"] == 1
    assert pair_accuracy(model, pairs_of(64, seed=1)) == 1  # on pairs that it has not seen


def test_exchanged_labels_teach_the_opposite(model):
    right = pairs_of(128)
    train_reward_model(
        model, Pairs(right.rejected, right.chosen), config=settings(epochs=4), generator=seeded()
    )
    assert pair_accuracy(model, pairs_of(64, seed=1)) == 0


@pytest.mark.parametrize("with_margin", [False, True])
def test_loss_and_accuracy_by_a_plain_loop(model, with_margin):
    margin = torch.linspace(0, 2, 8) if with_margin else None
    pairs = pairs_of(8, margin=margin)
    losses, correct = [], 0
    for row in range(8):
        chosen, rejected = (
            model(side.tokens[row][side.mask[row]][None]).logits.item()
            for side in (pairs.chosen, pairs.rejected)
        )
        gap = chosen - rejected - (float(margin[row]) if with_margin else 0.0)
        losses.append(math.log(1 + math.exp(-gap)))
        correct += chosen > rejected
    (entry,) = train_reward_model(model, pairs, config=settings(), generator=seeded())
    assert entry["loss"] == pytest.approx(sum(losses) / 8, abs=1e-5)
    assert entry["accuracy"] == pytest.approx(correct / 8)


def test_normalised_scores_have_mean_zero_and_deviation_one_and_survive_saving(model, tmp_path):
    reference, others = sequences(40, GOOD, 5), sequences(10, BAD, 6)
    raw, raw_others = raw_scores(model, reference).detach(), raw_scores(model, others).detach()
    normalise(model, reference)
    normalised = scores(model, reference)
    assert float(normalised.mean()) == pytest.approx(0, abs=1e-5)
    assert float(normalised.std()) == pytest.approx(1, abs=1e-5)
    expected = (raw_others - raw.mean()) / raw.std()
    torch.testing.assert_close(scores(model, others), expected, atol=1e-5, rtol=0)
    model.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert torch.equal(scores(again, others), scores(model, others))


def test_normalising_twice_is_normalising_once(model):
    reference = sequences(40, GOOD, 5)
    normalise(model, reference)
    once = (model.config.mean, model.config.std)
    normalise(model, reference)
    assert (model.config.mean, model.config.std) == once


def test_scores_do_not_depend_on_the_batch(model):
    texts = sequences(13, GOOD, 5)
    for batch in (1, 5):
        torch.testing.assert_close(scores(model, texts, batch=batch), scores(model, texts), atol=1e-6, rtol=0)


def test_a_tie_counts_one_half(model):
    texts = sequences(4, GOOD, 5)
    better, worse = (texts.rows(order) for order in scores(model, texts).argsort().flip(0)[:2].split(1))
    assert pair_accuracy(model, Pairs(better, worse)) == 1
    assert pair_accuracy(model, Pairs(worse, better)) == 0
    assert pair_accuracy(model, Pairs(better, better)) == 0.5
    both = Pairs(
        texts.rows(scores(model, texts).argsort()[[3, 3, 0, 3]]),
        texts.rows(scores(model, texts).argsort()[[0, 3, 3, 0]]),
    )
    assert pair_accuracy(model, both) == pytest.approx((1 + 0.5 + 0 + 1) / 4)


@pytest.mark.parametrize("rows", [[0], [0, 0, 0]])
def test_scores_without_spread_cannot_be_normalised(model, rows):
    texts = sequences(1, GOOD, 5).rows(rows)
    with pytest.raises(ValueError, match=rf"{len(rows)} reference sequences have standard deviation 0"):
        normalise(model, texts)


def test_fewer_pairs_than_a_batch_are_refused(model):
    with pytest.raises(ValueError, match="4 rows do not fill one batch of 8"):
        train_reward_model(model, pairs_of(4), config=settings(), generator=seeded())


def test_a_text_longer_than_the_context_is_refused_before_training(model, weights_of, same_weights):
    before = weights_of(model)
    short, long = sequences(2, GOOD, 5), pack_rows([[1], [1] * 9], [[GOOD, 2], [9, 9, 9, 2]], pad_token=0)
    for pairs in (Pairs(short, long), Pairs(long, short)):
        with pytest.raises(ValueError, match=r"row 2 has 13 tokens.* context of 12"):
            train_reward_model(model, pairs, config=settings(batch=1), generator=seeded())
    assert same_weights(before, weights_of(model))


@pytest.mark.parametrize("changes", [{"epochs": 0}, {"batch": 0}])
def test_settings_that_cannot_be_are_refused(changes):
    with pytest.raises(ValueError, match="epochs and batch must be at least 1"):
        settings(**changes)
