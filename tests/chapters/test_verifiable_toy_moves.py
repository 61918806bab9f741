"""Chapter 12's toy language after the first step: silence, parting, penalties, and several tries."""

import itertools
import math

import pytest
import torch

from rlhf_mini.chapters.verifiable import toy, toy_kl, toy_moves, toy_tries
from rlhf_mini.exact import kl_divergence

WORLD = toy.World(0)
NAMES = tuple(toy.methods_of(WORLD))


@pytest.fixture(scope="module")
def parted():
    return toy_moves.parted(seed=0)


def test_distances_by_hand():
    logits = toy_moves.moved(WORLD, 1.5)
    assert float((logits - WORLD.logits).norm()) == pytest.approx(1.5)
    assert float(WORLD.pass_rate(logits)) > float(WORLD.pass_rate(WORLD.logits)) + 0.1
    new, old = (WORLD.token_logp(each).sum(2) for each in (logits, WORLD.logits))
    expected = sum(float((new[p].exp() * (new[p] - old[p])).sum()) for p in (0, 1)) / 2
    assert toy_moves.travelled(WORLD, logits) == pytest.approx(expected)
    # |ρ − 1|, token by token
    total = counted = 0.0
    new_tokens, old_tokens = WORLD.token_logp(logits), WORLD.logp_old
    for prompt, (place, text) in itertools.product((0, 1), enumerate(WORLD.language.texts)):
        chance = math.exp(float(old[prompt, place]))
        for t in range(1, len(text) + 1):
            ratio = math.exp(float(new_tokens[prompt, place, t] - old_tokens[prompt, place, t]))
            total, counted = total + chance * abs(ratio - 1), counted + chance
    assert toy_moves.deviation(WORLD, logits) == pytest.approx(total / counted)


@pytest.mark.parametrize(("name", "low", "high"), [("GRPO", 0.2, 0.2), ("DAPO", 0.2, 0.28)])
def test_silence_by_its_definition(name, low, high):
    generator = torch.Generator().manual_seed(1)
    away = 0.4 * torch.randn(WORLD.logits.shape, generator=generator, dtype=torch.float64)
    found = toy_moves.silenced(WORLD, toy.methods_of(WORLD)[name], WORLD.logits + away)
    ratio = (WORLD.token_logp(WORLD.logits + away) - WORLD.logp_old).exp()
    drawn = WORLD.logp_old.sum(2).exp()[:, :, None] * WORLD.language.response
    right = WORLD.right.bool()[None, :, None]
    still = (right & (ratio > 1 + high)) | (~right & (ratio < 1 - low))
    for key, who in (("silenced", right | ~right), ("silenced right", right), ("silenced wrong", ~right)):
        assert found[key] == pytest.approx(float((drawn * still * who).sum() / (drawn * who).sum()))
    assert 0.02 < found["silenced"] < 0.5


def test_before_any_move_it_is_the_first_step(parted):
    first = toy.first_step(seed=0)
    assert parted["kl"][0] == pytest.approx(0.0, abs=1e-12)
    assert parted["deviation"][0] == pytest.approx(0.0, abs=1e-12)
    for name in NAMES:
        assert parted[f"cosine {name}"][0] == pytest.approx(first[f"cosine {name}"])
        assert parted[f"size {name}"][0] == pytest.approx(1.0)
        assert parted[f"silenced {name}"][0] == 0.0


def test_then_they_part(parted):
    assert parted["kl"] == sorted(parted["kl"])
    for name in ("RLOO", "REINFORCE", "CISPO"):
        assert max(parted[f"silenced {name}"]) == 0
    for name in ("PPO", "GRPO", "Dr. GRPO", "DAPO", "GSPO"):
        assert parted[f"silenced {name}"][-1] > 0.3
    assert parted["silenced GSPO"][1] > 0.9 > parted["silenced GRPO"][1]  # its bounds are for long answers
    # The higher bound leaves right answers' tokens a while longer, and wrong ones' not.
    assert parted["silenced right DAPO"][1] == 0 < parted["silenced right GRPO"][1]
    assert parted["silenced wrong DAPO"] == parted["silenced wrong GRPO"]
    # RLOO's gradient does not know that it has moved: as long as ever, in another and another direction.
    assert parted["cosine RLOO"][-1] < 0.5
    assert parted["cosine CISPO"][-1] > 0.99
    assert len({round(parted[f"cosine {name}"][3], 6) for name in NAMES}) == len(NAMES)


def test_where_each_ends():
    found = toy_moves.own_ways(seed=0)
    for told in found.values():
        assert {len(row) for row in told.values()} == {toy_moves.STEPS + 1}
        assert told["pass_rate"][0] == pytest.approx(0.35)
        assert told["pass_rate"][-1] > told["pass_rate"][0]
        assert told["kl"][0] == pytest.approx(0.0, abs=1e-12)
    ends = {name: told["pass_rate"][-1] for name, told in found.items()}
    far = {name: told["kl"][-1] for name, told in found.items()}
    assert max(ends[name] for name in ("PPO", "GRPO", "Dr. GRPO", "DAPO", "GSPO")) < 0.6
    assert min(ends[name] for name in ("RLOO", "REINFORCE", "CISPO")) > 0.7
    assert far["GSPO"] < far["GRPO"] < far["DAPO"] < 0.1 < 0.5 < far["RLOO"]


# ------------------------------------------------------------------------------------------- KL


@pytest.mark.parametrize("seed", [0, 1])
def test_which_way_each_penalty_pulls_on_fresh_samples(seed):
    found = toy_kl.pulls(seed=seed)
    assert found["size k1"] < 1e-12
    assert found["size k1 whole"] < 1e-12
    for name in ("k2 whole", "reweighted whole", "reward"):
        assert found[f"error {name}"] < 1e-12, name
    assert found["error turned k3 whole"] < 1e-12
    for name in ("k2", "reweighted"):  # token by token, with the states held fixed
        assert found[f"error held {name}"] < 1e-12
        assert found[f"error {name}"] > 1e-3
    assert min(found[f"error {which}k3"] for which in ("", "turned ", "held ")) > 1e-3  # exactly neither
    assert found["along turned k3"] > found["along k3"]


@pytest.mark.parametrize("seed", [0, 1])
def test_and_on_samples_of_an_older_policy(seed):
    found = toy_kl.pulls(seed=seed, moved=True)
    assert found["error held reweighted"] < 1e-12
    assert found["error reweighted whole"] < 1e-12
    for name in ("k1", "k2", "k3", "k2 whole", "k3 whole", "reward"):
        assert min(found[f"error {which}{name}"] for which in ("", "turned ", "held ")) > 1e-3, name
    assert found["size k1"] > 0.1  # away from ratio one it is no longer 0


def test_the_two_divergences_are_those_of_whole_texts():
    """The k2 of whole texts and the k3 of whole texts, each beside a gradient by differences."""
    world, step = toy_kl.Pair(2), 1e-6
    leaf = world.logits_old.requires_grad_()
    logp, ref = toy_kl.token_logp(leaf), toy_kl.token_logp(world.logits_ref)
    (slope,) = torch.autograd.grad(kl_divergence(logp.sum(1), ref.sum(1)), [leaf])
    for place in ((0, 1), (3, 0)):
        sides = []
        for sign in (1, -1):
            moved = world.logits_old
            moved[place] += sign * step
            texts = toy_kl.token_logp(moved).sum(1)
            sides.append(float((texts.exp() * (texts - ref.sum(1))).sum()))
        assert float(slope[place]) == pytest.approx((sides[0] - sides[1]) / (2 * step), abs=1e-7)


@pytest.mark.slow  # four times 600 steps on a table
def test_where_paying_by_each_ends():
    found = toy_kl.ends(seed=0)
    assert found["distance reward"] < 1e-4
    assert found["kl reward"] == pytest.approx(found["kl optimum"], abs=0.01)
    assert found["distance k1"] > 1  # as though nothing had been asked for
    assert found["reward k1"] > found["reward optimum"] + 0.5
    assert 0.01 < found["distance k2"] < found["distance k3"] < 1
    price = toy_kl.KL_WEIGHT
    best = found["reward optimum"] - price * found["kl optimum"]
    for way in ("k1", "k2", "k3"):
        assert found[f"reward {way}"] - price * found[f"kl {way}"] < best
        # what is missed is β KL(π ‖ π*)
        missed = best - (found[f"reward {way}"] - price * found[f"kl {way}"])
        assert missed == pytest.approx(price * found[f"distance {way}"], abs=1e-9)


# ------------------------------------------------------------------------------------------- several tries


def test_a_mean_over_tries_is_that_over_all_sequences():
    chances = (0.5, 0.3, 0.2)

    def value(tries):
        return max(tries) + 0.5 * tries.count(1)

    expected = sum(
        math.prod(chances[one] for one in tries) * value(list(tries))
        for tries in itertools.product(range(3), repeat=4)
    )
    assert toy_tries.over_tries(chances, 4, value) == pytest.approx(expected)
    for bad, count in (((0.5, 0.4), 2), ((1.5, -0.5), 2), ((0.5, 0.5), 0)):
        with pytest.raises(ValueError, match="chances that add up to 1"):
            toy_tries.over_tries(bad, count, value)


@pytest.mark.parametrize("problem", toy_tries.PROBLEMS)
def test_the_estimates_are_right_on_average_and_the_plugged_in_one_is_not(problem):
    found = toy_tries.estimates(problem)
    assert found["pass"] == pytest.approx(found["exact pass"], abs=1e-12)
    assert found["majority"] == pytest.approx(found["exact majority"], abs=1e-12)
    assert found["plugged in"][0] == pytest.approx(found["exact pass"][0])  # for k = 1 it is a mean
    short = [exact - plugged for exact, plugged in zip(found["exact pass"], found["plugged in"], strict=True)]
    assert min(short[1:]) > 0.004
    assert short == sorted(short) or problem == "in front"
    p, n, k = toy_tries.PROBLEMS[problem][0], toy_tries.TRIES, 3
    plugged = sum(math.comb(n, c) * p**c * (1 - p) ** (n - c) * (1 - (1 - c / n) ** k) for c in range(n + 1))
    assert found["plugged in"][k - 1] == pytest.approx(plugged)


def test_passing_rises_whatever_is_likely_and_the_vote_finds_what_is_likeliest():
    front, behind, rare = (toy_tries.curves(problem) for problem in toy_tries.PROBLEMS)
    for found in (front, behind, rare):
        assert found["pass"] == sorted(found["pass"])
        assert found["pass"][0] == pytest.approx(found["majority"][0])
    assert front["majority"][-1] > 0.65
    assert behind["majority"][-1] < 0.27 < 0.3
    assert rare["majority"][-1] < 1e-3 < 0.7 < rare["pass"][-1]
    # Of two tries the first of the two, or a coin: as good as one.
    assert front["majority"][1] == pytest.approx(0.4)
    three = 0.4**3 + 3 * 0.4**2 * 0.6 + 6 / 3 * 0.4 * (0.3 * 0.2 + 0.3 * 0.1 + 0.2 * 0.1)
    assert front["majority"][2] == pytest.approx(three)
