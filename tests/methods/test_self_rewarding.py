"""Self-rewarding on the toy language: which pairs are made, who judges, and where it leads."""

import pytest
import torch

from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.answers import Answers, Drawing
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
        ({"least_lead": -1.0}, "least_lead 0 or above"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        settings(**changes)
