"""RRHF and SLiC: their losses against plain sums over rows, and the order that they bring about."""

import dataclasses

import pytest
import torch

from rlhf_mini.batch import Pairs, pack_rows
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.answers import Answers
from rlhf_mini.methods.rrhf import RRHFConfig, ordered_share, rrhf
from rlhf_mini.methods.slic import SLiCConfig, pack_pairs, pairs_of, slic
from rlhf_mini.models import copy_of
from tests.methods.toy_words import logp_after, seeded, word_tokenizer

TOKENIZER = word_tokenizer()
STILL = OptimizerConfig(learning_rate=1e-12)
RRHF = RRHFConfig(epochs=1, batch=2, optimizer=STILL)
SLIC = SLiCConfig(epochs=1, batch=2, optimizer=STILL, margin=2.0, target_weight=0.5)
ANSWERS = Answers(
    ["a", "b"],
    [["b c", "d", "a a a"], ["c", "c d b", "d d"]],
    torch.tensor([[1.0, 3.0, 2.0], [0.0, 1.0, 1.0]]),
)


def plain_logp(model, prompt: str, text: str) -> tuple[float, int]:
    """The log-probability of a text with its end, and its number of tokens; one token at a time."""
    words = {"a": 1, "b": 2, "c": 3, "d": 4}
    tokens = [words[prompt], *(words[word] for word in text.split()), 0]
    total = 0.0
    for place in range(1, len(tokens)):
        logits = model(torch.tensor([tokens[:place]])).logits[0, -1].double()
        total += float(logits.log_softmax(0)[tokens[place]].detach())
    return total, len(tokens) - 1


def test_rrhf_is_the_sum_over_pairs_and_the_best_answer(toy_policy):
    (entry,) = rrhf(
        copy_of(toy_policy),
        TOKENIZER,
        ANSWERS,
        config=dataclasses.replace(RRHF, ranking_weight=100.0),
        generator=seeded(),
    )
    ranking = best = ordered = pairs = 0.0
    for prompt, texts, rewards in zip(ANSWERS.prompts, ANSWERS.texts, ANSWERS.rewards.tolist(), strict=True):
        logp = [plain_logp(toy_policy, prompt, text) for text in texts]
        means = [total / count for total, count in logp]
        for i in range(3):
            for j in range(3):
                if rewards[i] < rewards[j]:
                    ranking += max(0.0, means[i] - means[j]) / 2
                    ordered, pairs = ordered + (means[i] < means[j]), pairs + 1
        best -= logp[rewards.index(max(rewards))][0] / 2
    assert pairs == 5  # two of the second prompt's answers tie
    assert entry["ranking_loss"] == pytest.approx(ranking, abs=1e-5)
    assert entry["best_loss"] == pytest.approx(best, abs=1e-5)
    assert entry["ordered"] == pytest.approx(ordered / pairs)
    assert entry["loss"] == pytest.approx(100 * ranking + best, abs=1e-4)


def test_by_default_rrhf_adds_its_two_terms_with_equal_weight(toy_policy):
    config = RRHFConfig(epochs=1, batch=2, optimizer=STILL)
    (entry,) = rrhf(toy_policy, TOKENIZER, ANSWERS, config=config, generator=seeded())
    assert entry["ranking_loss"] > 1e-3
    assert entry["loss"] == pytest.approx(entry["ranking_loss"] + entry["best_loss"], abs=1e-5)


def test_hooks_see_every_step_of_a_model_in_training_mode(toy_policy):
    seen = []
    hooks = [lambda step, entry: seen.append((step, toy_policy.training))]
    config = dataclasses.replace(RRHF, epochs=2)
    rrhf(toy_policy.eval(), TOKENIZER, ANSWERS, config=config, generator=seeded(), hooks=hooks)
    ranked = pairs_of(ANSWERS)
    pairs, targets = pack_pairs(TOKENIZER, ranked), pack_texts(TOKENIZER, ranked.prompts, ranked.chosen)
    config = dataclasses.replace(SLIC, epochs=3)
    slic(toy_policy.eval(), pairs, targets, config=config, generator=seeded(), hooks=hooks)
    assert seen == [(step, True) for step in (1, 2, 1, 2, 3)]


def test_rrhf_puts_answers_into_the_order_of_their_rewards(toy_policy):
    config = RRHFConfig(epochs=40, batch=2, optimizer=OptimizerConfig(learning_rate=1e-2), ranking_weight=1.0)
    history = rrhf(toy_policy, TOKENIZER, ANSWERS, config=config, generator=seeded())
    assert history[0]["ordered"] < 1
    assert history[-1]["ordered"] == 1
    assert history[-1]["best_loss"] < history[0]["best_loss"] - 1
    logp = logp_after(toy_policy)
    assert logp.exp().sum() == pytest.approx(1, abs=1e-5)


def test_without_its_ranking_rrhf_learns_the_best_answer_only(toy_policy):
    config = RRHFConfig(epochs=40, batch=2, optimizer=OptimizerConfig(learning_rate=1e-2), ranking_weight=0.0)
    history = rrhf(toy_policy, TOKENIZER, ANSWERS, config=config, generator=seeded())
    assert history[-1]["best_loss"] < 0.1
    assert all(entry["loss"] == pytest.approx(entry["best_loss"]) for entry in history)


def test_the_share_in_order_is_1_where_nothing_differs():
    logp = torch.tensor([[-1.0, -2.0]])
    assert ordered_share(logp, torch.zeros(1, 2)) == 1
    assert ordered_share(logp, torch.tensor([[0.0, 1.0]])) == 0
    assert ordered_share(torch.tensor([[-1.0, -1.0]]), torch.tensor([[0.0, 1.0]])) == 0  # a tie is no order


# ---- SLiC


def test_pairs_are_the_best_and_the_worst():
    assert pairs_of(ANSWERS) == (["a", "b"], ["d", "c d b"], ["b c", "c"])
    same = Answers(["a", "b"], [["a", "b"], ["c", "d"]], torch.tensor([[1.0, 1.0], [2.0, 1.0]]))
    assert pairs_of(same) == (["b"], ["c"], ["d"])


def test_slic_is_hinge_and_target(toy_policy):
    ranked = pairs_of(ANSWERS)
    targets = ["b", "a a"]
    packed = pack_texts(TOKENIZER, ranked.prompts, targets)
    (entry,) = slic(
        copy_of(toy_policy), pack_pairs(TOKENIZER, ranked), packed, config=SLIC, generator=seeded()
    )
    expected, ordered = 0.0, 0.0
    for prompt, chosen, rejected, target in zip(*ranked, targets, strict=True):
        lead = plain_logp(toy_policy, prompt, chosen)[0] - plain_logp(toy_policy, prompt, rejected)[0]
        expected += (max(0.0, 2.0 - lead) - 0.5 * plain_logp(toy_policy, prompt, target)[0]) / 2
        ordered += (lead > 0) / 2
    assert entry["loss"] == pytest.approx(expected, abs=1e-5)
    assert entry["ordered"] == ordered


def test_slic_without_numbers_has_a_margin_of_1_and_a_tenth_of_the_target(toy_policy):
    ranked = pairs_of(ANSWERS)
    pairs, targets = pack_pairs(TOKENIZER, ranked), pack_texts(TOKENIZER, ranked.prompts, ["b", "a a"])
    config = SLiCConfig(epochs=1, batch=2, optimizer=STILL)
    (entry,) = slic(toy_policy, pairs, targets, config=config, generator=seeded())
    expected = 0.0
    for prompt, chosen, rejected, target in zip(*ranked, ["b", "a a"], strict=True):
        lead = plain_logp(toy_policy, prompt, chosen)[0] - plain_logp(toy_policy, prompt, rejected)[0]
        expected += (max(0.0, 1.0 - lead) - 0.1 * plain_logp(toy_policy, prompt, target)[0]) / 2
    assert entry["loss"] == pytest.approx(expected, abs=1e-5)


def test_slic_without_margin_leaves_equal_answers_alone_and_does_not_call_them_ordered(toy_policy):
    same = pack_texts(TOKENIZER, ["a", "b"], ["c d", "d"])
    config = dataclasses.replace(SLIC, margin=0.0, target_weight=0.0)
    (entry,) = slic(toy_policy, Pairs(same, same), same, config=config, generator=seeded())
    assert (entry["loss"], entry["ordered"], entry["grad_norm"]) == (0.0, 0.0, 0.0)


def test_slic_brings_the_lead_and_its_target_keeps_the_answer_likely(toy_policy):
    ranked = pairs_of(ANSWERS)
    pairs, targets = pack_pairs(TOKENIZER, ranked), pack_texts(TOKENIZER, ranked.prompts, ranked.chosen)
    config = SLiCConfig(
        epochs=60, batch=2, optimizer=OptimizerConfig(learning_rate=1e-2), margin=2.0, target_weight=0.5
    )
    after = {}
    for weight in (0.0, 0.5):
        model = copy_of(toy_policy)
        history = slic(
            model,
            pairs,
            targets,
            config=dataclasses.replace(config, target_weight=weight),
            generator=seeded(),
        )
        assert history[-1]["ordered"] == 1
        leads = [
            plain_logp(model, prompt, chosen)[0] - plain_logp(model, prompt, rejected)[0]
            for prompt, chosen, rejected in zip(*ranked, strict=True)
        ]
        assert min(leads) > 1.8
        after[weight] = plain_logp(model, "a", ranked.chosen[0])[0]
    assert after[0.5] > -0.5
    assert after[0.5] > after[0.0] + 0.5


# ---- bad input


def test_bad_input_is_refused_before_training(toy_policy, weights_of, same_weights):
    before = weights_of(toy_policy)
    with pytest.raises(ValueError, match="2 rows do not fill one batch of 3"):
        rrhf(toy_policy, TOKENIZER, ANSWERS, config=dataclasses.replace(RRHF, batch=3), generator=seeded())
    alone = Answers(["a", "b"], [["a"], ["b"]], torch.zeros(2, 1))
    with pytest.raises(ValueError, match="K at least 2"):
        rrhf(toy_policy, TOKENIZER, alone, config=RRHF, generator=seeded())
    long = Answers(["a", "b"], [["a " * 9, "b"], ["c", "d"]], torch.zeros(2, 2))
    with pytest.raises(ValueError, match="context of 8"):
        rrhf(toy_policy, TOKENIZER, long, config=RRHF, generator=seeded())
    pairs = pack_pairs(TOKENIZER, pairs_of(ANSWERS))
    with pytest.raises(ValueError, match="2 pairs but 1 targets"):
        slic(toy_policy, pairs, pack_rows([[1]], [[2]], pad_token=0), config=SLIC, generator=seeded())
    packed = pack_texts(TOKENIZER, ["a", "b"], ["c", "d"])
    too_long = pack_texts(TOKENIZER, ["a", "b"], ["c", "d " * 9])
    for chosen, rejected, target in (
        (too_long, packed, packed),
        (packed, too_long, packed),
        (packed, packed, too_long),
    ):
        with pytest.raises(ValueError, match="context of 8"):
            slic(toy_policy, Pairs(chosen, rejected), target, config=SLIC, generator=seeded())
    with pytest.raises(ValueError, match="2 rows do not fill one batch of 3"):
        slic(toy_policy, pairs, packed, config=dataclasses.replace(SLIC, batch=3), generator=seeded())
    assert same_weights(before, weights_of(toy_policy))
    for changes in ({"epochs": 0}, {"batch": 0}):
        for config in (RRHF, SLIC):
            with pytest.raises(ValueError, match="epochs and batch must be at least 1"):
                dataclasses.replace(config, **changes)
    for weight in (-0.5, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="ranking_weight must be finite"):
            dataclasses.replace(RRHF, ranking_weight=weight)
    for changes in (
        {"margin": -0.5},
        {"margin": float("inf")},
        {"target_weight": -0.5},
        {"target_weight": float("inf")},
    ):
        with pytest.raises(ValueError, match="margin and target_weight must be finite"):
            dataclasses.replace(SLIC, **changes)
