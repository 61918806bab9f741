"""The anchor that follows the policy: its two ends, its place after some steps, and what it does to a run."""

import dataclasses

import pytest
import torch

from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.answers import Drawing
from rlhf_mini.methods.group_methods import reinforce_method
from rlhf_mini.methods.grpo import GRPOConfig, grpo
from rlhf_mini.methods.moving_anchor import moving_anchor
from rlhf_mini.methods.reward_parts import Part
from rlhf_mini.models import copy_of, freeze

CONFIG = GRPOConfig(
    iterations=4,
    prompts=8,
    drawing=Drawing(samples=2, temperature=1.0, max_new_tokens=3),
    minibatch=16,
    epochs=1,
    optimizer=OptimizerConfig(learning_rate=1e-2),
    kl_weight=0.2,
)


@pytest.fixture
def run(toy_policy, toy_score, toy_tokenizer):
    """Trains a copy of the toy policy with an anchor at this rate, None for a fixed reference."""

    def run(rate, **changes):
        policy, anchor = copy_of(toy_policy), freeze(copy_of(toy_policy))
        log = grpo(
            policy,
            anchor,
            toy_tokenizer,
            [[0]],
            {"text": Part(toy_score)},
            reinforce_method(),
            config=dataclasses.replace(CONFIG, **changes),
            generator=torch.Generator().manual_seed(0),
            hooks=[] if rate is None else [moving_anchor(policy, anchor, rate=rate)],
        )
        return policy, anchor, log

    return run


def test_its_place_after_two_steps_by_hand(toy_policy):
    """μ = ¼, the policy at 4 and then at 8: ¾·0 + ¼·4 = 1, and ¾·1 + ¼·8 = 2.75."""
    policy, anchor = copy_of(toy_policy), freeze(copy_of(toy_policy))
    follow = moving_anchor(policy, anchor, rate=0.25)

    def put(model, number):
        with torch.no_grad():
            for weight in model.parameters():
                weight.fill_(number)

    put(anchor, 0.0)
    for step, (now, expected) in enumerate(((4.0, 1.0), (8.0, 2.75)), start=1):
        put(policy, now)
        follow(step, {})
        assert all(bool((weight == expected).all()) for weight in anchor.parameters())
    assert all(bool((weight == 8.0).all()) for weight in policy.parameters())
    assert not any(weight.requires_grad for weight in anchor.parameters())


def test_at_rate_0_the_run_is_that_of_a_fixed_reference(run, weights_of, same_weights):
    fixed, _, log = run(None)
    ours, _, other = run(0.0)
    assert same_weights(weights_of(fixed), weights_of(ours))
    assert [entry["kl_k1"] for entry in log] == [entry["kl_k1"] for entry in other]


def test_at_rate_1_the_anchor_is_the_policy_and_no_kl_is_paid(run, weights_of, same_weights):
    policy, anchor, log = run(1.0)
    assert same_weights(weights_of(policy), weights_of(anchor))
    assert [entry["kl_k1"] for entry in log] == pytest.approx([0] * 4, abs=1e-5)
    assert [entry["reward"] for entry in log] == pytest.approx(
        [entry["score_text"] for entry in log], abs=1e-5
    )
    _, _, fixed = run(None)
    assert fixed[-1]["kl_k3"] > 0.01


def test_an_anchor_that_follows_slowly_lies_between(run):
    @torch.no_grad()
    def distance(model, other):
        pairs = zip(model.parameters(), other.parameters(), strict=True)
        return float(sum((one - two).square().sum() for one, two in pairs))

    policy, anchor, log = run(0.3)
    _, start, fixed = run(None)
    assert 0 < distance(anchor, policy) < distance(start, policy)
    assert 0 < log[-1]["kl_k3"] < fixed[-1]["kl_k3"]


def test_what_is_refused(toy_policy, toy_values):
    with pytest.raises(ValueError, match=r"from 0 to 1, got 1\.1"):
        moving_anchor(toy_policy, copy_of(toy_policy), rate=1.1)
    with pytest.raises(ValueError, match="shares its weights"):
        moving_anchor(toy_policy, toy_policy, rate=0.1)
    with pytest.raises(ValueError, match="names or shapes of weights differ"):
        moving_anchor(toy_policy, toy_values, rate=0.1)
