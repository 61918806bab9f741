"""Chapter 12's toy language, the first step: expected gradients against every batch, and by hand."""

import itertools
import math

import pytest
import torch

from rlhf_mini.chapters.verifiable import toy, toy_groups
from rlhf_mini.estimators import group_mean_advantages, group_scaled_advantages
from rlhf_mini.exact import ToyLanguage

SEEDS = (0, 1, 2)
SMALL = toy.World(0, language=ToyLanguage(vocabulary=3, steps=2), group=2)
NAMES = tuple(toy.methods_of(SMALL))


def test_the_world_by_hand():
    world = toy.World(3)
    texts = world.token_logp(world.logits).sum(2).exp()
    torch.testing.assert_close(texts.sum(1), torch.ones(2, dtype=torch.float64))
    assert (texts @ world.right).tolist() == pytest.approx([0.6, 0.1])
    assert float(texts[0, 0]) == pytest.approx(0.4 * 0.2)  # it ends at once
    assert world.language.texts[0] == (0,)
    assert float(world.pass_rate(world.logits)) == pytest.approx(0.35)
    for text, right, length in zip(world.language.texts, world.right, world.lengths, strict=True):
        assert (bool(right), int(length)) == (text[0] == 1, len(text))
    assert not torch.equal(world.logits[:, 1:], toy.World(4).logits[:, 1:])


def test_the_gradient_of_the_pass_rate_by_differences():
    world = toy.World(1)
    climb, step = world.climb(world.logits), 1e-6
    for place in ((0, 0, 1), (1, 0, 2), (0, 3, 0)):
        up, down = world.logits.clone(), world.logits.clone()
        up[place] += step
        down[place] -= step
        slope = (world.pass_rate(up) - world.pass_rate(down)) / (2 * step)
        assert float(climb[place]) == pytest.approx(float(slope), abs=1e-8)
    p = torch.tensor([0.6, 0.1], dtype=torch.float64)
    torch.testing.assert_close(climb[:, 0, 1], p * (1 - p) / 2)  # of a softmax, and of a mean of two
    assert float(climb[:, 1:].abs().max()) < 1e-15  # after the first token nothing is to be gained


def every_batch(world, method, logits):
    """The mean loss by going through all batches: unordered pairs to each prompt, times their chance."""
    logp, old, chance = world.token_logp(logits), world.logp_old, world.logp_old.sum(2).exp()
    pairs = list(itertools.combinations_with_replacement(range(len(world.right)), 2))
    total = torch.zeros((), dtype=torch.float64)
    for here, there in itertools.product(pairs, pairs):
        orders = (1 + (here[0] != here[1])) * (1 + (there[0] != there[1]))
        likely = orders * chance[0, list(here)].prod() * chance[1, list(there)].prod()
        texts = [*here, *there]
        advantages = method.advantage(world.right[texts].view(2, 2)).flatten()
        response = world.language.response[texts]
        now = torch.cat([logp[0, list(here)], logp[1, list(there)]])
        before = torch.cat([old[0, list(here)], old[1, list(there)]])
        total = total + likely * method.average(
            method.policy_term(now, before, advantages, response), response
        )
    return total


@pytest.mark.slow  # 784 batches, one by one
@pytest.mark.parametrize("name", ["RLOO", "PPO", "GRPO", "CISPO", "GSPO"])  # every term, every average
def test_the_expected_loss_is_the_mean_over_every_batch(name):
    """At a policy that has moved far enough for clipping: value and gradient."""
    method, generator = toy.methods_of(SMALL)[name], torch.Generator().manual_seed(5)
    away = 0.6 * torch.randn(SMALL.logits.shape, generator=generator, dtype=torch.float64)
    logits = (SMALL.logits + away).requires_grad_()
    expected = every_batch(SMALL, method, logits)
    found = toy.expected_loss(SMALL, method, toy.weights_of(SMALL)[name], logits)
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-9, abs=1e-12)
    (slope,) = torch.autograd.grad(expected, [logits])
    way = toy.descent(SMALL, method, toy.weights_of(SMALL)[name], logits.detach())
    torch.testing.assert_close(way, -slope, rtol=1e-8, atol=1e-12)
    assert float(slope.abs().max()) > 1e-3


def test_draws_are_all_there_is():
    found = dict(toy._draws([0.5, 0.3, 0.2], 3))
    assert sum(found.values()) == pytest.approx(1.0)
    assert found[(0, 1, 2)] == pytest.approx(6 * 0.5 * 0.3 * 0.2)
    assert found[(0, 0, 1)] == pytest.approx(3 * 0.25 * 0.3)
    assert found[(2, 2, 2)] == pytest.approx(0.008)


def test_advantage_and_share_of_the_first_answer_by_hand():
    methods = toy.methods_of(toy.World(0))
    # right, with one of three right beside it: 1 − 2/4; the others of the batch do not matter
    assert toy.first_advantage(methods["Dr. GRPO"], 1, 1, 3, group=4) == pytest.approx(0.5)
    assert toy.first_advantage(methods["RLOO"], 1, 1, 3, group=4) == pytest.approx(1 - 1 / 3)
    assert toy.first_advantage(methods["REINFORCE"], 0, 1, 3, group=4) == pytest.approx(-4 / 8)
    shares = {name: toy.first_share(method.average, 2, (1, 4, 1)) for name, method in methods.items()}
    assert shares["GRPO"] == pytest.approx(1 / 4 / 2)
    assert shares["DAPO"] == pytest.approx(1 / 8)
    assert shares["RLOO"] == pytest.approx(1 / 4)
    assert shares["Dr. GRPO"] == pytest.approx(1 / 4 / 4)


@pytest.mark.parametrize("seed", SEEDS)
def test_who_is_one_on_the_first_step(seed):
    assert max(toy.identities(seed=seed).values()) < 1e-12
    found = toy.first_step(seed=seed)
    for name in ("REINFORCE", "RLOO", "Dr. GRPO"):
        assert found[f"cosine {name}"] == pytest.approx(1.0, abs=1e-12)
    assert found["size RLOO"] == pytest.approx(1.0)
    assert found["size REINFORCE"] == pytest.approx(7 / 8)
    assert found["size Dr. GRPO"] == pytest.approx(3 / 16)
    assert found["GRPO · GSPO"] == pytest.approx(1.0, abs=1e-12)
    assert found["DAPO · CISPO"] == pytest.approx(1.0, abs=1e-12)
    assert found["GRPO · Dr. GRPO"] == pytest.approx(found["cosine GRPO"])
    assert len(found) == 8 + 8 + 9 + 28


@pytest.mark.parametrize("seed", SEEDS)
def test_who_is_not(seed):
    found = toy.first_step(seed=seed)
    assert 0.9 < found["cosine GRPO"] < 0.98  # a mean over each answer's tokens
    assert 0.99 < found["cosine DAPO"] < 1 - 1e-5  # a mean over all tokens
    assert 0.99 < found["cosine PPO"] < 1 - 1e-5
    assert found["cosine GRPO"] < min(found["cosine DAPO"], found["cosine PPO"])
    # Dividing by the spread counts the hard prompt for more, whitening over both prompts for less.
    assert found["hard PPO"] < found["hard J"] < found["hard DAPO"]
    p = (0.6, 0.1)
    # J moves the first token's logits only: p(1 − p) of the right one, −p q_i of the others
    squares = [q * q * ((1 - q) ** 2 * (1 + 0.8**2 + 0.2**2)) for q in p]
    assert found["hard J"] == pytest.approx(squares[1] / sum(squares))


# ------------------------------------------------------------------------------------------- groups


def binomial(rate, group, value):
    """E[value(own, right in all)] for a right and a wrong answer, by going through what the others may be."""
    found = []
    for own in (1, 0):
        mean = 0.0
        for others in range(group):
            chance = math.comb(group - 1, others) * rate**others * (1 - rate) ** (group - 1 - others)
            mean += chance * value(own, own + others)
        found.append(mean)
    return found


@pytest.mark.parametrize("group", [2, 5, 16])
@pytest.mark.parametrize("rate", [0.07, 0.5, 0.9])
def test_expected_advantages_are_sums_over_how_many_are_right(rate, group):
    def scaled(own, right):
        share = right / group
        spread = math.sqrt(group / (group - 1) * share * (1 - share))
        return (own - share) / (spread + 1e-4)

    found = toy_groups.in_a_group(rate, group_scaled_advantages, group=group)
    assert found == pytest.approx(binomial(rate, group, scaled), rel=1e-9)
    plain = toy_groups.in_a_group(rate, group_mean_advantages, group=group)
    assert plain == pytest.approx(binomial(rate, group, lambda own, right: own - right / group), rel=1e-9)
    assert plain[0] - plain[1] == pytest.approx(1 - 1 / group)


def test_what_prompts_are_worth():
    small, large = toy_groups.by_pass_rate(group=2), toy_groups.by_pass_rate(group=64)
    middle = small["rate"].index(0.48)
    for found, group in ((small, 2), (large, 64)):
        for place, rate in enumerate(found["rate"]):
            assert found["Dr. GRPO"][place] == pytest.approx((1 - 1 / group) * rate * (1 - rate))
            missed = rate**group + (1 - rate) ** group
            assert found["without spread"][place] == pytest.approx(missed)
    # Of two answers one is right and the other wrong, or nothing is learned: the spread is always the same.
    ratios = [a / b for a, b in zip(small["GRPO"], small["Dr. GRPO"], strict=True)]
    assert max(ratios) == pytest.approx(min(ratios))
    assert max(ratios) == pytest.approx(math.sqrt(2), rel=1e-3)  # 1/2 over 1/√2, by the definition with G − 1
    # Of large groups: √(p (1 − p)), where a prompt is not nearly always passed or failed.
    assert large["GRPO"][middle] == pytest.approx(large["even"][middle], rel=0.03)
    hard = large["rate"].index(0.08)
    assert (
        large["GRPO"][hard] / large["Dr. GRPO"][hard]
        > 1.7 * large["GRPO"][middle] / large["Dr. GRPO"][middle]
    )
    assert small["right"][0] > -small["wrong"][0]
    assert small["GRPO"] == pytest.approx(
        small["GRPO"][::-1]
    )  # a prompt passed as often as another is failed
    with pytest.raises(ValueError, match="rate must lie between"):
        toy_groups.in_a_group(1.0, group_mean_advantages, group=4)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_mean_over_an_answer_pulls_less_at_each_token_of_a_long_one(seed):
    found = toy_groups.by_length(seed=seed)
    for name in ("GRPO", "GSPO"):
        for key in ("right", "wrong"):
            for length in (2, 3, 4):
                assert found[f"{key} {length} {name}"] == pytest.approx(
                    found[f"{key} 2 {name}"] * 2 / length, rel=1e-9
                )
        assert found[f"longer wrong {name}"] > 0.2
        assert found[f"longer right {name}"] < -0.1
    for name in ("RLOO", "Dr. GRPO", "REINFORCE"):
        assert found[f"wrong 4 {name}"] == pytest.approx(found[f"wrong 1 {name}"])
        assert abs(found[f"longer wrong {name}"]) + abs(found[f"longer right {name}"]) < 1e-12
    assert found["wrong 2 RLOO"] == pytest.approx(
        -0.6 / 0.4
    )  # so that all answers together are not pulled at all
    for name in ("DAPO", "PPO", "CISPO"):
        for key in ("right", "wrong"):
            own, by_answer = abs(found[f"longer {key} {name}"]), abs(found[f"longer {key} GRPO"])
            assert 1e-3 < own < 0.5 * by_answer
    assert "right 1 GRPO" not in found  # no right answer ends at once


def test_lengthening_is_what_a_small_step_does():
    """Half a million-th of GRPO's first step, measured on the texts themselves."""
    world = toy.World(0)
    way, found = toy.ways_of(world, world.logits)["GRPO"], toy_groups.by_length(seed=0)

    def told(logits):
        texts = world.token_logp(logits).sum(2).exp()[0]
        wrong = torch.tensor([float(text[0] == 2) for text in world.language.texts], dtype=torch.float64)
        return float(texts @ world.right), float((texts * wrong) @ world.lengths / (texts @ wrong))

    before, after = told(world.logits), told(world.logits + 1e-5 * way)
    grown = (after[1] - before[1]) / ((after[0] - before[0]) / 2)  # J is the mean over two prompts
    assert found["longer wrong GRPO"] == pytest.approx(grown, rel=1e-4)


def test_where_the_loss_reads_zero():
    found = toy_groups.zero_losses(seed=0)
    for name in NAMES:
        assert found[f"slope {name}"] > 0.1, name  # there is something to learn in every pair
        zero = name in ("GRPO", "GSPO")
        assert (found[f"loss {name}"] < 1e-12) is zero, name
        alike = name in ("GRPO", "GSPO", "DAPO", "Dr. GRPO", "PPO")
        assert (found[f"loss alike {name}"] < 1e-12) is alike, name
    # The right answer has 4 tokens and the wrong one 1, each in units of the longest, 4: ½ · ½ · (4 − 1)/4.
    assert found["loss Dr. GRPO"] == pytest.approx(0.5 * 0.5 * 3 / 4)
    assert found["loss DAPO"] == pytest.approx(1 / math.sqrt(2) * 3 / 5, rel=1e-3)
    assert found["loss RLOO"] == pytest.approx(found["loss REINFORCE"] * 2)
