"""Chapter 00's solutions against the library, its bug hunt, its ladder and its moving figure."""

import pytest
import torch

import rlhf_mini.chapters.whole_story.rungs as rungs
from rlhf_mini.chapters.whole_story import choices, exercises
from rlhf_mini.chapters.whole_story.experiments import BEST_OF, best_of_n_pool
from rlhf_mini.chapters.whole_story.moving import kept_answers, kept_frame
from rlhf_mini.estimators import token_rewards
from rlhf_mini.evaluation import best_of_n as pools
from rlhf_mini.exact import best_of_n, kl_divergence
from rlhf_mini.losses import next_token_loss, pairwise_loss, ppo_policy_loss
from rlhf_mini.reader import frames, ladder
from rlhf_mini.worlds import stories

# -------------------------------------------------------------------------------------------------- exercises


def test_the_perplexity_is_that_of_the_librarys_losses():
    logp = torch.randn(3, 6, generator=torch.Generator().manual_seed(0)).clamp(max=0)
    mask = torch.tensor([[0, 1, 0, 0, 0, 0], [0, 1, 1, 1, 0, 0], [0, 1, 1, 1, 1, 1]], dtype=torch.bool)
    losses = next_token_loss(logp) * mask
    mean = losses.sum() / mask.sum()
    found = exercises.perplexity(losses.sum(1).tolist(), mask.sum(1).tolist())
    assert found == pytest.approx(float(mean.exp()), rel=1e-6)


def test_the_pair_loss_is_the_librarys():
    for chosen, rejected in exercises.PAIR_LOSS.cases():
        assert torch.allclose(exercises.pair_loss(chosen, rejected), pairwise_loss(chosen, rejected))


def test_the_token_rewards_are_the_librarys():
    for score, logp, logp_ref, kl_weight in exercises.TOKEN_REWARDS.cases():
        ours = exercises.token_rewards(score, logp, logp_ref, kl_weight)
        response = torch.ones(1, len(logp), dtype=torch.bool)
        theirs = token_rewards(
            torch.tensor([score]), logp[None], logp_ref[None], response, kl_weight=kl_weight
        )
        assert torch.allclose(ours, theirs[0], atol=1e-6)


def test_the_clipped_loss_is_the_librarys():
    for logp, logp_old, advantages, clip_range in exercises.CLIPPED_LOSS.cases():
        ours = exercises.clipped_loss(logp, logp_old, advantages, clip_range)
        theirs = ppo_policy_loss(logp[None], logp_old[None], advantages[None], clip_range=clip_range)
        assert torch.allclose(ours, theirs[0], atol=1e-6)


def test_the_kl_of_best_of_n_is_exact_and_under_its_bound():
    for probabilities, n in exercises.BEST_OF_N_KL.cases():
        ours = exercises.best_of_n_kl(probabilities, n)
        scores = list(range(len(probabilities)))
        assert ours == pytest.approx(pools.best_of_n_kl(probabilities, scores, n=n), abs=1e-9)
        assert ours <= pools.best_of_n_kl_bound(n) + 1e-9
        if n < 100:
            logp = torch.tensor(probabilities, dtype=torch.float64).log()
            picked = best_of_n(logp, torch.tensor(scores, dtype=torch.float64), n=n)
            assert ours == pytest.approx(float(kl_divergence(picked, logp)), abs=1e-9)


# --------------------------------------------------------------------------------------------------- bug hunt


def test_the_export_holds_every_choice_in_random_order(built):
    rows = choices.judged_rows(built, "train", range(40))
    truth = built.preferences("train")
    assert {row["choice"] for row in rows} == {0, 1}
    for row, told in zip(rows, truth, strict=True):
        assert row[("first", "second")[row["choice"]]] == told["chosen"]
        assert row[("second", "first")[row["choice"]]] == told["rejected"]


def test_the_bug_exchanges_chosen_and_rejected_in_every_pair(built):
    rows = choices.judged_rows(built, "train", range(12))
    wrong, right = (
        pack(built.tokenizer(), rows) for pack in (choices.pack_choices, choices.pack_choices_by_place)
    )
    assert torch.equal(wrong.chosen.tokens, right.rejected.tokens)
    assert torch.equal(wrong.rejected.tokens, right.chosen.tokens)
    assert not torch.equal(wrong.chosen.tokens, right.chosen.tokens)


def test_symptoms_are_curves_over_runs(built):
    found = built.measured(choices.symptoms, runs=2, share=8)
    assert found.keys() == {"wrong", "right"}
    for curves in found.values():
        assert [len(run) for run in curves["gold"]] == [len(choices.SIZES)] * 2
        for proxy in curves["proxy"]:
            assert proxy == sorted(proxy)  # what is optimised rises, whatever it is worth
        assert len(curves["accuracy"]) == len(curves["loss"]) == 2


# ------------------------------------------------------------------------------------- the ladder, the figure


def test_the_exact_rung_fails_with_a_wrong_sign(monkeypatch):
    assert rungs.gradient_error(seed=1) < 1e-12
    monkeypatch.setattr(
        rungs,
        "ppo_policy_loss",
        lambda logp, old, advantages, clip_range: (
            -ppo_policy_loss(logp, old, advantages, clip_range=clip_range)
        ),
    )
    assert rungs.gradient_error(seed=1) > 1e-3


def test_the_toy_run_comes_near_the_optimum_and_never_above():
    run = rungs.toy_run(seed=3, iterations=150)
    assert run["start"] < run["end"] <= run["best"] + 1e-12
    assert run["end"] - run["start"] > 0.95 * (run["best"] - run["start"])


def test_the_band_is_students_prediction_interval():
    """Of 1, 2, 3: mean 2, standard deviation 1, and t(0.975, 2) = 4.3027, times √(1 + 1/3)."""
    low, high = rungs.band([1.0, 2.0, 3.0])
    assert (low + high) / 2 == pytest.approx(2)
    assert (high - low) / 2 == pytest.approx(4.30265 * (4 / 3) ** 0.5, rel=1e-4)


def test_the_ladder_is_climbed_from_the_exact_to_the_real(built, monkeypatch):
    climb = ladder(rungs.rungs(built))
    assert climb.height == 5
    assert climb.reached >= 1  # miniature models learn nothing, and the ladder says so
    assert "1. ✓ Exact test" in climb.text
    held, said = rungs._in_the_band(built)
    assert held
    assert "no seeds of the profile miniature" in said


def test_a_run_outside_the_band_is_told(built, monkeypatch):
    class Row:
        def __init__(self, value):
            self.metrics = dict.fromkeys(rungs.BANDS, value)

    monkeypatch.setattr(rungs, "read_records", lambda *_, **__: [Row(100.0), Row(101.0), Row(102.0)])
    held, said = rungs._in_the_band(built)
    assert not held
    assert "gold" in said


def test_the_answers_kept_are_the_best_of_the_first_n(built):
    kept, pool = kept_answers(built), best_of_n_pool(built)
    assert kept["n"] == [n for n in BEST_OF if n <= pool.golds.shape[1]]
    for row in range(len(pool.prompts)):
        proxies = [values[row] for values in kept["proxy"]]
        assert proxies == sorted(proxies)
    request = kept["request"]
    assert kept["prompt"] == pool.prompts[request]
    for n, answer, gold, proxy in zip(kept["n"], kept["answer"], kept["gold"], kept["proxy"], strict=True):
        assert answer in pool.answers[request][:n]
        assert gold[request] == pytest.approx(stories.gold(kept["prompt"], answer).total)
        assert proxy[request] == pytest.approx(float(pool.proxies[request, :n].max()))


def test_the_figure_moves_through_n(built):
    kept = kept_answers(built)
    pictures = [kept_frame(kept, i, best_gold=stories.BEST) for i in range(len(kept["n"]))]
    moving = frames(pictures, [f"n = {n}" for n in kept["n"]], label="answers sampled")
    assert moving.body.count('class="rm-frame"') == len(kept["n"])
    assert "best of 16" in moving.text
