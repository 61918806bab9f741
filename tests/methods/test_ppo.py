"""PPO's parts by hand, and what must hold in every run."""

import dataclasses
import itertools
import math
import re

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

import rlhf_mini.methods.ppo as module
from rlhf_mini.batch import Rollout, Sequences, pack_rows
from rlhf_mini.data.chat import draw
from rlhf_mini.loop import OptimizerConfig, Training
from rlhf_mini.methods.ppo import (
    PPOConfig,
    collect,
    estimated,
    ppo,
    ppo_loss,
    update,
    value_model_for,
    whitened_gae,
)
from rlhf_mini.methods.reward_model import scores
from rlhf_mini.methods.rollouts import AdaptiveKL, scored
from rlhf_mini.models import copy_of, freeze, new_llama, new_reward_model, response_logp, token_values


def settings(**changes):
    numbers = {
        "iterations": 2,
        "episodes": 16,
        "minibatch": 8,
        "epochs": 1,
        "max_new_tokens": 3,
        "kl_weight": 0.1,
        "optimizer": OptimizerConfig(learning_rate=1e-2),
    }
    return PPOConfig(**{**numbers, **changes})


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def run(toy_policy, toy_values, toy_score, toy_tokenizer):
    """Trains a copy of the toy policy; returns it, the value model and the log."""

    def run(config, *, score=toy_score, seed=0, **more):
        policy, values = copy_of(toy_policy), copy_of(toy_values)
        log = ppo(
            policy,
            values,
            freeze(toy_policy),
            score,
            toy_tokenizer,
            [[0]],
            config=config,
            generator=seeded(seed),
            **more,
        )
        return policy, values, log

    return run


@pytest.fixture
def rollout_of(toy_policy, toy_values, toy_score, toy_tokenizer):
    def rollout_of(config, *, reference=None, score=toy_score):
        return collect(
            toy_policy,
            toy_values,
            toy_policy if reference is None else reference,
            score,
            toy_tokenizer,
            [[0]] * config.episodes,
            config=config,
            kl_weight=config.kl_weight,
            generator=seeded(),
        )

    return rollout_of


# -------------------------------------------------------------------------------------------- KL controller


@pytest.mark.parametrize(
    ("kl", "weight"),
    [
        (6.0, 0.1),  # on target: stays
        (6.6, 0.101),  # 10% above: 0.1 · (1 + 0.1 · 10/100)
        (5.4, 0.099),
        (12.0, 0.102),  # 100% above, clipped to 20%
        (0.0, 0.098),  # 100% below, clipped to 20%
        (-3.0, 0.098),  # k1 can be negative
    ],
)
def test_adaptive_kl_by_hand(kl, weight):
    controller = AdaptiveKL(weight=0.1, target=6.0, horizon=100)
    controller.update(kl=kl, episodes=10)
    assert controller.weight == pytest.approx(weight, rel=1e-12)


def test_without_a_target_the_kl_weight_stays():
    controller = AdaptiveKL(weight=0.1, target=None, horizon=100)
    controller.update(kl=100.0, episodes=10)
    assert controller.weight == 0.1


def test_the_logged_kl_weight_follows_the_controller(run):
    _, _, log = run(settings(iterations=4, kl_weight=0.5, kl_target=0.05, kl_horizon=40))
    assert log[0]["kl_weight"] == 0.5
    for before, after in itertools.pairwise(log):
        error = min(max(before["kl_k1"] / 0.05 - 1, -0.2), 0.2)
        assert after["kl_weight"] == pytest.approx(before["kl_weight"] * (1 + error * 16 / 40), rel=1e-6)
    assert len({entry["kl_weight"] for entry in log}) > 1


# ------------------------------------------------------------------------------------------------ value model


def test_value_model_starts_at_the_normalised_score_of_every_prefix():
    policy = new_llama(
        vocab_size=12, width=16, layers=2, heads=2, context=16, pad_token=0, eos_token=2, bos_token=1, seed=0
    )
    reward_model = freeze(new_reward_model(policy, seed=1))
    reward_model.config.mean, reward_model.config.std = 0.7, 2.5
    sequences = pack_rows([[1, 5], [1]], [[7, 8, 2], [9, 2]], pad_token=0)

    values = token_values(value_model_for(reward_model), sequences.tokens, sequences.mask).detach()

    for row, length in enumerate(sequences.lengths.tolist()):
        for t in range(1, length):  # the value beside token t is of the t tokens before it
            text = sequences.tokens[row, :t].tolist()
            prefix = pack_rows([[1]], [text[1:]], pad_token=0) if t > 1 else None
            expected = (
                scores(reward_model, prefix)
                if prefix
                else (reward_model.score(reward_model.model(torch.tensor([[1]]))[0])[0, 0] - 0.7) / 2.5
            )
            assert float(values[row, t]) == pytest.approx(float(expected), abs=1e-5)


def test_training_the_value_model_leaves_the_reward_model_alone(weights_of, same_weights):
    policy = new_llama(
        vocab_size=12, width=16, layers=1, heads=2, context=16, pad_token=0, eos_token=2, bos_token=1, seed=0
    )
    reward_model = new_reward_model(policy, seed=1)
    before = weights_of(reward_model)
    values = value_model_for(reward_model)
    with torch.no_grad():
        for parameter in values.parameters():
            parameter.add_(1.0)
    assert same_weights(before, weights_of(reward_model))


# ---------------------------------------------------------------------------------------------------- rollout


def test_an_unfinished_answer_pays_the_missing_end_penalty(rollout_of):
    config = settings(episodes=64, minibatch=64, max_new_tokens=2, kl_weight=0.0, missing_eos_penalty=3.0)
    rollout = rollout_of(config, score=lambda sequences: torch.arange(64.0))
    last = rollout.sequences.lengths - 1
    finished = rollout.sequences.tokens[torch.arange(64), last] == 0
    assert 0 < finished.sum() < 64
    paid = rollout.scores - rollout.rewards.sum(1)  # with no KL cost, rewards add up to the shaped score
    assert torch.allclose(paid, torch.where(finished, 0.0, 3.0), atol=1e-5)


def test_a_rollout_stores_the_models_own_log_probabilities(rollout_of, toy_policy, toy_values):
    other = copy_of(toy_policy)
    with torch.no_grad():
        other.lm_head.weight.mul_(2.0)
    rollout = rollout_of(settings(kl_weight=0.3), reference=other)
    tokens, mask, response = rollout.sequences.tokens, rollout.sequences.mask, rollout.sequences.response
    for stored, model in ((rollout.logp_old, toy_policy), (rollout.logp_ref, other)):
        torch.testing.assert_close(stored, response_logp(model, tokens, mask, response), atol=1e-5, rtol=0)
    values = token_values(toy_values, tokens, mask) * response
    torch.testing.assert_close(rollout.values_old, values, atol=1e-6, rtol=0)
    assert not torch.allclose(rollout.logp_old, rollout.logp_ref, atol=1e-3)


def test_advantages_and_returns_equal_a_plain_loop(rollout_of):
    rollout = rollout_of(settings(gae_lambda=0.8, episodes=8))
    advantages, returns = [], []
    for row in range(8):
        steps = rollout.sequences.response[row].nonzero().flatten().tolist()
        rewards = [float(rollout.rewards[row, t]) for t in steps]
        values = [float(rollout.values_old[row, t]) for t in steps] + [0.0]
        ahead = 0.0
        for t in reversed(range(len(steps))):
            ahead = rewards[t] + values[t + 1] - values[t] + 0.8 * ahead
            advantages.append(ahead)
            returns.append((row, steps[t], ahead + values[t]))
    for row, t, expected in returns:
        assert float(rollout.returns[row, t]) == pytest.approx(expected, abs=1e-5)
    mean = sum(advantages) / len(advantages)
    deviation = math.sqrt(sum((a - mean) ** 2 for a in advantages) / len(advantages))
    whitened = sorted((a - mean) / deviation for a in advantages)
    kept = rollout.advantages[rollout.sequences.response].sort().values.tolist()
    assert kept == pytest.approx(whitened, abs=1e-4)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_reward_that_is_not_finite_is_refused(rollout_of, bad):
    def score(sequences):
        values = torch.zeros(len(sequences))
        values[3] = bad
        return values

    with pytest.raises(ValueError, match="NaN or infinity for 1 of 16 answers, the first in row 3"):
        rollout_of(settings(), score=score)


@pytest.mark.parametrize("shape", [(16, 1), (1,), (), (15,)])
def test_a_reward_of_the_wrong_shape_is_refused(rollout_of, shape):
    message = re.escape(f"one score for each of 16 answers, shape (16,); it returned shape {shape}")
    with pytest.raises(ValueError, match=message):
        rollout_of(settings(), score=lambda sequences: torch.zeros(shape))


# ------------------------------------------------------------------------------------------------------- loss


def one_token_rollout(policy, values, *, advantage, value_target):
    """One row [0, 2, 0] whose first written token, 2, gets all the advantage."""
    sequences = pack_rows([[0]], [[2, 0]], pad_token=4)
    tokens, mask, response = sequences.tokens, sequences.mask, sequences.response
    logp = response_logp(policy, tokens, mask, response).detach()
    old = (token_values(values, tokens, mask) * response).detach()
    zeros = torch.zeros_like(logp)
    return Rollout(
        sequences=sequences,
        logp_old=logp,
        logp_ref=logp,
        values_old=old,
        scores=torch.zeros(1),
        rewards=zeros,
        advantages=torch.tensor([[0.0, advantage, 0.0]]),
        returns=old + value_target * response,
    )


@pytest.mark.parametrize("advantage", [1.0, -1.0])
def test_a_step_makes_the_better_token_likelier_and_the_value_truer(toy_policy, toy_values, advantage):
    rollout = one_token_rollout(toy_policy, toy_values, advantage=advantage, value_target=advantage)
    config = settings(value_weight=1.0)
    loss, _ = ppo_loss(toy_policy, toy_values, rollout, config=config)
    loss.backward()
    with torch.no_grad():
        for parameter in (*toy_policy.parameters(), *toy_values.parameters()):
            parameter -= 1e-3 * parameter.grad
    tokens, mask, response = rollout.sequences.tokens, rollout.sequences.mask, rollout.sequences.response
    with torch.no_grad():
        moved = response_logp(toy_policy, tokens, mask, response) - rollout.logp_old
        risen = token_values(toy_values, tokens, mask) - rollout.values_old
    assert float(moved[0, 1]) * advantage > 0
    assert float(risen[0, 1]) * advantage > 0


def test_the_loss_at_ratio_one_by_hand(toy_policy, toy_values):
    # Ratio 1: the policy loss is −A, over two response tokens −2/2 = −1. The value is off by 3 on both:
    # ½ · 9 = 4.5, at weight 0.1 another 0.45.
    rollout = one_token_rollout(toy_policy, toy_values, advantage=2.0, value_target=3.0)
    loss, metrics = ppo_loss(toy_policy, toy_values, rollout, config=settings(value_weight=0.1))
    assert loss.item() == pytest.approx(-1 + 0.45, abs=1e-5)
    assert metrics["policy_loss"].item() == pytest.approx(-1, abs=1e-5)
    assert metrics["value_loss"].item() == pytest.approx(4.5, abs=1e-4)
    assert metrics["clip_fraction"].item() == 0
    assert metrics["ratio_deviation"].item() == pytest.approx(0, abs=1e-5)


# -------------------------------------------------------------------------------------------------------- run


@pytest.mark.parametrize("temperature", [0.7, 1.5])
def test_sampling_from_another_distribution_is_noticed(run, monkeypatch, temperature):
    def warmer(*args, **options):
        return draw(*args, **{**options, "temperature": temperature})

    monkeypatch.setattr(module, "draw", warmer)
    with pytest.raises(AssertionError, match="not the one that is scored"):
        run(settings())
    run(settings(), ratio_tolerance=math.inf)  # unless the reader asks to see what comes of it


def test_at_another_temperature_policy_and_reference_score_what_was_sampled(rollout_of, toy_policy):
    warm = rollout_of(settings(temperature=0.5))
    at = warm.sequences.tokens, warm.sequences.mask, warm.sequences.response
    expected = response_logp(toy_policy, *at, temperature=0.5)
    torch.testing.assert_close(warm.logp_old, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(warm.logp_ref, expected, atol=1e-5, rtol=0)
    assert (warm.logp_old - response_logp(toy_policy, *at)).abs().max() > 0.01


def test_the_four_steps_taken_alone_are_ppo(
    run, toy_policy, toy_values, toy_score, toy_tokenizer, weights_of, same_weights
):
    config = settings(epochs=2)
    learned, learned_values, log = run(config)
    policy, values, reference = copy_of(toy_policy), copy_of(toy_values), freeze(copy_of(toy_policy))
    generator, entries = seeded(), []
    both = torch.nn.ModuleDict({"policy": policy, "value": values})
    with Training(both, optimizer=config.optimizer, steps=config.steps) as training:
        for _ in range(config.iterations):
            torch.randint(1, (config.episodes,), generator=generator)  # one prompt to choose from
            samples = draw(policy, toy_tokenizer, [[0]] * 16, max_new_tokens=3, generator=generator)
            scores = scored(toy_score, Sequences(samples.tokens, samples.mask, samples.response))
            rollout = estimated(samples, scores, values, reference, config=config, kl_weight=0.1, end_token=0)
            entries += update(training, policy, values, rollout, config=config, generator=generator)
    assert same_weights(weights_of(policy), weights_of(learned))
    assert same_weights(weights_of(values), weights_of(learned_values))
    assert log[0]["policy_loss"] == pytest.approx(sum(e["policy_loss"] for e in entries[:4]) / 4, abs=1e-7)


def test_another_estimate_of_the_advantages_takes_the_place_of_whitened_gae(rollout_of, run):
    def plain(rewards, values, response):
        return rewards * 2, values - 1

    rollout = rollout_of(settings())  # with the same samples, rewards and values
    learned, _, _ = run(settings(iterations=1), estimate=plain)
    usual, _, _ = run(settings(iterations=1))
    assert not torch.equal(learned.lm_head.weight, usual.lm_head.weight)
    advantages, returns = whitened_gae(
        rollout.rewards, rollout.values_old, rollout.sequences.response, gae_lambda=0.95
    )
    torch.testing.assert_close(rollout.advantages, advantages)
    torch.testing.assert_close(rollout.returns, returns)


def test_an_auxiliary_loss_is_added_and_logged(run, toy_policy):
    seen = []

    def auxiliary(batch):
        seen.append(len(batch))
        return torch.tensor(0.25, requires_grad=True)

    _, _, log = run(settings(), auxiliary=auxiliary)
    _, _, without = run(settings())
    assert seen == [8] * 4  # two iterations of two minibatches
    for entry, usual in zip(log, without, strict=True):
        assert entry["auxiliary_loss"] == 0.25
        assert entry["loss"] == pytest.approx(usual["loss"] + 0.25, abs=1e-6)


def test_without_a_clip_range_the_value_loss_is_the_plain_one(toy_policy, toy_values):
    # V stands 5 above what it was at sampling, so that a range of 0.2 clips it to 4.8 below V; the target
    # 1 above V: ½ · 5.8² = 16.82 against ½ · 1² = 0.5.
    rollout = one_token_rollout(toy_policy, toy_values, advantage=2.0, value_target=1.0)
    rollout = dataclasses.replace(rollout, values_old=rollout.values_old - 5 * rollout.sequences.response)
    for clip_range, expected in ((0.2, 16.82), (math.inf, 0.5)):
        config = settings(value_clip_range=clip_range)
        _, metrics = ppo_loss(toy_policy, toy_values, rollout, config=config)
        assert metrics["value_loss"].item() == pytest.approx(expected, abs=1e-3)


def test_dropout_is_off_while_the_policy_trains(toy_tokenizer, toy_score):
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=5, n_embd=16, n_layer=1, n_head=2, n_positions=8, eos_token_id=0)
    policy = GPT2LMHeadModel(config).train()
    assert config.resid_pdrop > 0
    policy.config.pad_token_id = 4
    values = value_model_for(new_reward_model(policy, seed=0))
    reference = freeze(copy_of(policy))
    config = settings(optimizer=OptimizerConfig(learning_rate=1e-6))
    log = ppo(policy, values, reference, toy_score, toy_tokenizer, [[0]], config=config, generator=seeded())
    assert max(entry["ratio_deviation"] for entry in log) < 1e-4


def test_only_policy_and_value_model_change(
    toy_policy, toy_values, toy_score, toy_tokenizer, weights_of, same_weights
):
    policy, reference = copy_of(toy_policy), freeze(copy_of(toy_policy))
    policy.config.pad_token_id = 4
    reward_model = freeze(new_reward_model(policy, seed=0))
    values = value_model_for(reward_model)
    models = {"policy": policy, "values": values, "reference": reference, "reward": reward_model}
    before = {name: weights_of(model) for name, model in models.items()}
    ppo(
        policy,
        values,
        reference,
        lambda sequences: scores(reward_model, sequences),
        toy_tokenizer,
        [[0]],
        config=settings(),
        generator=seeded(),
    )
    unchanged = {name: same_weights(before[name], weights_of(model)) for name, model in models.items()}
    assert unchanged == {"policy": False, "values": False, "reference": True, "reward": True}


def test_a_generator_fixes_the_run(run, weights_of, same_weights):
    def told(log):
        return [{name: entry[name] for name in entry if name != "seconds"} for entry in log]

    (one, _, log), (two, _, log_two), (other, _, log_other) = (run(settings(), seed=s) for s in (3, 3, 4))
    assert same_weights(weights_of(one), weights_of(two))
    assert told(log) == told(log_two)
    assert not same_weights(weights_of(one), weights_of(other))
    assert told(log) != told(log_other)


def test_the_log_has_an_entry_an_iteration_with_means_over_its_steps(run):
    steps, rollouts = [], []
    _, _, log = run(
        settings(iterations=3, epochs=2, clip_range=0.01),
        hooks=[lambda step, entry: steps.append(dict(entry))],
        on_rollout=lambda iteration, rollout, metrics: rollouts.append((iteration, dict(metrics))),
    )
    assert len(log) == 3
    assert [iteration for iteration, _ in rollouts] == [0, 1, 2]
    assert len(steps) == 3 * 2 * 2 == settings(iterations=3, epochs=2).steps
    for (_, metrics), entry, of_it in zip(rollouts, log, (steps[:4], steps[4:8], steps[8:]), strict=True):
        assert {name: entry[name] for name in metrics} == metrics
        for name in ("loss", "clip_fraction", "entropy", "grad_norm"):
            assert entry[name] == pytest.approx(sum(step[name] for step in of_it) / 4)
        assert entry["seconds"] == pytest.approx(sum(step["seconds"] for step in of_it))
        assert of_it[0]["ratio_deviation"] < 1e-4 < of_it[-1]["ratio_deviation"]
        assert entry["clip_fraction"] > 0  # the first minibatch alone would always say 0


def test_what_a_rollout_says_by_hand(rollout_of, toy_policy):
    other = copy_of(toy_policy)
    with torch.no_grad():
        other.lm_head.weight.mul_(2.0)
    rollout = rollout_of(settings(), reference=other)
    told = module.rollout_metrics(rollout, kl_weight=0.25, end_token=0)
    kl_k1 = kl_k3 = length = finished = 0.0
    for row in range(16):
        steps = rollout.sequences.response[row].nonzero().flatten().tolist()
        for t in steps:
            gap = float(rollout.logp_old[row, t]) - float(rollout.logp_ref[row, t])
            kl_k1 += gap / 16
            kl_k3 += (math.exp(-gap) - 1 + gap) / 16
        length += len(steps) / 16
        finished += (int(rollout.sequences.tokens[row, steps[-1]]) == 0) / 16
    expected = {
        "score": sum(rollout.scores.tolist()) / 16,
        "kl_k1": kl_k1,
        "kl_k3": kl_k3,
        "kl_weight": 0.25,
        "length": length,
        "finished": finished,
    }
    assert told == pytest.approx(expected, abs=1e-5)
    assert told["kl_k3"] > 0.001


def test_a_prompt_too_long_for_the_context_is_refused_before_training(
    toy_policy, toy_values, toy_score, toy_tokenizer, weights_of, same_weights
):
    before = weights_of(toy_policy)
    prompts = [[0], [0] * 6]  # 6 and 3 new ones are more than 8
    with pytest.raises(ValueError, match=r"row 2 has 6 tokens.* 3 new ones .* context of 8"):
        ppo(
            toy_policy,
            toy_values,
            copy_of(toy_policy),
            toy_score,
            toy_tokenizer,
            prompts,
            config=settings(),
            generator=seeded(),
        )
    assert same_weights(before, weights_of(toy_policy))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"minibatch": 5}, r"episodes \(16\) must be a multiple of minibatch \(5\)"),
        ({"minibatch": 0}, "must be at least 1"),
        ({"episodes": 0}, "must be at least 1"),
        ({"iterations": 0}, "must be at least 1"),
        ({"epochs": 0}, "must be at least 1"),
        ({"max_new_tokens": 0}, "must be at least 1"),
        ({"kl_weight": -0.1}, "kl_weight must be finite and not negative, got -0.1"),
        ({"kl_weight": math.nan}, "kl_weight must be finite"),
        ({"temperature": 0.0}, "temperature must be finite and above 0, got 0.0"),
        ({"temperature": math.inf}, "temperature must be finite and above 0"),
        ({"kl_target": 0.0}, "kl_target must be finite and above 0"),
        ({"kl_target": math.inf}, "kl_target must be finite and above 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        settings(**changes)
