"""The toy language that chapters share: its worlds, and the small Llama that speaks it."""

import pytest
import torch
from transformers import LlamaForCausalLM, LlamaForTokenClassification

from rlhf_mini.chapters import toy_language
from rlhf_mini.chapters.direct.toy import ToyWorld as Preferences
from rlhf_mini.chapters.filtering.toy import ToyWorld as FirstPolicy
from rlhf_mini.chapters.rlaif.toy import World as Judged
from rlhf_mini.chapters.toy_language import LANGUAGE, TEXTS, TextWorld, exact_logp, small_llama


def test_worlds_are_distributions_of_their_seed():
    one, again, other = TextWorld(0), TextWorld(0), TextWorld(1)
    assert one == again != other
    assert torch.equal(one.logp_ref, again.logp_ref)
    assert torch.equal(one.rewards, again.rewards)
    assert not torch.equal(one.rewards, other.rewards)
    assert not torch.equal(one.logp_ref, other.logp_ref)
    assert float(one.logp_ref.exp().sum()) == pytest.approx(1, abs=1e-12)
    assert len(one.rewards) == TEXTS == len(LANGUAGE.texts) == 1 + 4 + 16 + 64


def test_a_reference_draws_its_logits_before_the_rewards():
    """By hand: 21 states of 5 logits each, then 85 rewards, all from one stream."""
    draw, world = torch.Generator().manual_seed(3), TextWorld(3)
    logits = torch.randn(21, 5, generator=draw, dtype=torch.float64)
    rewards = torch.randn(85, generator=draw, dtype=torch.float64)
    assert torch.equal(world.rewards, rewards)
    place = LANGUAGE.texts.index((LANGUAGE.end_token,))  # the end at once: the first state alone
    assert float(world.logp_ref[place]) == pytest.approx(float(logits[0].log_softmax(0)[LANGUAGE.end_token]))


@pytest.mark.parametrize("room", [Preferences, FirstPolicy, Judged])
def test_every_room_has_the_same_world(room):
    world, own = TextWorld(2), room(2)
    assert torch.equal(own.logp_ref, world.logp_ref)
    assert torch.equal(own.rewards, world.rewards)
    if room is FirstPolicy:
        assert torch.equal(own.logp, world.logp_ref)


def test_leads_by_hand():
    found = toy_language.leads(torch.tensor([3.0, 1.0]))
    assert found.tolist() == [[0.0, 2.0], [-2.0, 0.0]]


def test_the_small_llama_is_the_same_for_the_same_seed_and_leaves_random_numbers_alone():
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    one, same, other = (small_llama(seed) for seed in (3, 3, 4))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(exact_logp(one), exact_logp(same))
    assert not torch.equal(exact_logp(one), exact_logp(other))
    assert float(exact_logp(one).exp().sum()) == pytest.approx(1, abs=1e-5)


def test_a_value_model_has_one_output_and_drops_nothing_out():
    assert type(small_llama(0)) is LlamaForCausalLM
    model = small_llama(0, LlamaForTokenClassification).train()
    assert type(model) is LlamaForTokenClassification
    tokens = LANGUAGE.tokens[:4]
    one, again = (model(tokens).logits for _ in range(2))
    assert one.shape == (*tokens.shape, 1)
    assert torch.equal(one, again)
