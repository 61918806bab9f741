"""Online DPO on best and worst of K, on the toy language: whose answers, which pairs, and where it leads."""

import pytest
import torch

from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.losses import dpo_loss
from rlhf_mini.methods import best_worst_dpo as module
from rlhf_mini.methods.answers import Drawing
from rlhf_mini.methods.best_worst_dpo import BestWorstConfig, best_worst_dpo
from rlhf_mini.models import copy_of, freeze
from tests.methods.toy_words import logp_after, rewards_by_text, score_by_text, seeded, word_tokenizer


def settings(*, samples=4, **changes):
    numbers = {
        "episodes": 3,
        "prompts": 16,
        "drawing": Drawing(samples=samples, temperature=1.0, max_new_tokens=3),
        "batch": 8,
        "optimizer": OptimizerConfig(learning_rate=5e-3),
    }
    return BestWorstConfig(**{**numbers, **changes})


def objective(pair):
    return dpo_loss(*pair.log_ratios, kl_weight=1.0)


def run(policy, *, reference=None, score=None, prompts=("a", "b"), config=None, **options):
    return best_worst_dpo(
        policy,
        reference or freeze(copy_of(policy)),
        word_tokenizer(),
        list(prompts) * 8,
        score or score_by_text(rewards_by_text()),
        objective,
        config=config or settings(),
        generator=seeded(),
        **options,
    )


def test_pairs_are_of_the_policy_as_it_is_and_the_best_leads_the_worst(
    toy_policy, monkeypatch, weights_of, same_weights
):
    policy, drawn, learned = copy_of(toy_policy), [], []
    draw_answers, take_step = module.draw_answers, module.take_step

    def watched_draw(model, *given, **options):
        drawn.append((weights_of(model), draw_answers(model, *given, **options)))
        return drawn[-1][1]

    def watched_step(training, model, reference, pairs, objective):
        learned.append(pairs)
        return take_step(training, model, reference, pairs, objective)

    monkeypatch.setattr(module, "draw_answers", watched_draw)
    monkeypatch.setattr(module, "take_step", watched_step)
    ends = []
    score = score_by_text(rewards_by_text())
    run(policy, on_episode=lambda number, entry: ends.append(weights_of(policy)))
    assert same_weights(drawn[0][0], weights_of(toy_policy))
    for before, (asked, _) in zip(ends[:-1], drawn[1:], strict=True):
        assert same_weights(before, asked)
        assert not same_weights(asked, drawn[0][0])
    chosen = torch.cat([score(pairs.chosen) for pairs in learned])
    rejected = torch.cat([score(pairs.rejected) for pairs in learned])
    assert (chosen > rejected).all()
    rewards = torch.cat([answers.rewards for _, answers in drawn])
    apart = rewards.amax(1) > rewards.amin(1)
    torch.testing.assert_close(chosen, rewards.amax(1)[apart])
    torch.testing.assert_close(rejected, rewards.amin(1)[apart])


def test_the_expected_score_rises_and_the_log_says_so(toy_policy):
    rewards, policy = rewards_by_text(), copy_of(toy_policy)

    def expected(model):
        return float((logp_after(model).exp() * rewards).sum())

    before = expected(policy)
    log = run(policy, config=settings(episodes=10))
    assert expected(policy) > before + 0.3
    assert log[-1]["score"] > log[0]["score"]
    for entry in log:
        assert entry["worst"] < entry["score"] < entry["best"]
        assert 0 < entry["pairs"] <= 16
    assert log[0]["lead"] != 0  # its second step is no longer at the reference
    assert log[-1]["lead"] > 0


def test_answers_that_score_alike_give_no_pair(toy_policy, weights_of, same_weights):
    before = weights_of(toy_policy)
    log = run(toy_policy, score=lambda sequences: torch.ones(len(sequences)))
    assert same_weights(weights_of(toy_policy), before)
    assert [entry["pairs"] for entry in log] == [0.0, 0.0, 0.0]
    assert "loss" not in log[0]


def test_hooks_are_called_after_each_step(toy_policy):
    steps = []
    log = run(toy_policy, hooks=[lambda step, entry: steps.append(step)])
    assert steps == [*range(1, len(steps) + 1)]
    assert len(steps) == sum(-(-int(entry["pairs"]) // 8) for entry in log)
    assert settings(prompts=17).steps == 9


def test_what_is_refused(toy_policy):
    with pytest.raises(ValueError, match="needs prompts"):
        run(toy_policy, prompts=())
    with pytest.raises(ValueError, match="shares its weights"):
        run(toy_policy, reference=toy_policy)
    for changes in ({"samples": 1}, {"episodes": 0}, {"batch": 0}):
        with pytest.raises(ValueError, match="at least"):
            settings(**changes)
