"""LoRA: nothing changes at first, only A and B learn, and merged it is the base plus BA·α/r."""

import math

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from rlhf_mini.models import copy_of, response_logp
from rlhf_mini.models.llama import is_plain_llama
from rlhf_mini.models.lora import LowRank, add_lora, merge_lora, trainable_parameters
from tests.models.tiny import llama, other

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def logits_of(model):
    with torch.no_grad():
        return model(torch.arange(3, 13)[None]).logits


def disturb(model):
    """Give every B something to say."""
    generator = seeded(7)
    for module in model.modules():
        if isinstance(module, LowRank):
            module.b.data = 0.3 * torch.randn(module.b.shape, generator=generator)


def test_the_map_by_hand():
    weight = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]])
    change = LowRank(weight, rank=1, scale=0.5, generator=seeded())
    change.a.data = torch.tensor([[2.0, 4.0]])
    change.b.data = torch.tensor([[1.0], [0.0], [-1.0]])
    # B A = [[2, 4], [0, 0], [-2, -4]]; half of it is added
    assert change(weight).tolist() == [[2.0, 2.0], [0.0, 1.0], [1.0, 0.0]]


def test_a_is_uniform_as_kaiming_has_it_and_b_is_zero():
    change = LowRank(torch.zeros(8, 400), rank=64, scale=1.0, generator=seeded())
    bound = 1 / math.sqrt(400)
    assert change.a.shape == (64, 400)
    assert change.a.abs().max() <= bound
    # 25,600 draws: their mean has a standard error of bound/√3/160; five of these are a chance of 6e-7
    assert abs(float(change.a.detach().mean())) < 5 * bound / math.sqrt(3) / 160
    assert float(change.a.detach().abs().max()) > 0.99 * bound
    assert not change.b.any()
    assert change.b.shape == (8, 64)


@pytest.mark.parametrize("name", ["llama", "qwen2"])
def test_at_first_nothing_changes_and_then_only_a_and_b_do(name):
    model = (llama() if name == "llama" else other(name)).eval()
    before, weights = logits_of(model), {k: v.clone() for k, v in model.state_dict().items()}
    names = add_lora(model, rank=2, alpha=4, generator=seeded())
    assert len(names) == 2 * len(PROJECTIONS)
    assert {name.split(".")[-1] for name in names} == set(PROJECTIONS)
    torch.testing.assert_close(logits_of(model), before, atol=0, rtol=0)
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert all(name.endswith((".weight.0.a", ".weight.0.b")) for name in learning)
    assert len(learning) == 2 * len(names)
    model(torch.arange(3, 13)[None]).logits.sum().backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    for name, value in model.state_dict().items():
        plain = name.replace("parametrizations.weight.original", "weight")
        if plain in weights:
            assert torch.equal(value, weights[plain]), name
    assert (logits_of(model) - before).abs().max() > 1e-4


def test_merged_it_is_the_base_plus_ba_times_alpha_over_r():
    model = llama().eval()
    base = copy_of(model).eval()
    add_lora(model, rank=4, alpha=8, generator=seeded())
    disturb(model)
    changes = {
        name: (part.parametrizations.weight[0].a.data, part.parametrizations.weight[0].b.data)
        for name, part in model.base_model.named_modules()
        if hasattr(part, "parametrizations")
    }
    adapted = logits_of(model)
    assert not is_plain_llama(model)
    merge_lora(model)
    assert is_plain_llama(model)
    for name, (a, b) in changes.items():
        weight = base.base_model.get_submodule(name).weight + (8 / 4) * b @ a
        torch.testing.assert_close(model.base_model.get_submodule(name).weight, weight, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(logits_of(model), adapted, atol=1e-5, rtol=1e-5)
    assert [*model.state_dict()] == [*base.state_dict()]


def test_counting_what_learns():
    model = llama()
    everything = sum(parameter.numel() for parameter in model.parameters())
    assert trainable_parameters(model) == everything
    layers = [m for m in model.base_model.modules() if type(m) is torch.nn.Linear]
    add_lora(model, rank=3, alpha=3, generator=seeded())
    assert trainable_parameters(model) == sum(3 * (m.in_features + m.out_features) for m in layers)


def test_gradients_pass_through_the_library_s_own_loss(batch):
    model = llama()
    add_lora(model, rank=2, alpha=2, generator=seeded())
    disturb(model)
    tokens, mask, response = batch
    response_logp(model, tokens, mask, response).sum().backward()
    parts = [module for module in model.modules() if isinstance(module, LowRank)]
    assert all(part.a.grad.abs().sum() > 0 and part.b.grad.abs().sum() > 0 for part in parts)


@pytest.mark.parametrize("rank", [0, 33])
def test_a_rank_that_cannot_be_is_refused(rank):
    model = llama()
    with pytest.raises(
        ValueError, match=f"rank must be from 1 to 32, the smallest side of a weight; got {rank}"
    ):
        add_lora(model, rank=rank, alpha=1, generator=seeded())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_the_same_generator_gives_the_same_start():
    one, two = llama(), llama()
    for model, seed in ((one, 3), (two, 3)):
        add_lora(model, rank=2, alpha=2, generator=seeded(seed))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


@pytest.mark.parametrize("rank", [1, 32])
def test_the_least_and_the_largest_rank_are_taken(rank):
    model = llama()
    add_lora(model, rank=rank, alpha=1, generator=seeded())
    assert {part.a.shape[0] for part in model.modules() if isinstance(part, LowRank)} == {rank}


def test_targets_are_the_last_parts_of_names_and_an_unknown_one_is_refused():
    model = llama()
    names = add_lora(model, rank=2, alpha=2, targets=["v_proj", "o_proj"], generator=seeded())
    assert {name.split(".")[-1] for name in names} == {"v_proj", "o_proj"}
    assert len(names) == 4
    model = llama()
    for targets, said in (
        (["query"], "is called query; choose the targets from q_proj"),
        ([], "nothing at all"),
    ):
        with pytest.raises(ValueError, match=said):
            add_lora(model, rank=2, alpha=2, targets=targets, generator=seeded())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_model_without_linear_layers_is_refused():
    config = GPT2Config(vocab_size=48, n_embd=32, n_layer=1, n_head=2, n_positions=16, eos_token_id=2)
    with pytest.raises(ValueError, match="GPT2LMHeadModel has no linear layer"):
        add_lora(GPT2LMHeadModel(config), rank=2, alpha=2, generator=seeded())


def test_changes_of_bfloat16_weights_are_kept_in_float32():
    """By hand: 1/2¹⁰ added to 1 is lost in bfloat16, which has eight bits; eight of them in B are not."""
    weight = torch.ones(2, 2, dtype=torch.bfloat16)
    change = LowRank(weight, rank=1, scale=1.0, generator=seeded())
    assert change.a.dtype is change.b.dtype is torch.float32
    change.a.data.fill_(1.0)
    for _ in range(8):
        change.b.data += 2**-10
    assert torch.equal(change(weight), torch.full((2, 2), 1 + 2**-7, dtype=torch.bfloat16))
    assert torch.equal(weight + 2**-10, weight)
