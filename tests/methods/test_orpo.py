"""ORPO: against the objective of chapter 07, by hand on one pair, and its schedule."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import logsigmoid

from rlhf_mini.batch import Pairs, pack_rows
from rlhf_mini.chapters.direct.objectives import objective_of
from rlhf_mini.methods.dpo import DPOConfig, KeptReference, train_on_pairs
from rlhf_mini.methods.orpo import InverseRootConfig, ORPOConfig, mean_logp, orpo
from rlhf_mini.models import copy_of

PROMPTS, CHOSEN, REJECTED = (
    [[1, 2], [2], [3], [1]],
    [[3, 0], [1, 1, 0], [2, 0], [3, 3, 0]],
    [[2, 0], [3, 0], [1, 0], [2, 0]],
)


@pytest.fixture
def pairs():
    return Pairs(pack_rows(PROMPTS, CHOSEN, pad_token=4), pack_rows(PROMPTS, REJECTED, pad_token=4))


def config(odds_weight, *, epochs=3, batch=2, rate=1e-2):
    optimizer = InverseRootConfig(learning_rate=rate, warmup_steps=2)
    return ORPOConfig(epochs=epochs, batch=batch, odds_weight=odds_weight, optimizer=optimizer)


def test_no_reference_changes_anything(toy_policy, pairs):
    """The weights of chapter 07's objective beside a reference of noise, up to the order of float32 sums."""
    other = copy_of(toy_policy)
    settings = config(0.5)
    orpo(toy_policy, pairs, config=settings, generator=torch.Generator().manual_seed(1))
    noise = KeptReference(torch.randn(4) * 100, torch.randn(4) * 100)
    train_on_pairs(
        other,
        pairs,
        noise,
        objective_of("ORPO", {"odds_weight": 0.5}),
        config=DPOConfig(epochs=3, batch=2, optimizer=settings.optimizer),
        generator=torch.Generator().manual_seed(1),
    )
    for name, tensor in other.state_dict().items():
        torch.testing.assert_close(tensor, toy_policy.state_dict()[name], rtol=0, atol=2e-6)


def test_the_loss_by_hand(toy_policy, pairs):
    """One batch of all pairs: the mean of −p_w − λ log σ(log odds_w − log odds_l), in plain Python."""
    expected = 0.0
    with torch.no_grad():
        means = [mean_logp(toy_policy, side).double().tolist() for side in (pairs.chosen, pairs.rejected)]
    for good, bad in zip(*means, strict=True):
        odds = [math.exp(p) / (1 - math.exp(p)) for p in (good, bad)]
        expected += (-good + 0.3 * math.log1p(odds[1] / odds[0])) / 4
    generator = torch.Generator().manual_seed(0)
    history = orpo(toy_policy, pairs, config=config(0.3, epochs=1, batch=4), generator=generator)
    assert len(history) == 1
    assert history[0]["loss"] == pytest.approx(expected, rel=1e-5)
    assert history[0]["chosen"] == pytest.approx(sum(means[0]) / 4, rel=1e-5)
    assert history[0]["rejected"] == pytest.approx(sum(means[1]) / 4, rel=1e-5)


def test_the_mean_is_over_the_answer_s_tokens(toy_policy, pairs):
    """The prompt does not count: three tokens of the answer, its end among them, make the mean."""
    with torch.no_grad():
        logits = toy_policy(pairs.chosen.tokens).logits.log_softmax(-1)
    row = pairs.chosen.tokens[1].tolist()  # prompt [2], answer [1, 1, 0]
    by_hand = sum(float(logits[1, place, row[place + 1]]) for place in range(3)) / 3
    with torch.no_grad():
        mean = mean_logp(toy_policy, pairs.chosen)
    assert float(mean[1]) == pytest.approx(by_hand, rel=1e-4)


def test_gradient_of_the_odds_on_three_tokens():
    """(1 − σ) (∇ log P_w / (1 − P_w) − ∇ log P_l / (1 − P_l)), one-token answers of a table of logits."""
    from rlhf_mini.losses import odds_ratio_loss

    table = nn.Parameter(torch.tensor([0.3, -0.2, 0.8], dtype=torch.float64))
    logp = table.log_softmax(0)
    odds_ratio_loss(logp[None, 0], logp[None, 1]).sum().backward()
    p = logp.detach().exp()
    gradient = [torch.eye(3, dtype=torch.float64)[place] - p for place in (0, 1)]  # ∇ log P by the table
    lead = (p[0] / (1 - p[0])).log() - (p[1] / (1 - p[1])).log()
    share = 1 - logsigmoid(lead).exp()
    expected = share * (gradient[0] / (1 - p[0]) - gradient[1] / (1 - p[1]))
    torch.testing.assert_close(-table.grad, expected)


def test_only_chosen_answers_count_at_weight_zero(toy_policy, pairs):
    """Other rejected answers, of the same lengths, change no weight."""
    other = copy_of(toy_policy)
    swapped = Pairs(pairs.chosen, pack_rows(PROMPTS, [[1, 0], [1, 0], [3, 0], [1, 0]], pad_token=4))
    for model, data in ((toy_policy, pairs), (other, swapped)):
        orpo(model, data, config=config(0.0), generator=torch.Generator().manual_seed(2))
    assert all(torch.equal(a, b) for a, b in zip(toy_policy.parameters(), other.parameters(), strict=True))


def test_odds_move_what_the_chosen_loss_leaves(toy_policy, pairs):
    alone, both = toy_policy, copy_of(toy_policy)
    for model, weight in ((alone, 0.0), (both, 1.0)):
        orpo(model, pairs, config=config(weight, epochs=30), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        assert mean_logp(both, pairs.rejected).mean() < mean_logp(alone, pairs.rejected).mean()


def test_mistakes(pairs, toy_policy):
    with pytest.raises(ValueError, match="warm-up"):
        InverseRootConfig(learning_rate=1.0)
    with pytest.raises(ValueError, match="odds_weight"):
        config(-0.1)
    margins = Pairs(pairs.chosen, pairs.rejected, margin=torch.zeros(4))
    with pytest.raises(ValueError, match="ignored"):
        orpo(toy_policy, margins, config=config(0.1), generator=torch.Generator())
