import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
from transformers import AutoModelForTokenClassification as AutoForTokens

from rlhf_mini.models import copy_of, freeze, new_llama, new_reward_model, new_value_model
from rlhf_mini.models.build import scalar_head
from tests.models.tiny import llama

SMALL = {
    "vocab_size": 16,
    "width": 8,
    "layers": 1,
    "heads": 2,
    "context": 32,
    "pad_token": 0,
    "eos_token": 2,
    "bos_token": 1,
}


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_the_seed_decides_the_weights_and_leaves_the_global_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, again, another = (new_llama(**SMALL, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(another))


def test_embedding_and_projection_are_one_matrix():
    model = new_llama(**SMALL, seed=0)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    # by hand: embedding 16·8; attention 4·8²; MLP 3·8·32, as 8·8/3 = 21.3 rounds up to 32; norms 3·8
    assert sum(parameter.numel() for parameter in model.parameters()) == 128 + 256 + 768 + 24


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 3}, "width 8 over 3 heads"),
        ({"heads": 8}, "even number"),
        ({"pad_token": 16}, "pad_token is 16, outside the vocabulary of 16"),
        ({"eos_token": -1}, "eos_token is -1"),
        ({"pad_token": 2}, "both 2"),
    ],
)
def test_impossible_sizes_and_tokens_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        new_llama(**{**SMALL, **change}, seed=0)


def test_the_reward_model_keeps_the_backbone_and_its_head_has_the_stated_spread():
    policy = llama()
    reward = new_reward_model(policy, seed=3)
    for name, tensor in policy.base_model.state_dict().items():
        assert torch.equal(reward.base_model.state_dict()[name], tensor)
    assert reward.model.embed_tokens.weight is not policy.model.embed_tokens.weight
    wide = new_llama(**{**SMALL, "width": 4096, "layers": 0, "heads": 64}, seed=0)
    spread = float(scalar_head(new_reward_model(wide, seed=0)).weight.detach().std())
    # 4096 draws: the standard error of the deviation is 1/sqrt(8192) = 1.1% of it; 5% is 4.5 of those
    assert spread == pytest.approx((4096 + 1) ** -0.5, rel=0.05)


def test_the_value_model_starts_as_the_reward_model(model):
    model.config.classifier_dropout = 0.5
    reward = new_reward_model(model, seed=3)
    value = new_value_model(reward)
    assert torch.equal(scalar_head(value).weight, scalar_head(reward).weight)
    assert scalar_head(value).bias.abs().max() == 0
    assert value.config.classifier_dropout == 0
    for name, tensor in reward.base_model.state_dict().items():
        assert torch.equal(value.base_model.state_dict()[name], tensor)


def test_a_model_without_padding_of_its_own_gets_no_reward_head():
    model = llama()
    model.config.pad_token_id = model.config.eos_token_id
    with pytest.raises(ValueError, match="pad_token_id is 2 and its eos_token_id 2"):
        new_reward_model(model, seed=0)


def test_a_causal_model_has_no_scalar_head():
    with pytest.raises(ValueError, match="expected one linear layer with one output"):
        scalar_head(llama())


def test_copies_are_independent_and_trainable_and_frozen_models_are_not():
    model = freeze(llama())
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    copy = copy_of(model)
    assert all(parameter.requires_grad for parameter in copy.parameters())
    assert copy.lm_head.weight is copy.model.embed_tokens.weight
    with torch.no_grad():
        copy.lm_head.weight.zero_()
    assert model.lm_head.weight.abs().max() > 0


def test_models_survive_a_round_trip_bit_for_bit(tmp_path):
    policy = llama()
    reward = new_reward_model(policy, seed=1)
    value = new_value_model(reward)
    classes = (AutoModelForCausalLM, AutoModelForSequenceClassification, AutoForTokens)
    tokens = torch.tensor([[1, 5, 6, 7]])
    for model, auto in zip((policy, reward, value), classes, strict=True):
        model.eval().save_pretrained(tmp_path / auto.__name__)
        loaded = auto.from_pretrained(tmp_path / auto.__name__)
        assert type(loaded) is type(model)
        state = model.state_dict()
        assert all(torch.equal(state[name], tensor) for name, tensor in loaded.state_dict().items())
        assert torch.equal(loaded(tokens).logits, model(tokens).logits)
