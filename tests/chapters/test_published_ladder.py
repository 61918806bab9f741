"""The ladder of chapter 13: its rungs hold where all is well, and each falls for planted bugs."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from rlhf_mini.chapters.published import bug_hunt, ladder
from rlhf_mini.chapters.toy_language import small_llama
from rlhf_mini.losses import rpo_backward_kl_loss
from rlhf_mini.losses.induced import apa_loss
from rlhf_mini.methods.masked_dpo import masked_dpo
from rlhf_mini.methods.moving_anchor import moving_anchor
from rlhf_mini.methods.online_merging import ondare
from rlhf_mini.models.averaging import uniform_average
from rlhf_mini.pipeline import Pipeline


class Knows(Pipeline):
    """Of a pipeline its seed and profile's name; what is measured is given."""

    def __init__(self, found=None):
        self.seed, self.found, self.profile = 0, found, SimpleNamespace(name="quick")

    def measured(self, experiment, **settings):
        return self.found


# ------------------------------------------------------------------- the exact


def test_the_exact_rung_holds_and_says_how_well():
    held, seen = ladder.exact()
    assert held, seen
    assert "half way: RPO" in seen


def test_the_exact_rung_falls_for_another_unit_of_score_and_for_scores_the_wrong_way(monkeypatch):
    def unit(*given, kl_weight, reward_scale):
        return rpo_backward_kl_loss(*given, kl_weight=kl_weight, reward_scale=1.01 * reward_scale)

    def turned(one, other, first, second, **options):
        return rpo_backward_kl_loss(one, other, second, first, **options)

    for bug in (unit, turned):
        monkeypatch.setattr(ladder, "rpo_backward_kl_loss", bug)
        assert not ladder.exact()[0]


def test_the_exact_rung_falls_for_apa_without_its_start_and_for_a_loss_that_is_always_0(monkeypatch):
    def without(logp, logp_init, advantages, *, kl_weight):
        return apa_loss(logp, torch.zeros_like(logp_init), advantages, kl_weight=kl_weight)

    for bug in (without, lambda logp, *given, **options: 0.0 * apa_loss(logp, *given, **options)):
        monkeypatch.setattr(ladder, "apa_loss", bug)
        assert not ladder.exact()[0]


# ------------------------------------------------------------------- the seams


def test_blocks_with_nothing_in_them_are_the_stage_below():
    held, seen = ladder.degenerate()
    assert held, seen


def test_the_rung_falls_for_a_block_that_is_never_empty_and_for_one_that_does_nothing(monkeypatch):
    def never_empty(*given, nll_weight, **options):
        return masked_dpo(*given, nll_weight=nll_weight + 1e-3, **options)

    def does_nothing(*given, merge_rate, **options):
        return ondare(*given, merge_rate=0.0, **options)

    monkeypatch.setattr(ladder, "masked_dpo", never_empty)
    monkeypatch.setattr(ladder, "ondare", does_nothing)
    assert ladder.degenerate() == (False, "not so masked DPO, merging")


def test_pairs_are_of_different_texts_the_better_first():
    scored = ladder.toy_pairs()
    assert bool((scored.chosen > scored.rejected).all())
    same = (scored.pairs.chosen.tokens == scored.pairs.rejected.tokens).all(1)
    assert not bool(same.any())


def test_the_frozen_rung_holds_and_falls_for_an_anchor_with_its_weights_exchanged(monkeypatch):
    held, seen = ladder.frozen()
    assert held, seen
    monkeypatch.setattr(
        ladder, "moving_anchor", lambda policy, anchor, rate: moving_anchor(policy, anchor, rate=1 - rate)
    )
    assert not ladder.frozen()[0]


def test_the_frozen_rung_falls_for_a_reference_that_moves(monkeypatch):
    seen, kept = [], ladder.kept_reference

    def watched(reference, pairs):
        seen.append(reference)
        return kept(reference, pairs)

    def train(policy, *given, hooks, **options):
        with torch.no_grad():
            next(seen[0].parameters()).add_(1e-4)
        for step, hook in enumerate(hooks, start=1):
            hook(step, {})

    monkeypatch.setattr(ladder, "kept_reference", watched)
    monkeypatch.setattr(ladder, "train_on_pairs", train)
    held, told = ladder.frozen()
    assert not held
    assert "reference moved" in told


def test_the_baseline_rung_holds_and_falls_for_whoever_forgets_the_prompt(monkeypatch):
    held, seen = ladder.baseline()
    assert held, seen
    usual = ladder.over_reference

    def one_for_all(score, baselines):
        mean = sum(baselines.values()) / len(baselines)
        return usual(score, dict.fromkeys(baselines, mean))

    def lenient(score, baselines):
        return usual(score, {(1, 5): 0.0, (1, 6): 0.0, **baselines})

    for bug in (lambda score, baselines: score, one_for_all, lenient):
        monkeypatch.setattr(ladder, "over_reference", bug)
        assert not ladder.baseline()[0]


@pytest.mark.slow  # six trainings of a small model
def test_a_mean_needs_one_start(monkeypatch):
    held, seen = ladder.shared_start()
    assert held, seen

    def strangers(start, train, *, members):
        models = [small_llama(seed) for seed in range(members)]
        for place, model in enumerate(models):
            train(model, place)
        return uniform_average(models)

    monkeypatch.setattr(ladder, "mean_of_siblings", strangers)
    assert not ladder.shared_start()[0]


def test_the_known_optimum_is_missed_where_the_reference_is_never_renewed(monkeypatch):
    held, seen = ladder.known_optimum(Knows())
    assert held, seen
    bug = replace(bug_hunt.WAYS["right"], rounds=bug_hunt.rounds_wrong)
    monkeypatch.setattr(bug_hunt, "WAYS", {"right": bug})
    assert not ladder.known_optimum(Knows())[0]


# ------------------------------------------------------------------- the real


def kept(monkeypatch, numbers):
    """The recipe's run is kept, and its outcome has these numbers; None, and it is not kept."""

    def measured(pipeline):
        assert numbers is not None, "what is not kept must not be trained"
        return numbers

    found = SimpleNamespace(name="a row", is_there=lambda pipeline: numbers is not None, measured=measured)
    monkeypatch.setattr(ladder, "last", lambda name: found)


def test_what_is_not_kept_is_not_trained(monkeypatch):
    kept(monkeypatch, None)
    for rung in (ladder.band, ladder.real):
        assert rung(Knows(), "llama3") == (True, "not trained here: rlhf-mini recipe llama3 does it")


def test_the_band_is_asked_for_the_recipe_s_last_row(monkeypatch):
    asked = {}

    def in_the_band(here, metrics, **where):
        asked.update(where, here=here, metrics=metrics)
        return False, "seen"

    numbers = {"gold": 2.0}
    kept(monkeypatch, numbers)
    monkeypatch.setattr(ladder, "in_the_band", in_the_band)
    assert ladder.band(Knows(), "llama3") == (False, "seen")
    assert asked == {
        "here": numbers, "metrics": ladder.BAND, "chapter": "13", "experiment": "recipes", "method": "a row",
        "profile": "quick",
    }  # fmt: skip


def test_the_real_run_must_have_more_gold_and_have_moved(monkeypatch):
    pipeline = Knows({"gold": 1.5})
    for numbers, holds in (
        ({"gold": 2.0, "kl_k3": 3.0}, True),
        ({"gold": 1.5, "kl_k3": 3.0}, False),
        ({"gold": 2.0, "kl_k3": 0.0}, False),
    ):
        kept(monkeypatch, numbers)
        held, seen = ladder.real(pipeline, "llama3")
        assert held is holds
    assert seen == "gold 1.50, then 2.00; 0.0 nats away"


def test_the_last_outcome_is_that_of_the_recipe_s_last_step():
    outcome = ladder.last("llama3")
    assert (outcome.name, outcome.experiment) == ("Llama 3: round 6", "recipes")


def test_the_rungs_are_eight_and_of_one_recipe_on_stories(monkeypatch):
    kept(monkeypatch, None)
    climbed = ladder.rungs(Knows(), name="gemma2")
    assert [rung.name for rung in climbed] == [
        "exact test", "nothing in it", "frozen stays frozen", "baseline", "one start", "known optimum",
        "band of good seeds", "real run",
    ]  # fmt: skip
    assert "gemma2" in climbed[-1].check()[1]
    assert "gemma2" in climbed[-2].must_hold
    with pytest.raises(ValueError, match="o1 answers sums"):
        ladder.rungs(Knows(), name="o1")
    with pytest.raises(ValueError, match="unknown recipe"):
        ladder.rungs(Knows(), name="llama4")
