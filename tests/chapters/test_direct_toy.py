"""Chapter 07 on the toy language: the identities of the derivation; what data do to DPO, on three seeds."""

import json
import math
from functools import cache, partial

import pytest
import torch

from rlhf_mini.chapters.direct import toy, toy_data, toy_figures
from rlhf_mini.chapters.direct.toy import ToyWorld
from rlhf_mini.chapters.toy_language import TEXTS, leads
from rlhf_mini.exact import kl_divergence
from rlhf_mini.losses import dpo_loss

SEEDS = pytest.mark.parametrize("seed", [0, 1, 2])
LOOKS = (0, 30, 300, 600)


@cache
def exact_dpo(seed):
    return toy.exact_dpo(seed=seed, kl_weight=0.5, looks=(0, 100, 300))


@cache
def off_policy(seed):
    return toy_data.off_policy(seed=seed)


@cache
def deterministic(seed):
    return toy_data.deterministic(seed=seed, looks=LOOKS)


@cache
def finite(seed):
    small = {"counts": (100, 10_000), "kl_weights": (0.03, 1.0), "steps": (20, 1000), "languages": 12}
    return toy_data.finite(seed=seed, **small)


@cache
def sources(seed):
    return toy_data.sources(seed=seed, languages=12, steps=150)


# ------------------------------------------------------------------------------------------------ the world


def test_chances_are_those_of_bradley_and_terry():
    world = ToyWorld(3)
    r = world.rewards.tolist()
    for i, j in ((0, 1), (5, 2), (84, 83)):
        assert float(world.chances[i, j]) == pytest.approx(1 / (1 + math.exp(r[j] - r[i])))
    torch.testing.assert_close(world.chances + world.chances.T, torch.ones(TEXTS, TEXTS).double())


def test_the_weights_of_pairs_by_hand():
    # Two texts, ¾ and ¼, the first preferred with chance 0.9. Of all pairs 9/16 + 1/16 hold one text twice;
    # the others, 2 · 3/16, go to the first with chance 0.9.
    weights = toy.pair_weights(torch.tensor([0.75, 0.25]).log(), torch.tensor([[0.5, 0.9], [0.1, 0.5]]))
    expected = torch.tensor([[9 / 16, 6 / 16 * 0.9], [6 / 16 * 0.1, 1 / 16]])
    torch.testing.assert_close(weights, expected)
    assert float(weights.sum()) == pytest.approx(1)


def test_the_expected_loss_puts_the_chosen_first():
    weights = torch.tensor([[0.0, 0.7], [0.3, 0.0]])
    found = toy.expected_loss(
        lambda chosen, rejected: 2 * chosen - rejected, torch.tensor([5.0, 1.0]), weights
    )
    assert float(found) == pytest.approx(0.7 * (10 - 1) + 0.3 * (2 - 5))


def test_drawn_pairs_are_as_frequent_as_their_weights():
    """100,000 pairs: four standard deviations of a share near 0.05 are below 0.003."""
    world, count = ToyWorld(0), 100_000
    generator = torch.Generator().manual_seed(0)
    drawn = toy.drawn_pairs(world.logp_ref, world.chances, count, generator=generator) / count
    expected = toy.pair_weights(world.logp_ref, world.chances).fill_diagonal_(0.0)
    assert float((drawn - expected).abs().max()) < 0.003
    assert float(drawn.diagonal().abs().max()) == 0
    # and as often for the better text: the lead in reward of chosen over rejected, to 0.02
    lead = leads(world.rewards)
    assert float((drawn * lead).sum()) == pytest.approx(float((expected * lead).sum()), abs=0.02)


def test_a_reward_of_most_likelihood_needs_a_way_back():
    ring = torch.zeros(TEXTS, TEXTS)
    for i in range(TEXTS):
        ring[i, (i + 1) % TEXTS] = 1
    assert toy.every_text_beats_every_other(ring)
    ring[TEXTS - 1, 0] = 0  # the first never loses
    assert not toy.every_text_beats_every_other(ring)


# ------------------------------------------------------------------------------------------- the derivation


@SEEDS
@pytest.mark.parametrize("kl_weight", [0.1, 1.0])
def test_every_step_of_the_derivation_holds(seed, kl_weight):
    found = toy.derivation(seed=seed, kl_weight=kl_weight)
    for step in ("reward", "lead", "chance", "objective"):
        assert found[step] < 1e-12, step
    assert found["without_log_z"] == pytest.approx(abs(found["value"]), abs=1e-12)
    assert min(found["shortfalls"]) > 0.1


def test_the_value_of_the_optimum_by_plain_sums():
    world, beta = ToyWorld(1), 0.5
    z = sum(
        math.exp(lp + r / beta) for lp, r in zip(world.logp_ref.tolist(), world.rewards.tolist(), strict=True)
    )
    found = toy.derivation(seed=1, kl_weight=beta)
    assert found["value"] == pytest.approx(beta * math.log(z), rel=1e-12)


@SEEDS
def test_the_gradient_is_the_one_written_out(seed):
    found = toy.gradient_check(seed=seed, kl_weight=0.5)
    assert found["gap"] < 1e-14
    assert found["size"] > 0.01
    assert found["without_weight"] > 0.01


# ---------------------------------------------------------------------------------------- exact preferences


@SEEDS
def test_dpo_lands_on_the_optimum(seed):
    found = exact_dpo(seed)
    assert abs(found["landed"]) < 1e-11
    assert found["error"] < 1e-4
    assert found["loss"] == pytest.approx(found["loss_of_best"], abs=1e-11)
    assert found["loss_at_start"] == pytest.approx(math.log(2), abs=1e-12)
    assert found["of_half_weight"] > 0.1
    start, middle, end = found["to_optimum"]
    assert start == pytest.approx(float(kl_divergence(ToyWorld(seed).logp_ref, ToyWorld(seed).best(0.5))))
    assert start > 10 * middle > 10 * end
    assert end < 1e-3


@SEEDS
def test_a_reward_model_and_its_optimum_are_dpo(seed):
    found = toy.two_steps(seed=seed, kl_weight=0.3, steps=50)
    assert found["exists"]
    assert found["gap"] < 1e-5
    assert found["gap_on_the_way"] < 1e-11
    assert found["to_optimum"] > 0.01  # it is not π*: 4,000 labels are not all there is to know


# --------------------------------------------------------------------------------------------- displacement


@SEEDS
def test_chosen_and_rejected_add_up_to_the_kl(seed):
    found = toy.displacement(seed=seed, kl_weights=(0.1, 0.5, 1.0, 5.0))
    assert found["identity"] < 1e-12
    rows = zip(found["chosen"], found["rejected"], found["lead"], found["kl_ref"], strict=True)
    for chosen, rejected, lead, kl_ref in rows:
        assert chosen == pytest.approx(lead / 2 - kl_ref, abs=1e-12)
        assert rejected < chosen
        assert (chosen < 0) == (kl_ref > lead / 2)


@SEEDS
def test_below_the_crossing_even_the_optimum_lowers_the_chosen(seed):
    crossing = toy.displacement(seed=seed, kl_weights=(1.0,))["crossing"]
    found = toy.displacement(
        seed=seed, kl_weights=(crossing / 2, crossing * 0.999, crossing * 1.001, crossing * 2)
    )
    far_below, below, above, far_above = found["chosen"]
    assert far_below < below < 0 < above < far_above
    assert all(rejected < 0 for rejected in found["rejected"])
    # there, β log Z is the mean reward of the chosen
    assert found["value"][1] > found["chosen_reward"] > found["value"][2]
    assert found["both_fall"][0] > found["both_fall"][3]
    assert found["chosen_reward"] > found["mean_reward"]


def test_a_text_rises_if_its_reward_is_above_the_value():
    world, found = ToyWorld(0), toy.displacement(seed=0, kl_weights=(0.5,))
    rises = world.best(0.5) > world.logp_ref
    assert torch.equal(rises, world.rewards > found["value"][0])


# ----------------------------------------------------------------------------------------------- few labels


def test_one_fit_serves_every_weight():
    """DPO by autograd, at another β and its rate, takes the same way as the fit of rewards."""
    world, kl_weight, steps = ToyWorld(4), 0.2, 40
    pairs = (
        toy.drawn_pairs(world.logp_ref, world.chances, 300, generator=torch.Generator().manual_seed(0)) / 300
    )
    (fit,) = toy_data.fitted_rewards(pairs[None], looks=[steps])
    logits = world.logp_ref.clone().requires_grad_()
    for _ in range(steps):
        ratios = logits.log_softmax(0) - world.logp_ref
        loss = toy.expected_loss(partial(dpo_loss, kl_weight=kl_weight), ratios, pairs)
        (slope,) = torch.autograd.grad(loss, [logits])
        logits = (logits - toy_data.RATE / kl_weight**2 * slope).detach().requires_grad_()
    found = toy.tilted(world.logp_ref, fit[0], kl_weight)
    torch.testing.assert_close(logits.log_softmax(0).detach(), found, rtol=0, atol=1e-10)


def test_fits_do_not_depend_on_what_else_is_fitted():
    weights = torch.rand(
        toy_data.AT_ONCE + 2, TEXTS, TEXTS, generator=torch.Generator().manual_seed(0)
    ).double()
    weights = weights / weights.sum((1, 2), keepdim=True)
    together = toy_data.fitted_rewards(weights, looks=(0, 3))
    assert together.shape == (2, toy_data.AT_ONCE + 2, TEXTS)
    torch.testing.assert_close(together[:, -1:], toy_data.fitted_rewards(weights[-1:], looks=(0, 3)))
    assert float(together[0].abs().max()) == 0 < float(together[1].abs().max())


@SEEDS
def test_few_labels_promise_what_they_do_not_keep(seed):
    found = finite(seed)
    long = found["steps"].index(1000)
    short = [
        [p - g for p, g in zip(*rows, strict=True)]
        for rows in zip(found["promised"][long], found["gained"][long], strict=True)
    ]
    (few_small, few_large), (many_small, many_large) = short
    assert few_small > 3  # standard normal rewards: three standard deviations
    assert few_small > few_large > many_large
    assert few_small > 5 * many_small
    for few, many in zip(*found["regret"][long], strict=True):
        assert few > 2.5 * many


@SEEDS
def test_a_smaller_weight_pays_with_many_labels_only(seed):
    found = finite(seed)
    few, many = (row[0] - row[1] for row in found["gold"][found["steps"].index(1000)])
    assert many > 0.8
    assert few < many - 0.5
    few_kl, _ = found["kl"][found["steps"].index(1000)]
    assert few_kl[0] > few_kl[1] + 0.5  # although it goes further


@SEEDS
def test_tables_of_few_labels_are_whole(seed):
    found = finite(seed)
    assert found["exists"][0] == 0.0
    assert found["unseen"][0] > 0.05 > 0.001 > found["unseen"][1]
    assert found["best_gold"][0] > found["best_gold"][1] > found["reference_gold"]
    for name in ("gold", "kl", "promised", "gained", "regret", "less_than_best", "less_than_best_error"):
        assert torch.tensor(found[name]).shape == (2, 2, 2)
    gained = torch.tensor(found["gold"]) - found["reference_gold"]
    torch.testing.assert_close(torch.tensor(found["gained"]), gained, atol=1e-6, rtol=0)
    assert torch.tensor(found["less_than_best"]).amax(2).abs().max() == 0
    assert (torch.tensor(found["less_than_best"]) <= 0).all()


# ------------------------------------------------------------------------------------- texts never compared


@SEEDS
def test_what_is_never_compared_moves_with_no_reason(seed):
    found = off_policy(seed)
    assert abs(found["indifference"]) < 1e-12
    assert max(map(abs, found["shown_gap"].values())) < 1e-8
    low, high = found["hidden_shift"]["text"]
    assert low == pytest.approx(high, abs=1e-9)
    assert low == pytest.approx(found["predicted_shift"], abs=1e-4)
    low, high = found["hidden_shift"]["token"]
    assert high - low > 1  # shared beginnings take them along, each its own way


@SEEDS
def test_what_is_never_compared_is_given_up(seed):
    found = off_policy(seed)
    for name in ("text", "token"):
        assert found["hidden_mass"][name] < 0.75 * found["hidden_mass"]["reference"]
        assert found["to_best"][name] > 0.1  # 0 if all texts are compared: `test_dpo_lands_on_the_optimum`
    assert abs(found["to_best"]["best"]) < 1e-12


def test_a_third_is_hidden():
    hidden = toy_data.hidden_texts(0)
    assert int(hidden.sum()) == 28
    assert not torch.equal(hidden, toy_data.hidden_texts(1))


def test_hidden_mass_by_hand():
    hidden = torch.tensor([True, False, False])
    found = toy_data.with_hidden_mass(torch.tensor([0.5, 0.3, 0.2]).log(), hidden, 0.1)
    torch.testing.assert_close(found.exp(), torch.tensor([0.1, 0.54, 0.36]))


@SEEDS
def test_whose_texts_are_compared_counts(seed):
    found = sources(seed)
    assert found["mixed"]["to_best"] < 0.3 * found["reference"]["to_best"]
    assert found["reference"]["to_best"] < found["best"]["to_best"]
    assert abs(found["optimum"]["to_best"]) < 1e-12
    assert found["mixed"]["gold"] > max(
        found[name]["gold"] for name in ("reference", "part", "other", "best")
    )


# ------------------------------------------------------------------------------------- labels without noise


@SEEDS
def test_dpo_runs_away_where_labels_never_err(seed):
    found = deterministic(seed)
    for name in ("dpo 0.1", "dpo 1"):
        start, early, later, end = found["worst"][name]
        assert abs(start) < 1e-12
        assert 0 > early > later > end
        assert end < later - 3
        assert found["kl_ref"][name][-1] > 1.5 * found["kl_ref"][name][-2]
        assert found["kl"][name][-1] > found["kl"][name][-2] > found["kl"][name][-3]
        assert found["kl"][name][-1] < found["most_kl"]
    assert found["worst"]["dpo 0.1"][-1] < found["worst"]["dpo 1"][-1]


@SEEDS
def test_ipo_stays_at_its_minimum(seed):
    found = deterministic(seed)
    for tau in (0.1, 1.0):
        name = f"ipo {tau:g}"
        assert found["ipo_gap"][f"{tau:g}"] < 1e-4
        assert found["range"][name][-1] == pytest.approx(found["range"][name][-2], rel=0.02)
        # The best text is preferred to every draw but itself, P = 1 − ½ π_ref(best), the worst to none but
        # itself, P = ½ π_ref(worst); log-ratios differ by (P − P′)/τ.
        world = ToyWorld(seed)
        ends = world.logp_ref.exp()[[int(world.rewards.argmax()), int(world.rewards.argmin())]]
        widest = (1 - float(ends.sum()) / 2) / tau
        assert found["range"][name][-1] == pytest.approx(widest, rel=1e-3)
        assert widest < 1 / tau
        assert found["kl"][name][-1] == pytest.approx(found["kl"][name][-2], rel=0.02)


def test_labels_without_noise_are_about_the_true_reward():
    found = deterministic(0)
    assert found["gold"]["dpo 0.1"][-1] > found["gold"]["ipo 1"][-1] > found["gold"]["ipo 1"][0]
    assert found["gold"]["dpo 0.1"][-1] < found["best_gold"]


# -------------------------------------------------------------------------------------------------- figures


def test_everything_is_json():
    found = [exact_dpo(0), off_policy(0), deterministic(0), finite(0), sources(0)]
    found += [toy.displacement(seed=0, kl_weights=(1.0,)), toy.derivation(seed=0, kl_weight=1.0)]
    for one in found:
        assert json.loads(json.dumps(one, allow_nan=False)) == one


def test_figures_say_what_they_show():
    by_seed = {0.5: [exact_dpo(0), exact_dpo(1)]}
    landing = toy_figures.landing_figure(by_seed)
    assert "half of β = 0.5" in landing.text
    few = [finite(0), finite(1)]
    gold, short = toy_figures.finite_figure(few, kl_weights=(0.03, 1.0)).text.split("\n")
    assert f"β = 0.03 from {sum(one['gold'][1][0][0] for one in few) / 2:.2f} to" in gold
    missing = sum(one["promised"][1][0][0] - one["gained"][1][0][0] for one in few) / 2
    assert f"β = 0.03 from {missing:.2f} to" in short
    assert "1,000 steps from" in toy_figures.stopping_figure(few).text
    never = toy_figures.deterministic_figure([deterministic(0), deterministic(1)])
    assert "IPO τ = 0.1 from" in never.text
    moved = toy_figures.displacement_figure(
        [toy.displacement(seed=s, kl_weights=(0.5, 1.0, 2.0)) for s in (0, 1)]
    )
    crossing = sum(toy.displacement(seed=s, kl_weights=(1.0,))["crossing"] for s in (0, 1)) / 2
    assert f"below β = {crossing:.2f}" in moved.text
    with pytest.raises(ValueError, match="at most 5"):
        toy_figures.landing_figure({float(weight): by_seed[0.5] for weight in range(1, 7)})
