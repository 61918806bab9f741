"""Bradley–Terry strengths by hand and against two independent fits; Elo's scale, intervals, and what is
refused.
"""

import math

import numpy as np
import pytest

from rlhf_mini.evaluation.bradley_terry_ranking import (
    ELO_PER_NAT,
    _resampled,
    bradley_terry,
    elo_table,
    wins_by_score,
)


def table_of(strengths, games=1000.0):
    """Wins as often as the strengths say, without noise."""
    lead = np.subtract.outer(strengths, strengths)
    return games / (1 + np.exp(-lead))


def test_two_players_by_hand():
    """Won 3 and lost 1: the odds are 3, so the lead is log 3; a mean of 0 puts half of it on either side."""
    np.testing.assert_allclose(
        bradley_terry(np.array([[0, 3], [1, 0]])), [math.log(3) / 2, -math.log(3) / 2], atol=1e-9
    )


def test_three_players_by_hand():
    """Odds of 2 from first to second and of 2 from second to third make 4 from first to third: 1 : ½ : ¼.

    Out of 12 games each, 8 : 4, 8 : 4 and 9.6 : 2.4. The mean of log 4, log 2 and 0 is log 2.
    """
    wins = np.array([[0, 8, 9.6], [4, 0, 8], [2.4, 4, 0]])
    np.testing.assert_allclose(bradley_terry(wins), [math.log(2), 0, -math.log(2)], atol=1e-8)


def test_more_games_between_some_count_more():
    """A circle: 1 beats 2, 2 beats 3 and 3 beats 1, each 2 : 1, is a draw; more games of one pair tip it to
    its winner.
    """
    circle = np.array([[0, 2, 1], [1, 0, 2], [2, 1, 0]], dtype=float)
    np.testing.assert_allclose(bradley_terry(circle), 0, atol=1e-9)
    circle[0, 1], circle[1, 0] = 20, 10
    found = bradley_terry(circle)
    assert found[0] > found[2] > found[1]


def test_strengths_that_made_the_table_are_found_again():
    strengths = np.array([1.5, 0.2, -0.1, -1.6])
    np.testing.assert_allclose(bradley_terry(table_of(strengths)), strengths, atol=1e-7)


def test_far_apart_players_are_found_too():
    """Newton's full first step from 0 would overshoot by far: odds of e^9."""
    strengths = np.array([6.0, 3.0, -3.0, -6.0])
    np.testing.assert_allclose(bradley_terry(table_of(strengths, 1e6)), strengths, atol=1e-4)


def test_many_tables_at_once_are_each_by_itself():
    rng = np.random.default_rng(0)
    tables = rng.integers(1, 30, size=(5, 4, 4)).astype(float)
    found = bradley_terry(tables)
    for one, table in zip(found, tables, strict=True):
        np.testing.assert_allclose(one, bradley_terry(table), atol=1e-7)


def test_the_diagonal_does_not_count_and_the_input_stays():
    wins = np.array([[5.0, 3.0], [1.0, 7.0]])
    before = wins.copy()
    np.testing.assert_allclose(
        bradley_terry(wins), bradley_terry(np.array([[0.0, 3.0], [1.0, 0.0]])), atol=1e-9
    )
    np.testing.assert_array_equal(wins, before)


def test_scipy_finds_the_same_by_climbing_the_likelihood():
    optimize = pytest.importorskip("scipy.optimize")
    wins = np.random.default_rng(1).integers(1, 40, size=(6, 6)).astype(float)
    np.fill_diagonal(wins, 0)

    def worse(free):
        strengths = [0.0, *free]
        return -sum(
            wins[i, j] * -math.log1p(math.exp(strengths[j] - strengths[i]))
            for i in range(6)
            for j in range(6)
            if i != j
        )

    free = optimize.minimize(worse, np.zeros(5), method="BFGS", options={"gtol": 1e-7}).x
    theirs = np.array([0.0, *free])
    np.testing.assert_allclose(bradley_terry(wins), theirs - theirs.mean(), atol=1e-5)


@pytest.mark.bridge
def test_choix_finds_the_same():
    choix = pytest.importorskip("choix")
    wins = np.random.default_rng(2).integers(1, 12, size=(7, 7))
    np.fill_diagonal(wins, 0)
    games = [(i, j) for i in range(7) for j in range(7) for _ in range(wins[i, j])]
    theirs = choix.ilsr_pairwise(7, games, alpha=0.0)
    np.testing.assert_allclose(bradley_terry(wins), theirs - theirs.mean(), atol=1e-6)


@pytest.mark.parametrize(
    ("wins", "message"),
    [
        (np.zeros((2, 3)), r"got shape \(2, 3\)"),
        (np.zeros((1, 1)), r"got shape \(1, 1\)"),
        (np.array([[0.0, -1.0], [1.0, 0.0]]), "not negative"),
        (np.array([[0.0, np.nan], [1.0, 0.0]]), "finite"),
        (np.array([[0.0, 3.0], [0.0, 0.0]]), "never won"),
        # two pairs that never met
        (np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]), "never won"),
        # the first two beat the last two always
        (np.array([[0, 1, 1, 1], [1, 0, 1, 1], [0, 0, 0, 1], [0, 0, 1, 0]]), "never won"),
    ],
)
def test_tables_without_finite_strengths_are_refused(wins, message):
    with pytest.raises(ValueError, match=message):
        bradley_terry(wins)


def test_a_long_chain_of_wins_is_enough():
    """Each beats the next and the last the first: nobody else meets, and all are equal."""
    wins = np.roll(np.eye(9), 1, axis=1)
    np.testing.assert_allclose(bradley_terry(wins), 0, atol=1e-8)


# ------------------------------------------------------------------------------------------------ who wins


def test_a_tie_is_half_a_win_to_both_also_where_rounding_parts_them():
    scores = np.array([[0.1 + 0.2, 0.3, 1.0]])
    np.testing.assert_array_equal(wins_by_score(scores)[0], [[0.5, 0.5, 0], [0.5, 0.5, 0], [1, 1, 0.5]])


# --------------------------------------------------------------------------------------------------- Elo


def test_elo_by_hand():
    """Of 11 requests ten are won: odds of ten to one, by definition 400 points."""
    ours, theirs = [[1.0] * 10 + [0.0]], [[0.0] * 10 + [1.0]]
    table = elo_table({"ours": ours, "theirs": theirs}, anchor="theirs", ties=1e-9, resamples=100)
    assert table.elo["ours"].mean == pytest.approx(400, abs=1e-3)
    assert table.elo["theirs"].mean == table.elo["theirs"].low == table.elo["theirs"].high == 0
    assert table.rate("ours", "theirs") == pytest.approx(10 / 11)
    assert table.rate("theirs", "ours") == pytest.approx(1 / 11)
    assert pytest.approx(400) == ELO_PER_NAT * math.log(10)


def test_ties_beforehand_are_ties():
    """Won 3 of 3 and 2 ties: 4 to 1."""
    table = elo_table({"a": [[1, 1, 1]], "b": [[0, 0, 0]]}, anchor="b", ties=2, resamples=100)
    assert table.elo["a"].mean == pytest.approx(400 * math.log10(4))
    with pytest.raises(ValueError, match="never won"):
        elo_table({"a": [[1, 1, 1]], "b": [[0, 0, 0]]}, anchor="b", resamples=100)


def test_all_seeds_count_alike():
    """On the first seed a wins both requests, on the second none: even."""
    table = elo_table({"a": [[1, 1], [0, 0]], "b": [[0, 0], [1, 1]]}, anchor="b", ties=0.1, resamples=400)
    assert table.elo["a"].mean == pytest.approx(0, abs=1e-6)
    assert table.rate("a", "b") == table.rate("b", "a") == 0.5
    low, high = table.elo["a"].low, table.elo["a"].high
    assert low < -200  # a quarter of the resamples has the first seed alone, another the second
    assert high > 200


def test_the_interval_of_one_seed_is_over_requests():
    even = [[1.0, 0.0] * 50]
    odd = [[0.0, 1.0] * 50]
    few = elo_table({"a": [even[0][:10]], "b": [odd[0][:10]]}, anchor="b", ties=1)
    many = elo_table({"a": even, "b": odd}, anchor="b", ties=1)
    assert few.elo["a"].half_width > 2 * many.elo["a"].half_width
    assert many.elo["a"].low < 0 < many.elo["a"].high
    assert many.elo["a"].count == 1
    # of 100 fair games the share has a deviation of 0.05, an Elo of 4 · 0.05 nats: ± 1.96 · 0.2 · 174 = 68
    assert many.elo["a"].half_width == pytest.approx(68, rel=0.15)


def test_every_resample_holds_as_many_games_as_there_were():
    """Of three seeds some are drawn twice, others not at all, and each draw brings five requests with it."""
    weights = _resampled(3, 5, resamples=400, seed=0).reshape(400, 3, 5)
    np.testing.assert_array_equal(weights.sum((1, 2)), 15)
    of_seeds = weights.sum(2)
    assert {*of_seeds.ravel()} == {0.0, 5.0, 10.0, 15.0}
    assert (of_seeds == 0).mean() == pytest.approx(
        (2 / 3) ** 3, abs=0.06
    )  # 1,200 shares, less than 5 deviations
    assert (weights == 0).mean() > 0.3  # requests are drawn with replacement, too


def test_requests_are_resampled_for_all_alike():
    """Two players with the same answers stay equal in every resample, though both lead the anchor by luck."""
    rng = np.random.default_rng(3)
    same, anchor = rng.normal(0.5, 1, (3, 20)), rng.normal(0, 1, (3, 20))
    table = elo_table({"a": same, "b": same, "anchor": anchor}, anchor="a", ties=1)
    assert table.elo["b"].low == pytest.approx(0, abs=1e-6)
    assert table.elo["b"].high == pytest.approx(0, abs=1e-6)
    assert table.elo["anchor"].high - table.elo["anchor"].low > 20


def test_the_same_arguments_give_the_same_bits():
    rng = np.random.default_rng(4)
    scores = {name: rng.normal(size=(2, 9)) for name in "abc"}
    first, second = (elo_table(scores, anchor="a", ties=1, resamples=200) for _ in range(2))
    assert first.elo == second.elo
    other = elo_table(scores, anchor="a", ties=1, resamples=200, seed=1)
    assert other.elo["b"].mean == first.elo["b"].mean
    assert other.elo["b"].low != first.elo["b"].low


def covering(leads, *, between, truth, experiments=120):
    """How many of the intervals hold the truth; Gumbel noise makes scores Bradley–Terry's, σ(θ_i − θ_j)."""
    rng, covered = np.random.default_rng(5), 0
    for _ in range(experiments):
        scores = {
            name: rng.gumbel(lead + between * rng.normal(size=(8, 1)), 1.0, (8, 30))
            for name, lead in leads.items()
        }
        table = elo_table(scores, anchor="a", resamples=200)
        covered += sum(table.elo[name].low <= truth[name] <= table.elo[name].high for name in truth)
    return covered


def test_intervals_cover_more_than_they_promise_where_seeds_do_not_differ():
    """The noise of requests counts twice: √(7/8 + 1) = 1.37 times as wide, which covers 99.3% of the time.

    Of 240 fewer than 230 would be 96%; the two players of an experiment counted as one, less than one false
    alarm in a thousand.
    """
    leads = {"a": 0.0, "b": 0.6, "c": -0.9}
    truth = {name: ELO_PER_NAT * leads[name] for name in ("b", "c")}
    assert covering(leads, between=0.0, truth=truth) >= 230


def test_intervals_cover_about_as_often_as_a_bootstrap_of_eight_where_seeds_differ():
    """Strengths vary by seed with a deviation of 1: what is estimated is the mean share of games, as odds.

    That is E σ(0.6 + √2 z), a sum over a fine grid of z. A bootstrap of eight values covers about 90% of the
    time; below 80% or above 99%, of 120, has a chance of less than one in a thousand.
    """
    grid = np.linspace(-8, 8, 4001)
    weight = np.exp(-(grid**2) / 2)
    share = float((weight / (1 + np.exp(-(0.6 + math.sqrt(2) * grid)))).sum() / weight.sum())
    truth = {"b": ELO_PER_NAT * math.log(share / (1 - share))}
    found = covering({"a": 0.0, "b": 0.6}, between=1.0, truth=truth)
    assert 0.80 * 120 <= found <= 0.99 * 120


@pytest.mark.parametrize(
    ("scores", "settings", "message"),
    [
        ({"a": [[1, 2]]}, {"anchor": "a"}, "at least two players"),
        ({"a": [[1, 2]], "b": [[1, 2]]}, {"anchor": "c"}, "the anchor 'c'"),
        ({"a": [[1, 2]], "b": [[1, 2, 3]]}, {"anchor": "a"}, r"'b': \(1, 3\)"),
        ({"a": [[1, 2]], "b": [[1, np.nan]]}, {"anchor": "a"}, "finite"),
        ({"a": [[1]], "b": [[2]]}, {"anchor": "a"}, "at least two"),
        ({"a": [[1, 2]], "b": [[2, 1]]}, {"anchor": "a", "ties": -1}, "got -1"),
        ({"a": [[1, 2]], "b": [[2, 1]]}, {"anchor": "a", "resamples": 5}, "got 5"),
        ({"a": [[1, 2]], "b": [[2, 1]]}, {"anchor": "a", "confidence": 1.0}, "got 1000 and 1.0"),
    ],
)
def test_bad_input_is_refused(scores, settings, message):
    with pytest.raises(ValueError, match=message):
        elo_table(scores, **settings)
    good = elo_table({"a": [[1, 2]], "b": [[2, 1]]}, anchor="a", ties=1)
    with pytest.raises(ValueError, match="nobody is called 'x'"):
        good.rate("a", "x")
