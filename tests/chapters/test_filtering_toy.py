"""Chapter 09 on the toy language: what filtering does to a distribution; what few samples add."""

import math
import re

import pytest
import torch

from rlhf_mini.chapters.filtering import diagram, landing, toy, toy_figures
from rlhf_mini.exact import expectation, filtered_optimum, kl_divergence, kl_optimum
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import flow_diagram

SEEDS = (0, 1, 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_identities_hold(seed):
    found = toy.identities(seed=seed)
    assert max(number for name, number in found.items() if name != "capped") < 1e-12
    assert found["capped"] > 0.05


def test_a_threshold_keeps_at_least_its_share_and_the_next_one_less():
    world = toy.ToyWorld(0)
    for share in (0.1, 0.3, 0.5, 0.9, 1.0):
        cut = toy.threshold_keeping(world.logp, world.rewards, share)
        kept = float(world.logp.exp()[world.rewards > cut].sum())
        above = world.rewards[world.rewards > cut].min()
        fewer = float(world.logp.exp()[world.rewards > above].sum())
        assert fewer < share - 1e-12 <= kept
    for share in (0.0, 1.1):
        with pytest.raises(ValueError, match="share must be above 0"):
            toy.threshold_keeping(world.logp, world.rewards, share)


def test_a_threshold_by_hand():
    """0.2 of reward 3 and 0.3 of reward 2 are half: the threshold is the next reward, 1."""
    logp, rewards = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64).log(), torch.tensor([1.0, 2.0, 3.0])
    assert toy.threshold_keeping(logp, rewards, 0.5) == 1.0
    assert toy.threshold_keeping(logp, rewards, 0.2) == 2.0
    assert toy.threshold_keeping(logp, rewards, 0.9) == -math.inf


@pytest.mark.parametrize("seed", SEEDS)
def test_the_tilt_is_found_at_any_divergence(seed):
    world = toy.ToyWorld(seed)
    for kl in (0.1, 0.5, 1.5):
        logp = toy.tilted_to(world, kl)
        assert float(kl_divergence(logp, world.logp)) == pytest.approx(kl, abs=1e-9)
    best = kl_optimum(world.logp, world.rewards, kl_weight=0.7).logp
    again = toy.tilted_to(world, float(kl_divergence(best, world.logp)))
    torch.testing.assert_close(again.exp(), best.exp(), rtol=0, atol=1e-8)
    with pytest.raises(ValueError, match="kl must lie between"):
        toy.tilted_to(world, 99.0)


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_has_more_reward_than_the_tilt_at_its_kl(seed):
    found = toy.frontier(seed=seed)
    for name in ("filtered", "best of n"):
        assert min(found[name]["missed"]) > -1e-9
    for name, numbers in found.items():
        assert numbers["kl"] == sorted(numbers["kl"]), name
        assert numbers["reward"] == sorted(numbers["reward"]), name
    assert found["best of n"]["kl"][0] == pytest.approx(0.0, abs=1e-12)
    shares = [math.exp(-kl) for kl in found["filtered"]["kl"]]
    assert all(kept >= share - 1e-9 for kept, share in zip(shares, toy.SHARES, strict=True))


@pytest.mark.parametrize("seed", SEEDS)
def test_grow_after_grow(seed):
    found, world = toy.repeated(seed=seed), toy.ToyWorld(seed)
    assert all(kept >= 0.5 for kept in found["kept"])
    # several Grows are one filter, at the share that all of them keep together
    assert found["ReST"]["kl"] == pytest.approx([-math.log(share) for share in found["all_kept"]], abs=1e-9)
    cut = toy.threshold_keeping(world.logp, world.rewards, found["all_kept"][-1])
    once = filtered_optimum(world.logp, world.rewards, threshold=cut).logp
    assert found["ReST"]["reward"][-1] == pytest.approx(float(expectation(once, world.rewards)), abs=1e-9)
    for name in ("ReST", "RAFT"):
        assert found[name]["reward"] == sorted(found[name]["reward"])
        if seed == 0:  # where good texts are rare ones, entropy may rise at first
            assert found[name]["entropy"][-1] < found[name]["entropy"][0] - 0.3


# --------------------------------------------------------------------------------- finitely many samples


@pytest.mark.parametrize("seed", SEEDS)
def test_variety_drains_as_the_law_says(seed):
    """Per round a share of 1 − 1/k is left. Of 2,000 runs the mean's standard error stays below 0.004."""
    found = toy.drift(seed=seed, samples=40, rounds=10)
    differences = [abs(a - b) for a, b in zip(found["differ random"], found["promised"], strict=True)]
    assert max(differences) < 0.016
    assert found["promised"][-1] == pytest.approx(found["promised"][0] * (39 / 40) ** 10)
    assert found["texts random"] == sorted(found["texts random"], reverse=True)


def test_what_counts_is_how_many_are_kept():
    half, all_of_half = (
        toy.drift(seed=0, samples=samples, rounds=6, share=share) for samples, share in ((80, 0.5), (40, 1.0))
    )
    assert half["promised"] == all_of_half["promised"]
    assert half["differ random"][-1] == pytest.approx(all_of_half["differ random"][-1], abs=0.02)
    assert half["differ best"][-1] < half["differ random"][-1] - 0.2
    # a share of 1 keeps everything, the best and the rest
    assert all_of_half["differ best"][-1] == pytest.approx(all_of_half["differ random"][-1], abs=0.03)


def test_one_kept_text_is_the_end_of_variety():
    found = toy.drift(seed=0, samples=4, rounds=1, share=0.25, repeats=5)
    assert found["differ random"][1] == found["differ best"][1] == 0.0
    assert found["texts best"][1] == 1.0


# --------------------------------------------------------------------------------- known optimum


class Fresh(Pipeline):
    """Of a pipeline its seed, and nothing is kept."""

    def __init__(self):
        self.seed = 0

    def measured(self, experiment, **settings):
        return experiment(self, **settings)


@pytest.mark.slow  # 1,000 steps of a small Llama: some seconds
def test_an_improve_lands_on_the_filter():
    found = landing.landing(Fresh())
    assert found["end"] < 0.001 < 0.02 < found["per_token"] < found["start"]


# --------------------------------------------------------------------------------- figures


def test_the_slider_shows_each_filter_with_its_price():
    """A filter costs −log of what it keeps; one that keeps everything costs nothing and changes nothing."""
    shown = toy_figures.filter_frames(seed=0)
    told = re.findall(
        r"(\d+)% kept\).*?mean reward (\S+); each kept text (\S+) times as likely; KL (\S+) nats", shown.text
    )
    assert len(told) == len(toy_figures.SHARES)
    percent, mean, times, price = (list(map(float, row)) for row in zip(*told, strict=True))
    assert (percent[0], times[0], price[0]) == (100, 1.0, 0.0)
    assert mean == sorted(mean)
    assert percent == sorted(percent, reverse=True)
    for factor, nats in zip(times, price, strict=True):
        assert nats == pytest.approx(math.log(factor), abs=0.05)
    assert shown.body.count('class="rm-frame"') == len(told)


def test_the_figures_say_what_they_show():
    worlds = [toy.frontier(seed=seed) for seed in (0, 1)]
    shown = toy_figures.frontier_figure(worlds)
    assert "best of n" in shown.body
    grown = [toy.repeated(seed=seed) for seed in (0, 1)]
    assert "RAFT" in toy_figures.rounds_figure(grown).body
    drained = [toy.drift(seed=seed, samples=40, rounds=4, repeats=20) for seed in (0, 1)]
    end = sum(found["promised"][-1] for found in drained) / 2
    assert f"{end:.2f}" in toy_figures.drift_figure(drained).body


def test_the_diagram_by_hand():
    """Rewards 1.5, 0.7 and −0.5 on a scale from −1 to 2; the kept answer's tokens have 0.4, 0.6 and 0.5."""
    found = diagram.numbers()
    assert found["scaled"].tolist() == pytest.approx([2.5 / 3, 1.7 / 3, 0.5 / 3])
    assert found["kept"].tolist() == [1.0, 1.0, 0.0]
    assert float(found["losses"].sum()) == pytest.approx(-math.log(0.4 * 0.6 * 0.5), abs=1e-6)
    flow = diagram.rest_example()
    assert "sum 2.12" in next(box.detail for box in flow.boxes if box.key == "loss")
    assert [box.key for box in flow.boxes if box.frozen] == ["reward"]
    assert flow_diagram(flow, alt="ReST on three tokens, drawn for a test of its numbers.").body
