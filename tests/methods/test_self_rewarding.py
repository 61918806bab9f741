"""Self-rewarding on the toy language: which pairs are made, who judges, and where it leads."""

import math

import pytest
import torch

import rlhf_mini.methods.self_rewarding as module
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.answers import Answers, Drawing, draw_answers
from rlhf_mini.methods.dpo import DPOConfig
from rlhf_mini.methods.self_rewarding import (
    SelfRewardingConfig,
    best_and_worst,
    pack_preferred,
    preferred,
    self_rewarding,
)
from rlhf_mini.models import copy_of
from tests.methods.toy_words import logp_after, rewards_by_text, score_by_text, seeded, word_tokenizer


def settings(**changes) -> SelfRewardingConfig:
    numbers = {
        "rounds": 2,
        "drawing": Drawing(samples=4, temperature=1.0, max_new_tokens=3),
        "dpo": DPOConfig(epochs=1, batch=16, optimizer=OptimizerConfig(learning_rate=5e-3)),
        "kl_weight": 0.3,
    }
    return SelfRewardingConfig(**(numbers | changes))


def test_best_and_worst_by_hand():
    rewards = torch.tensor([[1.0, 3.0, 2.0], [5.0, 5.0, 4.5], [2.0, 2.0, 2.0]])
    best, worst, apart = best_and_worst(rewards)
    assert (best.tolist(), worst.tolist(), apart.tolist()) == ([1, 0, 0], [0, 2, 0], [True, True, False])
    assert best_and_worst(rewards, least_lead=0.5)[2].tolist() == [
        True,
        False,
        False,
    ]  # more than, not as much


def test_prompts_whose_answers_are_not_told_apart_give_no_pair():
    answers = Answers(["a", "b"], [["c", "d"], ["a", "a b"]], torch.tensor([[1.0, 1.0], [0.0, 2.0]]))
    pairs = preferred(answers)
    assert (pairs.prompts, pairs.chosen, pairs.rejected) == (["b"], ["a b"], ["a"])
    packed = pack_preferred(word_tokenizer(), pairs)
    assert packed.chosen.tokens.tolist() == [[2, 1, 2, 0]]
    assert packed.rejected.tokens.tolist() == [[2, 1, 0]]


def test_a_small_lead_gives_a_pair_and_one_of_the_least_lead_does_not():
    answers = Answers(["a", "b"], [["c", "d"], ["a", "b"]], torch.tensor([[1.0, 0.5], [0.0, 2.0]]))
    assert preferred(answers).prompts == ["a", "b"]
    assert preferred(answers, least_lead=0.5).prompts == ["b"]


def test_each_round_is_judged_by_the_policy_as_it_then_is(toy_policy, same_weights, weights_of):
    policy, judges = copy_of(toy_policy), []
    score = score_by_text(rewards_by_text())
    after = []

    def score_of(judge):
        assert same_weights(weights_of(judge), weights_of(policy))
        assert not {id(p) for p in judge.parameters()} & {id(p) for p in policy.parameters()}
        assert not any(p.requires_grad for p in judge.parameters())
        judges.append(weights_of(judge))
        return score

    def remember(number, entry):
        entry["number"] = number
        after.append(weights_of(policy))

    log = self_rewarding(
        policy,
        word_tokenizer(),
        lambda number: ["a"] * 32,
        score_of,
        config=settings(),
        generator=seeded(),
        on_round=remember,
    )
    assert [entry["number"] for entry in log] == [1, 2]
    assert same_weights(judges[1], after[0])
    assert not same_weights(judges[0], judges[1])


def test_it_raises_what_the_judge_rates_and_the_log_says_so(toy_policy):
    rewards = rewards_by_text()

    def expected(model):
        return float((logp_after(model).exp() * rewards).sum())

    policy = copy_of(toy_policy)
    values = [expected(policy)]
    score = score_by_text(rewards)
    log = self_rewarding(
        policy,
        word_tokenizer(),
        lambda number: ["a"] * 128,
        lambda judge: score,
        config=settings(rounds=3, kl_weight=1.0),
        generator=seeded(),
        on_round=lambda number, entry: values.append(expected(policy)),
    )
    assert values == sorted(values)
    assert values[-1] > values[0] + 0.3
    assert log[-1]["rating"] > log[0]["rating"]
    for entry in log:
        assert entry["worst_rating"] < entry["rating"] < entry["best_rating"]
        assert 0 < entry["pair_share"] <= 1
        assert entry["pairs"] == entry["pair_share"] * 128
        assert entry["chosen_words"] >= 0 <= entry["rejected_words"]


def test_an_entry_says_what_was_drawn_and_what_was_learned_of_it(toy_policy, monkeypatch):
    """The same draw once more, by the same generator: means over it, and the last step of the training."""
    trained, original = [], module.dpo

    def watched(*given, **options):
        trained.append(original(*given, **options))
        return trained[-1]

    monkeypatch.setattr(module, "dpo", watched)
    score, prompts = score_by_text(rewards_by_text()), ["a", "b"] * 32
    config = settings(rounds=1, least_lead=0.5)
    again = draw_answers(
        copy_of(toy_policy), word_tokenizer(), prompts, score, config=config.drawing, generator=seeded()
    )
    (entry,) = self_rewarding(
        toy_policy,
        word_tokenizer(),
        lambda _: prompts,
        lambda judge: score,
        config=config,
        generator=seeded(),
    )
    rows = [
        (max(rewards), min(rewards), texts[rewards.index(max(rewards))], texts[rewards.index(min(rewards))])
        for texts, rewards in zip(again.texts, again.rewards.tolist(), strict=True)
    ]
    apart = [row for row in rows if row[0] - row[1] > 0.5]
    assert 0 < len(apart) < len([row for row in rows if row[0] > row[1]])
    assert (entry["pairs"], entry["pair_share"]) == (len(apart), len(apart) / 64)
    assert entry["rating"] == pytest.approx(float(again.rewards.mean()))
    assert entry["best_rating"] == pytest.approx(sum(row[0] for row in rows) / 64)
    assert entry["worst_rating"] == pytest.approx(sum(row[1] for row in rows) / 64)
    for name, place in (("chosen_words", 2), ("rejected_words", 3)):
        words = [len(row[place].split()) for row in apart]
        assert entry[name] == pytest.approx(sum(words) / len(words))
    ((*_, last),) = trained
    assert len({step["loss"] for step in trained[0]}) > 1
    assert (entry["loss"], entry["accuracy"]) == (last["loss"], last["accuracy"])


def test_a_batch_of_pairs_is_enough_and_a_lead_of_the_least_is_not(toy_policy):
    """All answers of one word are worth 1 and all others 0: every lead is 0 or 1."""

    def one_word(sequences):
        return (sequences.response.sum(1) == 2).float()

    def run(prompts, **changes):
        return self_rewarding(
            copy_of(toy_policy),
            word_tokenizer(),
            lambda number: ["a"] * prompts,
            lambda judge: one_word,
            config=settings(rounds=1, **changes),
            generator=seeded(),
        )

    (entry,) = run(64)
    pairs = int(entry["pairs"])
    optimizer = OptimizerConfig(learning_rate=1e-3)
    (entry,) = run(64, dpo=DPOConfig(epochs=1, batch=pairs, optimizer=optimizer))
    assert entry["pairs"] == pairs > 16
    with pytest.raises(ValueError, match="the answers to 0 of 64 prompts apart"):
        run(64, least_lead=1.0)


def test_two_answers_and_one_round_are_enough_and_weights_are_those_of_the_papers():
    few = settings(rounds=1, drawing=Drawing(samples=2, temperature=1.0, max_new_tokens=3))
    assert (few.rounds, few.drawing.samples) == (1, 2)
    config = SelfRewardingConfig(rounds=1, drawing=few.drawing, dpo=few.dpo)
    assert (config.kl_weight, config.least_lead) == (0.1, 0.0)


def test_a_judge_of_the_opposite_taste_leads_the_other_way(toy_policy):
    rewards = rewards_by_text()
    policy = copy_of(toy_policy)
    start = float((logp_after(policy).exp() * rewards).sum())
    score = score_by_text(-rewards)
    self_rewarding(
        policy,
        word_tokenizer(),
        lambda number: ["a"] * 256,
        lambda judge: score,
        config=settings(),
        generator=seeded(),
    )
    assert float((logp_after(policy).exp() * rewards).sum()) < start - 0.1


def test_a_judge_that_tells_nothing_apart_stops_it(toy_policy):
    with pytest.raises(ValueError, match="round 1: the ratings tell the answers to 0 of 32 prompts apart"):
        self_rewarding(
            copy_of(toy_policy),
            word_tokenizer(),
            lambda number: ["a"] * 32,
            lambda judge: lambda sequences: torch.zeros(len(sequences)),
            config=settings(),
            generator=seeded(),
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rounds": 0}, "at least one round and two answers a prompt, got 0 and 4"),
        ({"drawing": Drawing(samples=1, temperature=1.0, max_new_tokens=3)}, "got 2 and 1"),
        ({"kl_weight": 0.0}, "kl_weight must be above 0"),
        ({"kl_weight": math.inf}, "kl_weight must be above 0"),
        ({"least_lead": -0.5}, "least_lead 0 or above"),
        ({"least_lead": math.inf}, "least_lead 0 or above"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        settings(**changes)
