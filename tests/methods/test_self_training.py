"""ReST, RAFT and expert iteration on the toy language: they go where the exact optima say."""

import dataclasses
import math

import pytest
import torch

from rlhf_mini.exact import best_of_n, expectation, filtered_optimum, kl_divergence
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods import expert_iteration as expert_module
from rlhf_mini.methods import raft as raft_module
from rlhf_mini.methods import rest as rest_module
from rlhf_mini.methods.answers import Answers, Drawing, best_overall
from rlhf_mini.methods.expert_iteration import ExpertIterationConfig, expert_iteration
from rlhf_mini.methods.raft import RAFTConfig, raft
from rlhf_mini.methods.rest import PromptScale, ReSTConfig, RewardScale, rest
from rlhf_mini.methods.sft import SFTConfig
from rlhf_mini.models import copy_of
from tests.methods.toy_words import logp_after, rewards_by_text, score_by_text, seeded, word_tokenizer

TOKENIZER, REWARDS = word_tokenizer(), rewards_by_text()
SCORE = score_by_text(REWARDS)
DRAWING = Drawing(samples=2, temperature=1.0, max_new_tokens=3)
TRAINING = SFTConfig(epochs=10, batch=32, optimizer=OptimizerConfig(learning_rate=5e-3, final_fraction=0.1))
STILL = SFTConfig(epochs=1, batch=8, optimizer=OptimizerConfig(learning_rate=1e-12))
REST = ReSTConfig(grows=1, thresholds=(0.5,), drawing=DRAWING, sft=TRAINING)


def ask_a(count):
    return lambda number: ["a"] * count


def always(reward):
    return lambda sequences: torch.full((len(sequences),), reward)


def losses_of(monkeypatch, module):
    """The losses of every fine-tuning that a method does, step by step, as they come to pass."""
    trained, original = [], module.fine_tune_mixed

    def watched(*given, **options):
        history = original(*given, **options)
        trained.append([entry["loss"] for entry in history])
        return history

    monkeypatch.setattr(module, "fine_tune_mixed", watched)
    return trained


def start(policy):
    logp = logp_after(policy)
    return logp, float(expectation(logp, REWARDS))


# ---- RAFT


def test_raft_goes_where_the_best_of_k_is(toy_policy):
    before, value = start(toy_policy)
    config = RAFTConfig(iterations=2, drawing=DRAWING, sft=TRAINING)
    log = raft(toy_policy, TOKENIZER, ask_a(600), SCORE, config=config, generator=seeded())
    after = logp_after(toy_policy)
    target = best_of_n(before, REWARDS, n=4)  # two iterations of K = 2, ties or not
    goal = float(expectation(target, REWARDS))
    assert float(expectation(after, REWARDS)) - value > 0.75 * (goal - value)
    assert kl_divergence(target, after) < 0.5 * kl_divergence(target, before)
    # What each iteration drew and kept: 1,200 answers, standard errors of about .03 and .04.
    once = best_of_n(before, REWARDS, n=2)
    assert log[0]["reward"] == pytest.approx(value, abs=0.12)
    assert log[0]["kept_reward"] == pytest.approx(float(expectation(once, REWARDS)), abs=0.16)
    assert log[1]["reward"] > log[0]["reward"] + 0.2


def test_raft_asks_for_prompts_by_number_and_keeps_as_told(toy_policy):
    asked, seen = [], []

    def prompts_of(number):
        asked.append(number)
        return ["a", "b", "c", "d"] * 4

    def keep(rewards):
        seen.append(rewards)
        return best_overall(rewards)

    config = RAFTConfig(iterations=2, drawing=DRAWING, sft=STILL)
    log = raft(
        toy_policy,
        TOKENIZER,
        prompts_of,
        SCORE,
        config=config,
        generator=seeded(),
        keep=keep,
        on_round=lambda number, entry: entry.update(number=float(number)),
    )
    assert (asked, [entry["number"] for entry in log]) == ([1, 2], [1.0, 2.0])
    for rewards, entry in zip(seen, log, strict=True):
        assert rewards.shape == (16, 2)
        assert entry["kept_reward"] == pytest.approx(float(rewards.flatten().sort().values[-16:].mean()))


def test_one_iteration_of_raft_logs_the_loss_of_its_last_step(toy_policy, monkeypatch):
    trained = losses_of(monkeypatch, raft_module)
    config = RAFTConfig(iterations=1, drawing=DRAWING, sft=STILL)
    log = raft(toy_policy, TOKENIZER, ask_a(32), SCORE, config=config, generator=seeded())
    assert len(set(trained[0])) == 4
    assert [entry["loss"] for entry in log] == [trained[0][-1]]


# ---- ReST


def test_rest_goes_where_the_filter_is(toy_policy):
    before, value = start(toy_policy)
    scale = RewardScale(low=-3.0, high=3.0)  # 0.5 is a reward of 0
    log = rest(toy_policy, TOKENIZER, ask_a(700), SCORE, config=REST, generator=seeded(), scale=scale)
    target = filtered_optimum(before, REWARDS, threshold=0.0)
    after = logp_after(toy_policy)
    assert float(expectation(after, REWARDS)) > value + 0.3
    assert float((target.logp.exp() * (target.logp - after).nan_to_num(posinf=0, neginf=0)).sum()) < 0.4
    kept = math.exp(target.log_partition)
    # 1,400 answers: standard error .013; four of them
    assert log[0]["kept_share"] == pytest.approx(kept, abs=0.055)
    assert float(after.exp()[REWARDS > 0].sum()) > kept + 0.6 * (1 - kept)
    assert log[0]["reward"] == pytest.approx(value, abs=0.12)
    assert log[0]["kept_reward"] > log[0]["reward"]


def test_rewards_outside_the_scale_are_set_to_its_ends():
    rewards = torch.tensor([-9.0, -1.0, 0.0, 3.0, 5.0])
    assert RewardScale(low=-1.0, high=3.0)(rewards).tolist() == [0.0, 0.0, 0.25, 1.0, 1.0]


def test_rest_keeps_what_lies_above_the_threshold_and_needs_no_more_than_a_batch(toy_policy, monkeypatch):
    """Every reward is 1, in the middle of the scale: 8 answers fill one batch of 8, or none is kept."""
    trained, seen = losses_of(monkeypatch, rest_module), []

    def improve(below):
        return rest(
            toy_policy,
            TOKENIZER,
            ask_a(4),
            always(1.0),
            config=dataclasses.replace(REST, grows=2, thresholds=below, sft=STILL),
            generator=seeded(),
            scale=RewardScale(low=0.0, high=2.0),
            on_improve=lambda number, entry: seen.append((number, entry["grow"], entry["improve"])),
        )

    assert [entry["kept"] for entry in improve((0.25, 0.49))] == [8.0] * 4
    assert seen == [(1, 1.0, 0.0), (2, 1.0, 1.0), (3, 2.0, 0.0), (4, 2.0, 1.0)]
    assert len(trained) == 4
    with pytest.raises(ValueError, match=r"0 answers lie above the first threshold 0\.5, and a batch is 8"):
        improve((0.5,))


def test_rest_logs_the_loss_of_the_last_step(toy_policy, monkeypatch):
    trained = losses_of(monkeypatch, rest_module)
    config = dataclasses.replace(REST, thresholds=(0.1, 0.2), sft=STILL)
    log = rest(toy_policy, TOKENIZER, ask_a(30), SCORE, config=config, generator=seeded())
    assert all(len(set(losses)) > 2 for losses in trained)
    assert [entry["loss"] for entry in log] == [losses[-1] for losses in trained]


def test_an_improve_that_changes_nothing_does_not_pay(toy_policy):
    log = rest(
        toy_policy,
        TOKENIZER,
        ask_a(30),
        SCORE,
        config=dataclasses.replace(REST, thresholds=(0.1, 0.2), sft=STILL),
        generator=seeded(),
        evaluate=lambda policy: 1.0,
    )
    assert [(entry["value"], entry["accepted"]) for entry in log] == [(1.0, 0.0)]


def test_improves_use_one_grow_at_rising_thresholds_and_falling_rates(toy_policy):
    drawn = []

    def score(sequences):
        scores = SCORE(sequences)
        drawn.append(scores)
        return scores

    config = dataclasses.replace(REST, grows=2, thresholds=(0.2, 0.4, 0.6), sft=STILL, rate_decay=0.5)
    log = rest(toy_policy, TOKENIZER, ask_a(40), score, config=config, generator=seeded())
    assert len(drawn) == 2  # sampled and scored once a Grow
    assert [(e["grow"], e["improve"], e["threshold"]) for e in log] == [
        (grow, improve, config.thresholds[int(improve)]) for grow in (1.0, 2.0) for improve in (0.0, 1.0, 2.0)
    ]
    assert [e["learning_rate"] for e in log] == pytest.approx([1e-12, 5e-13, 2.5e-13] * 2, rel=1e-6, abs=0)
    low, high = float(drawn[0].min()), float(drawn[0].max())  # the first Grow's range, in the second too
    for entry in log:
        rewards = drawn[int(entry["grow"]) - 1]
        above = ((rewards - low) / (high - low)).clamp(0, 1) > entry["threshold"]
        assert entry["kept"] == above.sum()
        assert entry["kept_reward"] == pytest.approx(float(rewards[above].mean()), abs=1e-6)


def test_an_improve_that_does_not_pay_is_undone_and_ends_its_grow(toy_policy, weights_of, same_weights):
    values = iter([1.0, 2.0, 1.5, 1.9, 3.0, 2.0])  # at the start, then after each Improve
    states = []

    def evaluate(policy):
        states.append(weights_of(policy))
        return next(values)

    config = dataclasses.replace(
        REST, grows=3, thresholds=(0.2, 0.4, 0.6), sft=dataclasses.replace(TRAINING, epochs=1, batch=8)
    )
    log = rest(toy_policy, TOKENIZER, ask_a(40), SCORE, config=config, generator=seeded(), evaluate=evaluate)
    # Grow 1: 2.0 accepted, 1.5 not; Grow 2: 1.9 not; Grow 3: 3.0 accepted, 2.0 not.
    assert [(e["grow"], e["improve"], e["accepted"]) for e in log] == [
        (1, 0, 1),
        (1, 1, 0),
        (2, 0, 0),
        (3, 0, 1),
        (3, 1, 0),
    ]
    assert same_weights(weights_of(toy_policy), states[4])  # the state that was worth 3.0
    assert not same_weights(states[4], states[1])


def test_on_each_prompt_s_own_scale_a_prompt_of_high_rewards_crowds_out_no_other():
    """Two prompts, whose rewards differ by 100: one scale keeps the answers to one of them only."""
    rewards = torch.tensor([[100.0, 101.0, 103.0], [0.0, 1.0, 3.0]])
    together = RewardScale.of(rewards)(rewards) > 0.5
    assert together.tolist() == [[True, True, True], [False, False, False]]
    apart = PromptScale(low=-2.0, high=2.0)(rewards)  # less the means, 304/3 and 4/3: −4/3, −1/3, 5/3
    torch.testing.assert_close(apart, torch.tensor([[1 / 6, 5 / 12, 11 / 12]] * 2), rtol=0, atol=1e-4)
    assert (PromptScale(low=-2.0, high=2.0)(rewards + 7.0) - apart).abs().max() < 1e-5


def test_demonstrations_join_and_are_filtered_too(toy_policy):
    demonstrations = Answers(["a"] * 25, [["b", "c"]] * 25, torch.tensor([[9.0, -9.0]]).expand(25, 2))
    plain, joined = (
        rest(
            copy_of(toy_policy),
            TOKENIZER,
            ask_a(40),
            SCORE,
            config=dataclasses.replace(REST, sft=STILL),
            generator=seeded(),
            demonstrations=extra,
        )[0]
        for extra in (None, demonstrations)
    )
    assert joined["kept"] == plain["kept"] + 25  # those of reward 9, not those of −9
    assert joined["kept_share"] == pytest.approx(joined["kept"] / 130)
    assert joined["reward"] == plain["reward"]  # of the Grow's answers alone


def test_a_threshold_above_which_too_few_lie_ends_the_grow(toy_policy):
    config = dataclasses.replace(REST, grows=2, thresholds=(0.2, 0.999), sft=STILL)
    log = rest(toy_policy, TOKENIZER, ask_a(30), SCORE, config=config, generator=seeded())
    assert [e["threshold"] for e in log] == [0.2, 0.2]
    with pytest.raises(ValueError, match=r"lie above the first threshold 0\.999, and a batch is 8"):
        rest(
            toy_policy,
            TOKENIZER,
            ask_a(30),
            SCORE,
            config=dataclasses.replace(config, thresholds=(0.999,)),
            generator=seeded(),
        )


# ---- expert iteration


BINARY = (REWARDS > 0.3).double()
EXPERT = ExpertIterationConfig(rounds=2, drawing=DRAWING, sft=TRAINING, most=2)


def test_expert_iteration_learns_what_is_right(toy_policy, weights_of, same_weights):
    before = logp_after(toy_policy)
    untouched = weights_of(toy_policy)
    share = float(before.exp()[BINARY > 0].sum())
    model, log = expert_iteration(
        toy_policy,
        toy_policy,
        TOKENIZER,
        ask_a(400),
        score_by_text(BINARY),
        config=EXPERT,
        generator=seeded(),
    )
    assert same_weights(untouched, weights_of(toy_policy))
    assert log[0]["right"] == pytest.approx(share, abs=0.07)  # 800 answers: four standard errors
    assert log[1]["right"] > share + 0.5 * (1 - share)
    assert float(logp_after(model).exp()[BINARY > 0].sum()) > share + 0.6 * (1 - share)
    assert log[0]["solved"] == pytest.approx(1 - (1 - share) ** 2, abs=0.1)


def test_every_round_begins_with_the_base(toy_policy):
    """With a rate of nothing the model of the last round is the base, and not the policy that drew."""
    base = copy_of(toy_policy)
    with torch.no_grad():
        for parameter in base.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=seeded(1)))
    config = dataclasses.replace(EXPERT, sft=STILL)
    model, _ = expert_iteration(
        base, toy_policy, TOKENIZER, ask_a(30), score_by_text(BINARY), config=config, generator=seeded()
    )
    assert model is not base
    torch.testing.assert_close(logp_after(model), logp_after(base), rtol=0, atol=1e-6)
    assert (logp_after(model) - logp_after(toy_policy)).abs().max() > 1e-3


def test_at_most_so_many_answers_of_a_prompt_are_kept(toy_policy):
    everything = score_by_text(torch.ones_like(REWARDS))
    config = dataclasses.replace(
        EXPERT, rounds=1, drawing=dataclasses.replace(DRAWING, samples=6), sft=STILL, most=4
    )
    _, (entry,) = expert_iteration(
        toy_policy, toy_policy, TOKENIZER, ask_a(10), everything, config=config, generator=seeded()
    )
    assert (entry["right"], entry["solved"], entry["kept"]) == (1.0, 1.0, 40.0)


def test_ten_answers_of_a_prompt_are_kept_if_nothing_is_said(toy_policy):
    config = ExpertIterationConfig(
        rounds=1, drawing=Drawing(samples=12, temperature=1.0, max_new_tokens=3), sft=STILL
    )
    _, (entry,) = expert_iteration(
        toy_policy, toy_policy, TOKENIZER, ask_a(1), always(1.0), config=config, generator=seeded()
    )
    assert (entry["kept"], entry["right"]) == (10.0, 1.0)


def test_each_round_is_told_with_the_loss_of_its_last_step_and_a_batch_is_enough(toy_policy, monkeypatch):
    trained = losses_of(monkeypatch, expert_module)
    _, log = expert_iteration(
        toy_policy,
        toy_policy,
        TOKENIZER,
        lambda number: ["a", "b", "c", "d"],  # two answers each fill a batch of 8
        always(1.0),
        config=dataclasses.replace(EXPERT, sft=dataclasses.replace(TRAINING, epochs=3, batch=8)),
        generator=seeded(),
        on_round=lambda number, entry: entry.update(number=number),
    )
    assert [(entry["number"], entry["kept"]) for entry in log] == [(1, 8.0), (2, 8.0)]
    assert all(losses[0] > losses[-1] for losses in trained)  # 3 steps on the same 8 answers
    assert [entry["loss"] for entry in log] == [losses[-1] for losses in trained]


def test_a_reward_of_the_threshold_is_not_right(toy_policy):
    with pytest.raises(ValueError, match="round 1: 0 right answers of 40 were kept"):
        expert_iteration(
            toy_policy, toy_policy, TOKENIZER, ask_a(20), always(0.5), config=EXPERT, generator=seeded()
        )


def test_too_few_right_answers_are_named(toy_policy):
    nothing = score_by_text(torch.zeros_like(REWARDS))
    with pytest.raises(ValueError, match="round 1: 0 right answers of 20 were kept, and a batch is 8"):
        expert_iteration(
            toy_policy,
            toy_policy,
            TOKENIZER,
            ask_a(10),
            nothing,
            config=dataclasses.replace(EXPERT, sft=STILL),
            generator=seeded(),
        )


# ---- bad input


def test_bad_numbers_are_refused():
    for thresholds in ((), (0.5, 0.5), (0.7, 0.2), (0.5, 1.0)):
        with pytest.raises(ValueError, match="thresholds must rise and stay below 1"):
            dataclasses.replace(REST, thresholds=thresholds)
    for changes in ({"grows": 0}, {"rate_decay": 0.0}, {"rate_decay": 1.5}):
        with pytest.raises(ValueError, match="grows must be at least 1 and rate_decay"):
            dataclasses.replace(REST, **changes)
    for low, high in ((1.0, 1.0), (2.0, 1.0), (0.0, math.inf), (math.nan, 1.0)):
        with pytest.raises(ValueError, match="low must be below high"):
            RewardScale(low, high)
    with pytest.raises(ValueError, match="iterations must be at least 1"):
        RAFTConfig(iterations=0, drawing=DRAWING, sft=STILL)
    for changes in ({"rounds": 0}, {"most": 0}):
        with pytest.raises(ValueError, match="rounds and most must be at least 1"):
            dataclasses.replace(EXPERT, **changes)
