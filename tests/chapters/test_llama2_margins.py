"""Chapter 06: what margins do, exactly counted, and how deep a valley is."""

import math
import random

import pytest
import torch

from rlhf_mini.chapters.llama2 import bug_hunt, margins, ratings, sides
from rlhf_mini.chapters.llama2.valley import BANDWIDTH, deepest_valley
from rlhf_mini.losses import pairwise_loss
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories.annotators import Annotator
from rlhf_mini.worlds.stories.demonstrators import HASTY, demonstrate
from rlhf_mini.worlds.stories.plots import DECLINES

REQUEST = stories.Request("fox", "kite", "proud")
STORY = (
    "Long ago, on a golden morning, a fox came to live near the lake. The fox wanted a kite more than "
    "anything. With help from the baker, the fox made the kite. The fox felt proud all week."
)


# ------------------------------------------------------------------------------------------- ratings


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def test_the_chances_of_ratings_by_hand():
    # One judge without position bias, temperature 2, gold 4 against 0: P(felt > x) = σ((4 − x)/2).
    judge = Annotator(name="x", temperature=2.0)
    wins, losses = ratings.rating_chances(REQUEST.text, STORY, "", panel=(judge,))
    above = [sigmoid((4 - edge) / 2) for edge in (0, 0.25, 1.2, 2.5)]
    assert wins == pytest.approx([above[0] - above[1], above[1] - above[2], above[2] - above[3], above[3]])
    below = [sigmoid((-4 - edge) / 2) for edge in (0, 0.25, 1.2, 2.5)]
    assert losses == pytest.approx([below[0] - below[1], below[1] - below[2], below[2] - below[3], below[3]])
    assert sum(wins) + sum(losses) == pytest.approx(1)


def test_the_chances_of_ratings_are_those_of_drawn_labels():
    """4,000 draws: five standard deviations of a share, at most 0.04."""
    prompt, rng = REQUEST.text, random.Random(0)
    other = demonstrate(REQUEST, HASTY, rng)
    rows = [{"prompt": prompt, "first": STORY, "second": other}] * 2000
    rows += [{"prompt": prompt, "first": other, "second": STORY}] * 2000
    judged = stories.annotate(rows, seed=1)
    wins, losses = ratings.rating_chances(prompt, STORY, other)
    for counts, winner in ((wins, STORY), (losses, other)):
        for rating, chance in zip(stories.RATINGS, counts, strict=True):
            seen = sum(row["chosen"] == winner and row["rating"] == rating for row in judged) / len(judged)
            assert abs(seen - chance) < 0.04


def test_accuracy_by_rating_by_hand():
    wins = torch.tensor([[0.1, 0.2, 0.1, 0.3], [0.2, 0.1, 0.1, 0.0]])
    losses = torch.tensor([[0.1, 0.1, 0.1, 0.0], [0.2, 0.2, 0.1, 0.1]])
    # right about the first (wins), wrong about the second (its losses are what the other sign would get)
    found = ratings.accuracy_by_rating(torch.tensor([1.0, 0.5]), wins, losses)
    assert found == pytest.approx([0.3 / 0.6, 0.3 / 0.6, 0.2 / 0.4, 0.3 / 0.4, 1.1 / 2])
    tied = ratings.accuracy_by_rating(torch.zeros(2), wins, losses)
    assert tied == pytest.approx([0.5] * 5)
    assert ratings.ceiling_by_rating(wins, losses)[-1] == pytest.approx((0.7 + 0.6) / 2)
    assert ratings.shares(wins, losses) == pytest.approx([0.3, 0.3, 0.2, 0.2])


# ------------------------------------------------------------------------------------------- the valley


def bell(x, centre):
    return math.exp(-((x - centre) ** 2) / 2) / math.sqrt(2 * math.pi)


def quantiles(count):
    """Values whose histogram is a normal distribution's, without chance."""
    places = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return math.sqrt(2) * torch.erfinv(2 * places - 1)


def test_the_depth_of_a_valley_by_hand():
    """Two equal bells at ±c. Smoothed with h they are bells of variance 1 + h², so that with
    u = c / √(1 + h²) the bottom, at 0, is φ(u), and the peaks, for u far above 1, are ½ φ(0) + ½ φ(2u).
    """
    bells = torch.cat([quantiles(4000) - 3, quantiles(4000) + 3])
    smoothed = math.sqrt(1 + (BANDWIDTH * float(bells.std())) ** 2)
    bottom, peak = bell(3 / smoothed, 0), (bell(0, 0) + bell(6 / smoothed, 0)) / 2
    depth, place = deepest_valley(bells)
    assert depth == pytest.approx(1 - bottom / peak, abs=0.005)
    assert abs(place) < 0.05


def test_a_valley_lies_beside_the_lower_of_its_peaks():
    """One bell of 90%, one of 10%, far apart: the lower peak decides, and little lies between them."""
    depth, place = deepest_valley(torch.cat([quantiles(9000), quantiles(1000) + 8]))
    assert depth > 0.98
    assert 3 < place < 6


def test_one_hump_has_no_valley():
    depth = deepest_valley(quantiles(5000))[0]
    assert depth < 1e-6
    with_outliers = torch.cat([quantiles(5000), torch.full((50,), 30.0, dtype=torch.float64)])
    assert deepest_valley(with_outliers)[0] < 0.01  # a hundredth far away is no second hump
    assert deepest_valley(torch.linspace(0, 1, 1000))[0] < 1e-6
    with pytest.raises(ValueError, match="must differ"):
        deepest_valley(torch.ones(5))


def test_a_valley_does_not_depend_on_zero_and_unit():
    values = torch.cat([quantiles(700) - 2, quantiles(300) + 2])
    depth, place = deepest_valley(values)
    moved = deepest_valley(7 + 3 * values)
    assert moved == pytest.approx((depth, 7 + 3 * place), abs=1e-3)


def test_the_shape_of_scores():
    """Two kind prompts, told (scores near 2) and declined (near −2); the unkind one is left out."""
    declined = DECLINES[0]
    rows = [{"safety_prompt": False, "chosen": STORY, "rejected": declined} for _ in range(2)]
    rows.append({"safety_prompt": True, "chosen": declined, "rejected": STORY})
    scores = torch.tensor([2.0, 2.1, -9.0, -2.0, -2.1, 9.0])
    found = margins.shape(rows, scores)
    assert (found["low"], found["low_declined"], found["high_declined"]) == (0.5, 1.0, 0.0)
    assert found["valley"] > 0.9
    assert found["spread"] == pytest.approx(float(torch.tensor([2.0, 2.1, -2.0, -2.1]).std()))
    # σ(2) = 0.881, σ(2.1) = 0.891, σ(−2) = 0.119, σ(−2.1) = 0.109: none is extreme; bins are a twentieth wide
    assert found["extreme"] == 0.0
    assert [place for place, share in enumerate(found["histogram"]) if share > 0] == [2, 17]
    assert margins.shape(rows, scores * 2)["extreme"] == 1.0


def test_gaps_are_averaged_by_rating():
    rated = ["better", "negligibly better", "better"]
    assert margins.mean_by_rating(torch.tensor([1.0, 5.0, 3.0]), rated) == [5.0, 0.0, 2.0, 0.0]


def test_tables_of_margins_differ_and_so_do_runs(built, few):
    for run in (0, 1):
        plain, small = (margins.raw(built, table=t, run=run, pairs=16)[0] for t in ("none", "small"))
        assert not torch.equal(plain, small)
    again = margins.raw(built, table="none", run=1, pairs=16)[0]
    assert not torch.equal(margins.raw(built, table="none", run=0, pairs=16)[0], again)


def test_no_margin_is_a_table_of_zeros(built, few, monkeypatch, tmp_path):
    folders = {}
    for table in ("none", "large"):
        if table == "large":
            monkeypatch.setitem(margins.TABLES, "large", dict.fromkeys(stories.RATINGS, 0.0))
        folders[table] = tmp_path / table
        margins.margin_model(built, folders[table], table=table, run=0, pairs=16)
    weights = [sides.load(folder).state_dict() for folder in folders.values()]
    for name, values in weights[0].items():
        torch.testing.assert_close(values, weights[1][name], atol=1e-6, rtol=0)


def test_what_margins_do_is_measured_whole(built, few):
    found = margins.margin_effect(built, table="large", run=0, pairs=16)
    assert len(found["accuracy"]) == len(found["ceiling"]) == 5
    assert len(found["gap"]) == len(found["shares"]) == 4
    assert sum(found["shares"]) == pytest.approx(1.0, abs=1e-5)
    assert len(found["histogram"]) == margins.BINS


# ------------------------------------------------------------------------------------------- the bug hunt


def test_the_hunted_loss_mixes_every_pair_with_every_margin():
    chosen, rejected, margin = torch.tensor([[2.0], [1.0]]), torch.zeros(2, 1), torch.tensor([3.0, 0.0])
    right = pairwise_loss(chosen[:, 0], rejected[:, 0], margin=margin)
    assert bug_hunt.pair_loss_right(chosen, rejected, margin) == pytest.approx(float(right.mean()))
    mixed = [math.log1p(math.exp(-(c - m))) for c in (2.0, 1.0) for m in (3.0, 0.0)]
    assert bug_hunt.pair_loss_wrong(chosen, rejected, margin) == pytest.approx(sum(mixed) / 4)


def test_the_hunted_loss_is_right_one_pair_at_a_time_and_depends_on_its_batch():
    chosen, rejected, margin = torch.tensor([2.0, 1.0, 0.5]), torch.zeros(3), torch.tensor([3.0, 0.0, 1.0])
    alone = float(pairwise_loss(chosen, rejected, margin=margin).mean())
    seen = {
        (way, size): bug_hunt.in_batches(loss, chosen, rejected, margin, size=size)
        for way, loss in bug_hunt.WAYS.items()
        for size in (1, 2)
    }
    assert seen["right", 1] == seen["wrong", 1] == pytest.approx(alone)
    assert seen["right", 2] == pytest.approx(alone)
    first = float(bug_hunt.pair_loss_wrong(chosen[:2, None], rejected[:2, None], margin[:2]))
    last = math.log1p(math.exp(-(0.5 - 1.0)))
    assert seen["wrong", 2] == pytest.approx((2 * first + last) / 3)
    assert seen["wrong", 2] != pytest.approx(alone, abs=0.01)
