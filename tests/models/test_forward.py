"""The lean forward against `transformers`' own, in values and gradients, for Llamas and for the fallback."""

import copy

import pytest
import torch

from rlhf_mini.models import (
    new_reward_model,
    new_value_model,
    response_logp,
    response_logp_and_entropy,
    sequence_scores,
    token_logits,
    token_values,
)
from rlhf_mini.models.llama import is_plain_llama
from tests.models.tiny import llama, other

# float32 keeps 1e-7 of a number, and a logit here (at most about 10) is a sum of some hundred products
TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}


def own_logits(model, tokens, mask):
    return model(input_ids=tokens, attention_mask=mask.long()).logits


def own_logp(model, tokens, mask, response, temperature=1.0):
    """By the definition, one token at a time."""
    logits = own_logits(model, tokens, mask) / temperature
    logp = torch.zeros(tokens.shape)
    for row in range(len(tokens)):
        for t in range(1, tokens.shape[1]):
            if response[row, t]:
                logp[row, t] = logits[row, t - 1].log_softmax(-1)[tokens[row, t]]
    return logp


def gradients(model, number):
    model.zero_grad()
    number.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def test_which_models_take_the_lean_way():
    assert is_plain_llama(llama())
    assert is_plain_llama(other("grouped"))
    assert is_plain_llama(new_value_model(new_reward_model(llama(), seed=0)))
    assert not is_plain_llama(other("qwen2"))
    assert not is_plain_llama(other("neox"))
    changed = llama()
    changed.config.attention_dropout = 0.1
    assert not is_plain_llama(changed.train())
    assert is_plain_llama(changed.eval())
    adapted = llama()
    adapted.model.layers[0].mlp.up_proj = torch.nn.utils.parametrizations.weight_norm(
        adapted.model.layers[0].mlp.up_proj
    )
    assert not is_plain_llama(adapted)


def test_logits_equal_the_models_own(model, batch):
    tokens, mask, _ = batch
    ours, own = token_logits(model, tokens, mask), own_logits(model, tokens, mask)
    assert own[mask].abs().max() > 1  # the comparison has something to compare
    torch.testing.assert_close(ours[mask], own[mask], **TOLERANCE)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logp_and_its_gradients_equal_the_models_own(model, batch, temperature):
    tokens, mask, response = batch
    weight = torch.randn(tokens.shape)
    ours = response_logp(model, tokens, mask, response, temperature=temperature)
    own = own_logp(model, tokens, mask, response, temperature)
    torch.testing.assert_close(ours, own, **TOLERANCE)
    got = gradients(model, (ours * weight).sum())
    for name, expected in gradients(model, (own * weight).sum()).items():
        # relative to the largest entry: the entries themselves are sums that may cancel
        torch.testing.assert_close(got[name], expected, atol=1e-5 * float(expected.abs().max()), rtol=1e-5)


def test_a_full_batch_without_padding(batch):
    tokens, mask, _ = (each[:1, :9] for each in batch)
    torch.testing.assert_close(
        token_logits(llama(), tokens, mask), own_logits(llama(), tokens, mask), **TOLERANCE
    )


def test_columns_without_response_are_zero_and_column_zero_always(model, batch):
    tokens, mask, _ = batch
    logp, entropy = response_logp_and_entropy(model, tokens, mask, mask)
    for result in (logp, entropy):
        assert (result[:, 0] == 0).all()
        assert (result[~mask] == 0).all()
    assert (logp[mask][1:] <= 0).all()


def test_entropy_is_that_of_the_distribution_before_the_token(model, batch):
    tokens, mask, response = batch
    _, entropy = response_logp_and_entropy(model, tokens, mask, response, temperature=0.8)
    logits = own_logits(model, tokens, mask) / 0.8
    for row, t in response.nonzero().tolist():
        if t > 0:
            expected = torch.distributions.Categorical(logits=logits[row, t - 1]).entropy()
            torch.testing.assert_close(entropy[row, t], expected, **TOLERANCE)


def test_an_empty_response_gives_zeros_and_zero_gradients(batch):
    tokens, mask, _ = batch
    model = llama()
    logp = response_logp(model, tokens, mask, torch.zeros_like(mask))
    assert (logp == 0).all()
    logp.sum().backward()
    assert all((p.grad is None or p.grad.abs().max() == 0) for p in model.parameters())


def test_what_stands_in_the_padding_changes_nothing(model, batch):
    tokens, mask, response = batch
    junk = tokens.masked_fill(~mask, 47)
    torch.testing.assert_close(
        response_logp(model, tokens, mask, response), response_logp(model, junk, mask, response), **TOLERANCE
    )


def test_scores_equal_the_classifiers_own(model, batch):
    tokens, mask, _ = batch
    reward = new_reward_model(model, seed=1)
    own = reward(input_ids=tokens, attention_mask=mask.long()).logits[:, 0]
    scores = sequence_scores(reward, tokens, mask)
    assert own.std() > 0.1
    torch.testing.assert_close(scores, own, **TOLERANCE)
    got = gradients(reward, scores.square().sum())
    for name, expected in gradients(reward, own.square().sum()).items():
        torch.testing.assert_close(got[name], expected, atol=1e-5 * float(expected.abs().max()), rtol=1e-5)


def test_a_text_that_holds_the_padding_token_is_scored_at_its_end():
    reward = new_reward_model(llama(), seed=1)
    tokens = torch.tensor([[1, 5, 0]])  # the last token has the padding's id, and is real
    score = sequence_scores(reward, tokens, torch.ones_like(tokens).bool())
    at_the_end = reward.score(reward.model(tokens).last_hidden_state)[0, -1]
    torch.testing.assert_close(score, at_the_end, **TOLERANCE)


def test_values_stand_beside_the_token_that_follows_the_prefix(model, batch):
    tokens, mask, _ = batch
    value = new_value_model(new_reward_model(model, seed=1)).eval()
    values = token_values(value, tokens, mask)
    own = value(input_ids=tokens, attention_mask=mask.long()).logits[..., 0]
    assert (values[:, 0] == 0).all()
    assert (values[~mask] == 0).all()
    torch.testing.assert_close(values[:, 1:][mask[:, 1:]], own[:, :-1][mask[:, 1:]], **TOLERANCE)


def test_a_new_value_model_says_what_the_reward_model_would_say_of_the_prefix(batch):
    tokens, mask, _ = batch
    reward = new_reward_model(llama(), seed=1)
    values = token_values(new_value_model(reward), tokens, mask)
    for t in range(1, 5):
        prefix = tokens[:3, :t]
        scores = sequence_scores(reward, prefix, torch.ones_like(prefix).bool())
        torch.testing.assert_close(values[:3, t], scores, **TOLERANCE)


def test_bfloat16_autocast_runs_and_stays_close(batch):
    tokens, mask, response = batch
    model = llama()
    exact = response_logp(model, tokens, mask, response)
    with torch.autocast("cpu", torch.bfloat16):
        rough = response_logp(model, tokens, mask, response)
    assert rough.dtype == torch.float32
    # bfloat16 keeps 8 bits: 0.4% of logits of size 10, through two layers
    torch.testing.assert_close(rough, exact, atol=0.3, rtol=0.05)
    rough.sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_a_float64_model_works(batch):
    tokens, mask, response = batch
    model = copy.deepcopy(llama()).double()
    exact = response_logp(model, tokens, mask, response)
    torch.testing.assert_close(exact, response_logp(llama(), tokens, mask, response), **TOLERANCE)


def test_bad_batches_are_named(batch):
    tokens, mask, response = batch
    model = llama()
    with pytest.raises(ValueError, match=r"torch.int64 mask"):
        response_logp(model, tokens, mask.long(), response)
    with pytest.raises(ValueError, match="row 0 of the mask has real tokens after padding"):
        response_logp(model, tokens, mask.flip(1), response)
    with pytest.raises(ValueError, match=r"response mask of shape \(4, 3\)"):
        response_logp(model, tokens, mask, response[:, :3])
    with pytest.raises(ValueError, match="temperature must be above 0, got 0"):
        response_logp(model, tokens, mask, response, temperature=0.0)
    long = torch.ones(2, 65, dtype=torch.long)
    with pytest.raises(ValueError, match=r"65 tokens wide .* context is 64"):
        token_logits(model, long, long.bool())
