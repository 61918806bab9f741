"""Averaged weights: against plain sums, what they keep, and what is refused."""

import copy

import pytest
import torch
from transformers import LlamaForSequenceClassification

from rlhf_mini.models import new_reward_model
from rlhf_mini.models.averaging import uniform_average, weighted_average
from tests.models.tiny import llama


def reward_model(*, noise=0):
    """One start; `noise` moves every weight a little, as fine-tuning does."""
    model = new_reward_model(llama(), seed=0)
    generator = torch.Generator().manual_seed(noise)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * bool(noise) * torch.randn(weight.shape, generator=generator))
    return model


def weights(model):
    return {name: weight.double() for name, weight in model.state_dict().items()}


def test_the_mean_of_two_by_hand():
    first, second = reward_model(), reward_model()
    with torch.no_grad():
        first.score.weight.fill_(1.0)
        second.score.weight.fill_(4.0)
    assert torch.equal(
        uniform_average([first, second]).score.weight, torch.full_like(first.score.weight, 2.5)
    )
    # weights 1 and 3: (1·1 + 3·4)/4
    third = weighted_average([first, second], weights=[1.0, 3.0])
    assert torch.equal(third.score.weight, torch.full_like(first.score.weight, 3.25))


def test_every_weight_is_averaged():
    members = [reward_model(noise=noise) for noise in (1, 2, 3)]
    averaged = weights(uniform_average(members))
    for name, weight in averaged.items():
        expected = sum(weights(member)[name] for member in members) / 3
        torch.testing.assert_close(weight, expected, rtol=0, atol=1e-7)
        assert not torch.equal(weight, weights(members[0])[name])


def test_only_the_proportions_of_weights_count_and_they_may_be_negative():
    members = [reward_model(noise=noise) for noise in (1, 2)]
    first, same = (weighted_average(members, weights=shares) for shares in ([1.0, 2.0], [10.0, 20.0]))
    for name, weight in weights(first).items():
        torch.testing.assert_close(weight, weights(same)[name], rtol=0, atol=1e-7)
    beyond = weights(weighted_average(members, weights=[-1.0, 2.0]))
    for name, weight in beyond.items():
        expected = 2 * weights(members[1])[name] - weights(members[0])[name]
        torch.testing.assert_close(weight, expected, rtol=0, atol=1e-6)


def test_one_model_is_its_own_average_and_the_members_stay_as_they_are():
    model = reward_model(noise=1)
    before = copy.deepcopy(model.state_dict())
    averaged = uniform_average([model])
    with torch.no_grad():
        averaged.score.weight.add_(1.0)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, before[name])


def test_the_average_is_a_frozen_model_that_scores_between_its_members():
    """A head alone that differs: scores are linear in it, so that the average's score is the mean score."""
    first, second = reward_model(), reward_model()
    with torch.no_grad():
        second.score.weight.mul_(-3.0)
    averaged = uniform_average([first, second])
    assert isinstance(averaged, LlamaForSequenceClassification)
    assert not averaged.training
    assert not any(weight.requires_grad for weight in averaged.parameters())
    tokens = torch.tensor([[1, 5, 6, 7, 2]])
    with torch.no_grad():
        logits = [model.eval()(tokens).logits for model in (first, second, averaged)]
    torch.testing.assert_close(logits[2], (logits[0] + logits[1]) / 2)


def test_a_member_s_normalisation_is_not_the_average_s():
    members = [reward_model(noise=noise) for noise in (1, 2)]
    members[0].config.mean, members[0].config.std = 3.0, 0.5
    averaged = uniform_average(members)
    assert (averaged.config.mean, averaged.config.std) == (0.0, 1.0)
    assert (members[0].config.mean, members[0].config.std) == (3.0, 0.5)


def test_tied_weights_stay_tied():
    averaged = uniform_average([llama(seed=0), llama(seed=1)])
    assert averaged.lm_head.weight is averaged.model.embed_tokens.weight


def test_models_that_do_not_match_are_refused():
    model = reward_model()
    with pytest.raises(
        ValueError, match=r"one class .* LlamaForSequenceClassification .* place 2, LlamaForCausalLM"
    ):
        uniform_average([model, model, llama()])
    wider = new_reward_model(llama(vocab_size=50), seed=0)
    with pytest.raises(ValueError, match=r"embed_tokens.weight is \(48, 32\) .* place 1, \(50, 32\)"):
        uniform_average([model, wider])
    halved = reward_model().to(torch.float64)
    with pytest.raises(ValueError, match=r"torch.float32 .* torch.float64"):
        uniform_average([model, halved])
    more = reward_model()
    more.register_buffer("extra", torch.zeros(1))
    with pytest.raises(ValueError, match="'extra' is not in both"):
        uniform_average([model, more])


def test_whole_numbers_must_agree():
    first, second = reward_model(), reward_model()
    for model, count in ((first, 1), (second, 2)):
        model.register_buffer("count", torch.tensor(count))
    with pytest.raises(ValueError, match="count holds whole numbers that differ"):
        uniform_average([first, second])


@pytest.mark.parametrize("shares", [[1.0], [1.0, -1.0], [1.0, float("nan")], [float("inf"), 1.0]])
def test_weights_that_make_no_average_are_refused(shares):
    with pytest.raises(ValueError, match="weight"):
        weighted_average([reward_model(), reward_model()], weights=shares)
    with pytest.raises(ValueError, match="got 0 for 0"):
        uniform_average([])
