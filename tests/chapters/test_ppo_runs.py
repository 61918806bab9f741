"""Chapter 05's runs: the unchanged one is the pipeline's stage, and every variant varies what it says."""

import math

import pytest
import torch

from rlhf_mini.chapters.ppo import details, runs
from rlhf_mini.chapters.ppo.variants import ALL, OURS, variant
from rlhf_mini.estimators import explained_variance, gae

SHORT = {"iterations": 2}


@pytest.fixture(scope="module")
def ours(built):
    return variant(OURS).measured(built)


def test_the_unchanged_run_is_the_stage(built, ours):
    stage = built.history("ppo")
    for name in ("score", "gold", "kl_k1", "clip_fraction", "value_loss"):
        assert ours["curves"][name] == [entry[name] for entry in stage]


def test_a_run_is_judged_as_the_stage_is(built, ours):
    judged = runs.judged_on_requests(built, built.policy("ppo")).metrics()
    assert {name: ours["end"][name] for name in judged} == pytest.approx(judged)


def test_a_run_keeps_what_it_promises(built, ours):
    iterations = built.profile.ppo.iterations
    assert {len(curve) for curve in ours["curves"].values()} == {iterations}
    assert ours["moments"] == [0, iterations]
    assert [len(row) for row in ours["texts"]] == [runs.SHOWN] * 2
    assert [len(row) for row in ours["golds"]] == [len(row) for row in ours["proxies"]] == [runs.SHOWN] * 2
    assert ours["end"]["seconds"] == pytest.approx(sum(ours["curves"]["seconds"]))
    assert max(ours["curves"]["first_ratio_deviation"]) < 1e-3
    assert 0 <= ours["end"]["coherence"] <= 1
    assert 0 < ours["end"]["sft_nats"] < math.log(len(built.tokenizer())) + 1


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_every_variant_runs_and_differs(one, built, ours):
    run = one.measured(built)
    assert run["end"].keys() == ours["end"].keys()
    # the miniature's own λ is 0.95; it hardly learns, and so nothing is clipped in it, nor does it ever end
    same = (OURS, "λ = 0.95", "gradients not clipped", "no penalty without an end", "values not clipped")
    if one.name not in same:
        assert run["curves"]["value_loss"] != ours["curves"]["value_loss"]


def test_what_the_check_on_the_ratio_protects_from(built):
    """Two of the three mismatches move the first ratio; the third hides from it."""
    first = {
        name: variant(name).measured(built)["curves"]["first_ratio_deviation"][0]
        for name in ("0.1 while learning", "sampled at 0.7, scored at 1", "the same, ratio 1")
    }
    assert first["0.1 while learning"] > 1e-3
    assert first["sampled at 0.7, scored at 1"] > 1e-3
    assert first["the same, ratio 1"] < 1e-4


def test_names_are_unique_and_unknown_ones_refused():
    names = [one.name for one in ALL]
    assert len(set(names)) == len(names)
    with pytest.raises(ValueError, match="no variant"):
        variant("theirs")


REWARDS = torch.tensor([[1.0, 2.0, 0.0], [3.0, 0.0, 0.0]])
VALUES = torch.tensor([[0.5, 1.0, 9.0], [1.0, 9.0, 9.0]])
RESPONSE = torch.tensor([[True, True, False], [True, False, False]])


def test_estimates_by_hand():
    """At λ = 1 the advantages are 3 − 0.5, 2 − 1 and 3 − 1; their mean is 5.5 / 3."""
    raw = torch.tensor([[2.5, 1.0, 0.0], [2.0, 0.0, 0.0]])
    returns = torch.tensor([[3.0, 2.0, 0.0], [3.0, 0.0, 0.0]])
    for name, expected in (
        ("as they are", raw),
        ("mean only", (raw - 5.5 / 3) * RESPONSE),
    ):
        got = details.ESTIMATES[name](REWARDS, VALUES, RESPONSE, gae_lambda=1.0)
        torch.testing.assert_close(got, (expected, returns))
    # one action: both tokens of the first answer get all of its 3
    advantages, got = details.ESTIMATES["all at the end"](REWARDS, VALUES, RESPONSE, gae_lambda=1.0)
    torch.testing.assert_close(got, torch.tensor([[3.0, 3.0, 0.0], [3.0, 0.0, 0.0]]))
    assert advantages[0, 1] == advantages.max() or advantages[0, 0] == advantages.max()
    # no values: whitened returns
    advantages, _ = details.ESTIMATES["without values"](REWARDS, VALUES, RESPONSE, gae_lambda=0.0)
    expected = torch.tensor([1.0, -2.0, 1.0]) / 2**0.5
    torch.testing.assert_close(advantages[RESPONSE], expected)


def test_whitened_rewards_keep_their_mean():
    """Rewards 1, 2, 3 have mean 2 and deviation √(2/3)."""
    scale = 1.5**0.5
    rewards = torch.tensor([[2 - scale, 2.0, 0.0], [2 + scale, 0.0, 0.0]])
    _, returns = details.ESTIMATES["rewards whitened"](REWARDS, VALUES, RESPONSE, gae_lambda=1.0)
    expected = gae(rewards, VALUES, RESPONSE, discount=1.0, gae_lambda=1.0)[1]
    torch.testing.assert_close(returns, expected)


def test_value_models_start_where_they_should(built):
    from rlhf_mini.models import token_values

    tokens, mask = torch.tensor([[1, 5, 6]]), torch.ones(1, 3, dtype=torch.bool)
    with torch.no_grad():
        usual, zero = (
            token_values(model, tokens, mask)
            for model in (runs.usual(built).value_model, details.zero_head(built))
        )
        scaled = details.PARTS["scores_times"](built, runs.usual(built), 10.0)
        times_ten = token_values(scaled.value_model, tokens, mask)
        raw = details.PARTS["raw_scores"](built, runs.usual(built), True)
        config = built.reward_model().config
        raw_values = token_values(raw.value_model, tokens, mask)
    assert (zero == 0).all()
    torch.testing.assert_close(times_ten, 10 * usual)
    torch.testing.assert_close(raw_values[:, 1:], usual[:, 1:] * config.std + config.mean)


def test_a_cooled_copy_answers_at_temperature_one_as_the_policy_does_when_cool(built):
    from rlhf_mini.models import token_logits

    policy, tokens = built.policy("sft"), torch.tensor([[1, 5, 6]])
    mask = torch.ones_like(tokens, dtype=torch.bool)
    with torch.no_grad():
        warm, cool = (token_logits(m, tokens, mask) for m in (policy, runs.cooled(policy, temperature=0.5)))
    torch.testing.assert_close(cool, 2 * warm)


def test_kl_as_a_loss_has_the_gradient_of_its_estimator(built):
    """On the first minibatch policy and reference are one: k2 and k3 have no gradient there, k1 has."""
    for name, gradient in (("k1", True), ("k2", False), ("k3", False)):
        parts = details.PARTS["kl_loss"](built, runs.usual(built), (name, 1.0))
        rollout = _rollout(built, parts)
        parts.auxiliary(rollout).backward()
        norm = sum(float(p.grad.norm()) for p in parts.policy.parameters() if p.grad is not None)
        assert (norm > 1e-3) == gradient


def _rollout(built, parts):
    from rlhf_mini.methods.ppo import collect
    from rlhf_mini.pipeline import prompts_for_ppo

    return collect(
        parts.policy,
        parts.value_model,
        built.policy("sft"),
        parts.score,
        built.tokenizer(),
        prompts_for_ppo(built)[0][:4],
        config=parts.config,
        kl_weight=0.0,
        generator=torch.Generator().manual_seed(0),
    )


def test_the_negated_reward_is_minus_the_reward_but_for_the_missing_end(built):
    from rlhf_mini.chapters.ppo.sign import reward_negated, score_negated
    from rlhf_mini.methods.rollouts import unfinished

    usual, scores, turned = runs.usual(built), score_negated(built), reward_negated(built)
    rollout = _rollout(built, usual)
    ends = unfinished(rollout.sequences, end_token=built.tokenizer().eos_token_id).float()
    penalty = usual.config.missing_eos_penalty
    assert ends.any()
    torch.testing.assert_close(scores.score(rollout.sequences), -usual.score(rollout.sequences))
    # what the estimate turns: −(score' − penalty · unfinished) = −score − penalty · unfinished
    shaped = -(turned.score(rollout.sequences) - penalty * ends)
    torch.testing.assert_close(shaped, -usual.score(rollout.sequences) - penalty * ends)


def test_explained_variance_by_hand():
    returns = torch.tensor([[0.0, 2.0, 7.0]])
    mask = torch.tensor([[True, True, False]])
    assert explained_variance(returns, returns, mask) == 1
    assert explained_variance(returns + 5, returns, mask) == 1
    assert explained_variance(torch.zeros_like(returns), returns, mask) == 0
    assert explained_variance(-returns, returns, mask) == -3  # errors of 0 and 4 about returns of 0 and 2
    assert explained_variance(returns, torch.ones_like(returns), mask) == 0
