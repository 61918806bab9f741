"""Chapter 10's toy language: faults and cures, labels and ratings, each against a plain sum or a draw."""

import math

import pytest
import torch

from rlhf_mini.chapters.rlaif import toy, toy_figures, toy_labels, toy_ratings
from rlhf_mini.exact import kl_divergence
from rlhf_mini.pipeline import Pipeline

SEEDS = [Pipeline("quick", seed=seed) for seed in range(2)]
WORLD = toy.World(0)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


# ------------------------------------------------------------------------------------------ world and fit


def test_pairs_are_two_draws_that_differ():
    assert float(WORLD.pairs.sum()) == pytest.approx(1.0)
    assert float(WORLD.pairs.diagonal().abs().max()) == 0
    p = WORLD.logp_ref.exp()
    assert float(WORLD.pairs[3, 8] / WORLD.pairs[5, 2]) == pytest.approx(float(p[3] * p[8] / (p[5] * p[2])))
    assert toy.LENGTHS.tolist() == sorted(toy.LENGTHS.tolist())  # listed: the shorter text first


@pytest.mark.parametrize("nats", [0.1, 1.0, 2.0])
def test_a_tilt_of_a_given_kl(nats):
    logp = toy.at_kl(WORLD.logp_ref, WORLD.rewards, nats=nats)
    assert float(kl_divergence(logp, WORLD.logp_ref)) == pytest.approx(nats, abs=1e-9)
    ratio = logp - WORLD.logp_ref  # r/β − log Z: linear in r
    slope = (ratio[1] - ratio[0]) / (WORLD.rewards[1] - WORLD.rewards[0])
    torch.testing.assert_close(ratio - ratio[0], slope * (WORLD.rewards - WORLD.rewards[0]))
    assert slope > 0


def test_a_tilt_goes_no_further_than_to_the_best():
    best = int(WORLD.rewards.argmax())
    logp = toy.at_kl(WORLD.logp_ref, WORLD.rewards, nats=50.0)
    assert float(logp[best].exp()) == pytest.approx(1.0)
    assert float(kl_divergence(logp, WORLD.logp_ref)) == pytest.approx(-float(WORLD.logp_ref[best]))


def test_a_fit_has_no_slope_left_and_a_shift_is_none():
    labels = torch.rand(toy.TEXTS, toy.TEXTS, generator=torch.Generator().manual_seed(0)).double()
    labels = 0.1 + 0.8 * labels
    learned = toy.fitted(WORLD, labels).requires_grad_()
    (slope,) = torch.autograd.grad(toy.expected_loss(learned, labels, WORLD.pairs), [learned])
    assert float(slope.abs().max()) < 1e-10
    assert abs(float(learned.detach().mean())) < 1e-10


def test_two_texts_fit_the_log_odds_of_their_mean_label():
    first, second = torch.tensor([4, 4, 7]), torch.tensor([7, 7, 4])
    labels = torch.tensor([0.9, 0.6, 0.3]).double()  # of 4 over 7: 0.9, 0.6 and 0.7
    learned = toy.fitted_to(first, second, labels, weights=torch.full((3,), 1 / 3).double(), ridge=1e-9)
    odds = math.log((2.2 / 3) / (0.8 / 3))
    assert float(learned[4] - learned[7]) == pytest.approx(odds, abs=1e-5)


# ---------------------------------------------------------------------------------------- faults and cures


def test_what_the_judge_says_and_the_labels_by_hand():
    i, j = 2, 40
    d = float(WORLD.rewards[i] - WORLD.rewards[j])
    first = toy.says_first(WORLD, "place")
    given, swapped = sigmoid(d + toy.PLACE), sigmoid(-d + toy.PLACE)
    assert float(first[i, j]) == pytest.approx(given)
    assert float(toy.labels_of(first, "listed")[i, j]) == pytest.approx(given)
    assert float(toy.labels_of(first, "listed")[j, i]) == pytest.approx(1 - given)
    assert float(toy.labels_of(first, "both")[i, j]) == pytest.approx((given + 1 - swapped) / 2)
    assert float(toy.labels_of(first, "logits")[i, j]) == pytest.approx(sigmoid(d))
    distracted = toy.says_first(WORLD, "distraction")
    assert float(distracted[i, j]) == pytest.approx(0.5 + 0.5 * sigmoid(d))
    both = toy.labels_of(distracted, "both")[i, j]
    assert float(both) == pytest.approx(0.5 + (1 - toy.DISTRACTION) * (sigmoid(d) - 0.5))
    length = float(toy.LENGTHS[i] - toy.LENGTHS[j])
    assert float(toy.says_first(WORLD, "length")[i, j]) == pytest.approx(sigmoid(d + toy.TASTE * length))


@pytest.mark.parametrize("fault", toy.FAULTS)
@pytest.mark.parametrize("cure", toy.CURES)
def test_labels_of_a_pair_and_of_the_pair_turned_round_add_up_to_one(fault, cure):
    labels = toy.labels_of(toy.says_first(WORLD, fault), cure)
    off = (labels + labels.T - 1).fill_diagonal_(0.0)
    assert float(off.abs().max()) < 1e-12


@pytest.mark.parametrize("pipeline", SEEDS, ids=lambda one: str(one.seed))
def test_what_each_cure_cures(pipeline):
    found = toy.cures(pipeline)
    # a favourite place: logits cure it, probabilities leave the right side and too little of it
    assert abs(found["distance place logits"]) < 1e-8
    assert found["strength place logits"] == pytest.approx(1.0, abs=1e-8)
    assert found["wrong place both"] == found["wrong distraction both"] == 0
    assert found["wrong place listed"] > 0.1
    assert found["strength place both"] < 0.8
    assert found["distance place both"] < found["distance place listed"]
    # the list has the shorter texts first: a taste for the first place becomes one for short texts
    assert found["length place listed"] < -0.3
    assert abs(found["length place both"]) < 0.2
    # distraction is no constant in logits: neither mean is right, and both are too timid
    assert found["distance distraction logits"] > 1e-3
    assert found["strength distraction both"] < found["strength distraction logits"] < 0.8
    # a taste for length is the same in both orders: nothing cures it
    for cure in toy.CURES:
        assert found[f"length length {cure}"] == pytest.approx(toy.TASTE, abs=1e-6)
        assert found[f"strength length {cure}"] == pytest.approx(1.0, abs=1e-6)
    for fault in toy.FAULTS:
        for cure in toy.CURES:
            assert found[f"value {fault} {cure}"] <= found["value best"] + 1e-9


def test_a_favourite_place_of_growing_size_by_loops():
    found = toy.by_bias(SEEDS[0])
    place = found["bias"].index(1.5)
    weights, rewards = WORLD.pairs.tolist(), WORLD.rewards.tolist()
    wrong = same = noise = 0.0
    for i in range(toy.TEXTS):
        for j in range(toy.TEXTS):
            d = rewards[i] - rewards[j]
            given, turned = sigmoid(d + 1.5), sigmoid(d - 1.5)
            wrong += weights[i][j] * (((given > 0.5) != (d > 0)) + ((turned > 0.5) != (d > 0))) / 2
            same += weights[i][j] * ((given > 0.5) == (1 - turned > 0.5))
            noise += weights[i][j] * ((given - turned) / 2) ** 2
    assert found["wrong one"][place] == pytest.approx(wrong)
    assert found["same place"][place] == pytest.approx(same)
    assert found["noise"][place] == pytest.approx(noise)
    # whoever names one place in both orders is wrong in one of them, and only he
    assert found["wrong one"] == pytest.approx([share / 2 for share in found["same place"]])
    assert found["wrong both"] == [0.0] * len(toy.BIASES)
    assert found["label logits"] == pytest.approx([sigmoid(2)] * len(toy.BIASES))
    assert found["label both"][0] == pytest.approx(sigmoid(2))
    assert found["label both"] == sorted(found["label both"], reverse=True)


# ------------------------------------------------------------------------------------ soft and hard labels


@pytest.mark.parametrize("pipeline", SEEDS, ids=lambda one: str(one.seed))
def test_calibrated_labels_give_the_reward_back_and_sure_ones_a_smaller_beta(pipeline):
    found = toy_labels.calibrated(pipeline)
    assert found["error soft"] < 1e-8
    assert found["error sure"] < 1e-6
    assert found["distance sure"] == pytest.approx(found["distance β/4"], abs=1e-6)
    assert found["distance sure"] > 0.1
    early, late = (found[f"lead likelier {steps}"] for steps in toy_labels.STEPS)
    assert late > 1.3 * early > found["lead clamped"]
    assert found["loss likelier 1000"] < found["loss likelier 100"]
    assert found["value clamped"] <= found["value best"] + 1e-9


def test_the_normal_rule_integrates_what_has_a_closed_form():
    nodes, shares = toy_labels._normal_rule()
    assert float(shares.sum()) == pytest.approx(1.0)
    assert float(shares @ nodes**4) == pytest.approx(3.0)  # the fourth moment of a standard normal
    assert float(shares @ (0.7 * nodes).exp()) == pytest.approx(math.exp(0.245))


def test_variances_by_drawing():
    """A mean over a million drawn labels of one pair is within 0.002 with a chance of error below 1e-4."""
    found = toy_labels.variance(SEEDS[0])
    assert found["gap"] < 1e-12
    assert found["drawn"] == pytest.approx(found["soft"] + found["draw"])
    assert found["worth"] == pytest.approx(found["drawn"] / found["soft"])
    assert found["worth"] > 2
    draw = torch.Generator().manual_seed(0)
    pair = torch.multinomial(WORLD.pairs.flatten(), 1_000_000, replacement=True, generator=draw)
    ahead = WORLD.rewards[pair // toy.TEXTS] - WORLD.rewards[pair % toy.TEXTS]
    noise = toy_labels.NOISE * torch.randn(2, len(pair), generator=draw, dtype=torch.float64)
    once, again = (ahead + noise).sigmoid()
    # two looks at a pair: half the mean square of their difference is the variance about the pair's mean
    assert float((once - again).square().mean() / 2) == pytest.approx(found["soft"], abs=2e-3)
    assert float((once * (1 - once)).mean()) == pytest.approx(found["draw"], abs=2e-3)


def test_few_labels_are_worth_more_if_they_are_soft(monkeypatch):
    monkeypatch.setattr(toy_labels, "COUNTS", (500, 4000))
    monkeypatch.setattr(toy_labels, "WORLDS", 3)
    found = toy_labels.few(SEEDS[0])
    for count in toy_labels.COUNTS:
        assert found[f"distance soft {count}"] < found[f"distance drawn {count}"]
    for kind in ("soft", "drawn", "people"):
        assert found[f"distance {kind} 4000"] < found[f"distance {kind} 500"]


# ------------------------------------------------------------------------------------------------- ratings


def test_ratings_are_distributions_and_rise_with_the_reward():
    rewards = torch.tensor([-2.0, 0.0, 1.0, 30.0, -30.0]).double()
    chances = toy_ratings.rating_chances(rewards)
    torch.testing.assert_close(chances.sum(1), torch.ones(5).double())
    assert float(chances.min()) >= 0
    steps = toy_ratings.STEPS_BETWEEN
    assert float(chances[2, 0]) == pytest.approx(sigmoid(steps[0] - 1.5))
    assert float(chances[2, 2]) == pytest.approx(sigmoid(steps[2] - 1.5) - sigmoid(steps[1] - 1.5))
    means = toy_ratings.expected(chances)
    assert means[[4, 0, 1, 2, 3]].tolist() == sorted(means.tolist())
    assert (float(means[3]), float(means[4])) == (pytest.approx(1.0), pytest.approx(-1.0))
    assert set(toy_ratings.likeliest(chances).tolist()) <= {-1.0, -0.5, 0.0, 0.5, 1.0}


@pytest.mark.parametrize("pipeline", SEEDS, ids=lambda one: str(one.seed))
def test_the_mean_rating_is_nearly_as_good_as_the_truth_and_better_than_whole_ones(pipeline):
    found = toy_ratings.direct(pipeline)
    near, far = f"{toy.NATS:g}", f"{toy_ratings.FAR:g}"
    for nats in (near, far):
        best, mean, whole = (found[f"value {way} {nats}"] for way in ("best", "expected", "likeliest"))
        assert best > mean > whole > found["value reference"]
    assert found["farthest likeliest"] > toy.NATS
    assert 2 <= found["levels likeliest"] <= 5
    assert 0 < found["tied"] < 1
    assert found["objective gap"] > 0


def test_few_verdicts_are_worse_than_the_rating(monkeypatch):
    monkeypatch.setattr(toy_ratings, "COUNTS", (250, 16_000))
    monkeypatch.setattr(toy_ratings, "WORLDS", 3)
    found = toy_ratings.distilled(SEEDS[0])
    far = f"{toy_ratings.FAR:g}"
    assert found[f"value 250 {far}"] < found[f"value 16000 {far}"] < found[f"value best {far}"]
    assert found[f"value 250 {far}"] < found[f"value expected {far}"]


# ------------------------------------------------------------------------------------------------- figures


def test_figures_say_what_they_show():
    found = [toy.by_bias(pipeline) for pipeline in SEEDS]
    wrong, label = toy_figures.place_figure(found).text.split("\n")
    mean = sum(one["wrong one"][-1] for one in found) / 2
    assert f"rise to {mean:.0%} at 4 logits" in wrong
    assert f"falls to {(sigmoid(6) + sigmoid(-2)) / 2:.2f}" in label
    few = {
        f"distance {kind} {count}": 10 / count
        for kind in toy_figures.LABEL_KINDS
        for count in toy_labels.COUNTS
    }
    assert f"With {toy_labels.COUNTS[-1]:,} of them: soft 0.001" in toy_figures.few_figure([few, few]).text


def test_the_frames_show_where_each_order_is_in_doubt(monkeypatch):
    """As given the label is ½ at a lead of −b, exchanged at b, the favour; the mean logit is the truth."""
    drawn, usual = [], toy_figures.training_curves

    def draw(curves, **how):
        drawn.append({curve.label: dict(zip(curve.x, curve.y, strict=True)) for curve in curves})
        return usual(curves, **how)

    monkeypatch.setattr(toy_figures, "training_curves", draw)
    shown = toy_figures.order_frames()
    assert shown.text.count("[figure]") == len(drawn) == len(toy_figures.FAVOURS)
    for favour, labels in zip(toy_figures.FAVOURS, drawn, strict=True):
        assert labels["as given"][-favour] == pytest.approx(0.5)
        assert labels["exchanged"][favour] == pytest.approx(0.5)
        assert labels["mean of p"][0.0] == pytest.approx(0.5)
        assert labels["mean logit"][2.0] == pytest.approx(1 / (1 + math.exp(-2)), abs=1e-5)
        assert labels["mean of p"][2.0] <= labels["mean logit"][2.0] + 1e-6
