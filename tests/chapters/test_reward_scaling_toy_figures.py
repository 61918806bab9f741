"""The figures of chapter 11's toys show the numbers that they say, and the numbers are right."""

import math
import re

import numpy as np
import pytest

from rlhf_mini.chapters.reward_scaling import goodhart, toy_figures
from rlhf_mini.evaluation.best_of_n import best_of_n_kl

SIGNED = r"([−+]?\d+\.\d+)"


def number(text):
    return float(text.replace("−", "-"))


@pytest.mark.parametrize("kind", toy_figures.KINDS)
def test_curves_are_counted_from_the_start_and_by_the_root_of_kl(kind):
    told = toy_figures.risen(kind, (3, 6))
    assert {row.shape for row in told.values()} == {(2, len(goodhart.SIZES))}
    for name in told:
        np.testing.assert_allclose(told[name][:, 0], 0.0, atol=1e-6)
    case, chances = toy_figures.KINDS[kind](6), goodhart.reference().exp().numpy()
    for place, n in enumerate(goodhart.SIZES):
        kl = best_of_n_kl(chances, case.proxy, n=n)
        assert told["distance"][1, place] == pytest.approx(math.sqrt(max(kl, 0.0)), abs=1e-6)
        proxy, gold = best_of(chances, case.proxy.numpy(), case.gold.numpy(), n)
        assert told["proxy"][1, place] == pytest.approx(proxy - float(chances @ case.proxy.numpy()))
        assert told["gold"][1, place] == pytest.approx(gold - float(chances @ case.gold.numpy()))


def best_of(chances, proxy, gold, n):
    """Expected proxy and gold of the best of n: F^n − G^n a level, shared inside it by probability."""
    reached, totals = 0.0, np.zeros(2)
    for level in np.unique(proxy):
        here = proxy == level
        share = (reached + chances[here].sum()) ** n - reached**n
        reached += chances[here].sum()
        inside = chances[here] / chances[here].sum()
        totals += share * np.array([level, inside @ gold[here]])
    return totals


def test_the_kinds_say_where_gold_is_highest_and_how_it_ends():
    shown = toy_figures.kinds_figure(seeds=(0, 10))
    told = re.findall(
        rf"(\w+): over the best of 1 to 128 the proxy rises by {SIGNED}.*?highest at n = (\d+), "
        rf"{SIGNED} above.*?ends {SIGNED}",
        shown.text,
    )
    assert [row[0].lower() for row in told] == list(toy_figures.KINDS)
    for kind, rise, at, top, end in told:
        curves = {name: rows.mean(0) for name, rows in toy_figures.risen(kind.lower(), (0, 10)).items()}
        assert number(rise) == pytest.approx(curves["proxy"][-1], abs=0.006)
        assert number(end) == pytest.approx(curves["gold"][-1], abs=0.006)
        assert number(top) == pytest.approx(curves["gold"].max(), abs=0.006)
        assert goodhart.SIZES[int(curves["gold"].argmax())] == int(at)
    regressional, extremal, adversarial = told
    assert number(regressional[4]) > 0 > number(extremal[4])
    assert number(adversarial[4]) < 0
    assert shown.body.count("√KL") == 3


def test_the_causal_figure_has_the_numbers_of_the_derivation():
    """0.75 + 0.75² + 0.75³ = 1.73 words, of which 0.35/0.75 are the word: 0.81. Of three chosen: 1.40."""
    shown = toy_figures.causal_figure()
    assert "The reference: 0.81 at 1.73 words" in shown.text
    assert "chosen: 1.40 at 3." in shown.text
    assert "full length: 0.81 at 3." in shown.text
    for words in ("the reference", "long ones chosen", "each text padded"):
        assert words in shown.body


def test_the_slider_moves_probability_to_the_rare_texts():
    """They tie at the highest proxy: the best of n is one of them unless none was drawn, 1 − (1 − p)ⁿ."""
    shown = toy_figures.extremal_frames(seed=0)
    told = re.findall(
        rf"best of (\d+): mean proxy {SIGNED}, mean gold {SIGNED}, {SIGNED} nats.*?have (\d+\.\d)%",
        shown.text,
    )
    assert [int(row[0]) for row in told] == list(goodhart.SIZES)
    assert shown.body.count('class="rm-frame"') == len(told)
    case, chances = goodhart.extremal(seed=0, rare=toy_figures.RARE), goodhart.reference().exp().numpy()
    rare = float(chances[(case.proxy != case.gold).numpy()].sum())
    assert 0 < rare <= toy_figures.RARE
    for n, proxy, gold, kl, share in told:
        expected = best_of(chances, case.proxy.numpy(), case.gold.numpy(), int(n))
        assert (number(proxy), number(gold)) == (
            pytest.approx(expected[0], abs=0.006),
            pytest.approx(expected[1], abs=0.006),
        )
        assert number(kl) == pytest.approx(best_of_n_kl(chances, case.proxy, n=int(n)), abs=0.006)
        assert float(share) / 100 == pytest.approx(1 - (1 - rare) ** int(n), abs=0.0006)


def test_a_rarer_tail_is_found_later_on_the_slider():
    shares = [
        re.findall(r"have (\d+\.\d)%", toy_figures.extremal_frames(seed=0, rare=rare).text)[-1]
        for rare in (0.05, 0.002)
    ]
    assert float(shares[0]) > 95 > 40 > float(shares[1])


def test_the_stems_are_all_texts_once():
    case = goodhart.extremal(seed=0, rare=0.05)
    stems = toy_figures._stems(case, goodhart.reference())
    assert sum(stems["now"]) == pytest.approx(1.0)
    assert stems["now"] == stems["before"]
    rare = int((case.proxy != case.gold).sum())
    assert len(stems["proxy"]) == len(goodhart.LANGUAGE.texts) - rare + 1
    assert stems["proxy"][-1] == max(stems["proxy"])


def test_the_two_forms_turn_where_the_derivation_says():
    """α = 1, β = ½: d* = 1 and ½ there; d* = e, KL e² = 7.4 and e/2 = 1.36 there."""
    shown = toy_figures.forms_figure(alpha=1.0, beta=0.5, furthest=4.0)
    assert "turns at d = 1.00, 1.0 nats, where it is 0.50, and ends at −4.00" in shown.text
    assert "turns at d = 2.72, 7.4 nats, where it is 1.36" in shown.text
    near = toy_figures.forms_figure(alpha=1.0, beta=0.5, furthest=2.0)
    assert "turns at d = 1.00" in near.text
    assert "it does not turn before 2, and ends at 1.31" in near.text  # 2 (1 − ½ log 2)
