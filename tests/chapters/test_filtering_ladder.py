"""The ladder of chapter 09: its rungs hold where all is well, and each falls for a planted bug."""

import pytest
import torch

from rlhf_mini.chapters.filtering import data, family, ladder, landing, toy
from rlhf_mini.exact import filtered_optimum
from rlhf_mini.methods.answers import Answers
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.tensors import masked_mean

# --------------------------------------------------------------------------------- exact test


def test_the_exact_rung_holds():
    held, seen = ladder.exact()
    assert held, seen


def test_the_exact_rung_falls_for_a_filter_that_keeps_the_threshold_too(monkeypatch):
    def at_least(logp, rewards, *, threshold):
        return filtered_optimum(logp, rewards, threshold=threshold - 1e-9)

    monkeypatch.setattr(toy, "filtered_optimum", at_least)
    assert not ladder.exact()[0]


def test_the_exact_rung_falls_for_weights_of_another_price(monkeypatch):
    real = toy.advantage_weighted_optimum

    def doubled(logp, rewards, *, kl_weight, **more):
        return real(logp, rewards, kl_weight=2 * kl_weight, **more)

    monkeypatch.setattr(toy, "advantage_weighted_optimum", doubled)
    assert not ladder.exact()[0]


# --------------------------------------------------------------------------------- on a pipeline's models


@pytest.fixture
def scale(built, monkeypatch):
    """Thresholds above which some of sixteen answers lie, on the scale of their own rewards."""
    monkeypatch.setattr(family, "THRESHOLDS", (0.3, 0.6))
    scale = data.RewardScale.of(data.answers_of_sft(built).rewards)
    monkeypatch.setattr(data, "reward_scale", lambda pipeline: scale)
    return scale


@pytest.mark.parametrize("rung", [ladder.rewards_fit, ladder.filter_keeps, ladder.frozen, ladder.by_heart])
def test_the_rungs_hold_on_a_pipeline(built, rung, scale):
    held, seen = rung(built)
    assert held, seen


def test_rewards_that_lie_in_another_order_are_noticed(built, monkeypatch):
    """The rewards of a sorted list beside texts that were not sorted."""
    real = data.answers_of_sft(built)

    def mixed(pipeline):
        turned = real.rewards.flatten().sort().values.view_as(real.rewards)
        return Answers(real.prompts, real.texts, turned)

    monkeypatch.setattr(data, "answers_of_sft", mixed)
    assert not ladder.rewards_fit(built)[0]


def test_rewards_behind_another_prompt_are_noticed(built, monkeypatch):
    real = data.answers_of_sft(built)
    moved = [*real.prompts[1:], real.prompts[0]]
    monkeypatch.setattr(data, "answers_of_sft", lambda pipeline: Answers(moved, real.texts, real.rewards))
    assert not ladder.rewards_fit(built)[0]


def test_a_filter_that_keeps_the_worst_is_noticed(built, scale, monkeypatch):
    class Turned:
        low, high = scale.low, scale.high

        def __call__(self, rewards):
            return 1 - scale(rewards)

    monkeypatch.setattr(data, "reward_scale", lambda pipeline: Turned())
    assert not ladder.filter_keeps(built)[0]


def test_a_scale_on_which_all_rewards_are_alike_is_noticed(built, scale, monkeypatch):
    monkeypatch.setattr(data, "reward_scale", lambda pipeline: data.RewardScale(-1000.0, -999.0))
    assert not ladder.filter_keeps(built)[0]


def test_the_frozen_rung_falls_where_the_policy_that_draws_is_trained(built, monkeypatch):
    model = built.policy("sft")
    monkeypatch.setattr(Pipeline, "policy", lambda self, stage: model)
    monkeypatch.setattr(ladder, "copy_of", lambda model: model.requires_grad_(True))
    assert not ladder.frozen(built)[0]


def test_the_frozen_rung_falls_for_a_judge_that_learns(built, monkeypatch):
    calls = []

    def restless(pipeline):
        def score(sequences):
            calls.append(1)
            return torch.full((len(sequences),), float(len(calls)))

        return score

    monkeypatch.setattr(data, "reward_of", restless)
    assert not ladder.frozen(built)[0]


def test_the_by_heart_rung_falls_where_nothing_is_learned(built, monkeypatch):
    real = ladder.some_steps
    monkeypatch.setattr(ladder, "some_steps", lambda *where, steps: real(*where, steps=2, rate=1e-9))
    assert not ladder.by_heart(built)[0]


# --------------------------------------------------------------------------------- known optimum


class Fresh(Pipeline):
    """Of a pipeline its seed, and nothing is kept."""

    def __init__(self):
        self.seed = 0

    def measured(self, experiment, **settings):
        return experiment(self, **settings)


@pytest.mark.slow  # 300 steps of a small Llama: some seconds
def test_the_known_optimum_is_reached():
    held, seen = ladder.known_optimum(Fresh())
    assert held, seen


@pytest.mark.slow  # the same training with a bug
def test_the_known_optimum_is_missed_by_means_over_tokens(monkeypatch):
    import rlhf_mini.methods.mixed_batches as mixed

    def per_token(losses, mask):
        return masked_mean(losses, mask, dim=1).sum() * mask.sum() / len(mask)

    monkeypatch.setattr(mixed, "masked_sum", per_token)
    assert not ladder.known_optimum(Fresh())[0]


@pytest.mark.slow  # the same training with another bug
def test_the_known_optimum_is_missed_where_nothing_is_filtered(monkeypatch):
    monkeypatch.setattr(landing, "threshold_weights", lambda rewards, threshold: torch.ones_like(rewards))
    assert not ladder.known_optimum(Fresh())[0]


def test_the_rungs_are_named(built):
    assert [rung.name for rung in ladder.rungs(built)] == [
        "exact test", "rewards fit", "filter", "frozen", "by heart", "known optimum", "band of good seeds",
        "real run",
    ]  # fmt: skip
