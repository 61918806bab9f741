"""The solutions of chapter 07 are what the library does, and what they say of optima holds; the bug hunt."""

import math
from functools import partial

import pytest
import torch
from torch.nn.functional import softplus

from rlhf_mini.batch import pack_rows
from rlhf_mini.chapters.direct import (
    bug_hunt,
    exercises,
    family_exercises,
    length_exercises,
    pair_exercises,
)
from rlhf_mini.chapters.direct.toy import ToyWorld
from rlhf_mini.chapters.toy_language import LANGUAGE
from rlhf_mini.exact import TablePolicy, kl_optimum
from rlhf_mini.losses import dpo_loss, ipo_loss, kto_loss, length_regularised_dpo_loss, simpo_loss
from rlhf_mini.methods.kto import moved_on
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import quiz
from tests.chapters.stand_ins import numbers

# ---------------------------------------------------------------------------------------------- exercises


def test_there_are_ten_and_the_last_is_open():
    assert len(exercises.EXERCISES) == 10
    assert exercises.EXERCISES[-1] is exercises.OWN


def test_a_pair_by_hand_is_the_library_s_loss():
    answers = [numbers(length, seed=seed).sigmoid() for seed, length in enumerate((3, 3, 4, 4))]
    lead, loss = pair_exercises.pair_by_hand(*(answer.tolist() for answer in answers), 0.3)
    chosen, chosen_ref, rejected, rejected_ref = (answer.log().sum() for answer in answers)
    ratios = (chosen - chosen_ref)[None], (rejected - rejected_ref)[None]
    assert loss == pytest.approx(float(dpo_loss(*ratios, kl_weight=0.3)), rel=1e-12)
    assert lead == pytest.approx(0.3 * float(ratios[0] - ratios[1]), rel=1e-12)


def test_a_pair_by_hand():
    """The chosen answer became twice as likely, the other stayed: 2 to 1 for it, and −log(2/3)."""
    twice, stayed = ([0.5, 0.4, 0.9], [0.25, 0.4, 0.9]), ([0.2, 0.5, 0.5], [0.2, 0.5, 0.5])
    found = pair_exercises.pair_by_hand(*twice, *stayed, 1.0)
    assert found == pytest.approx((math.log(2), math.log(1.5)))


def test_the_loss_is_the_library_s():
    chosen, rejected, chosen_ref, rejected_ref = 9 * numbers(4, 20)
    found = pair_exercises.dpo_loss(chosen, rejected, chosen_ref, rejected_ref, 0.4)
    expected = dpo_loss(chosen - chosen_ref, rejected - rejected_ref, kl_weight=0.4)
    torch.testing.assert_close(found, expected)


def test_the_pulls_are_the_gradient_of_the_library_s_loss():
    chosen, rejected = (9 * numbers(2, 20)).requires_grad_()
    (gradient,) = torch.autograd.grad(dpo_loss(chosen, rejected, kl_weight=0.4).sum(), [chosen])
    weights, most = pair_exercises.pulls(chosen.detach(), rejected.detach(), 0.4)
    torch.testing.assert_close(weights, -gradient)
    assert most == int(gradient.argmin())


@pytest.mark.parametrize("added", [0.0, 100.0])
def test_reward_leads_are_those_that_made_the_optimum(added):
    rewards, logp_ref = numbers(6), numbers(6, seed=1).log_softmax(0)
    best = kl_optimum(logp_ref, rewards + added, kl_weight=0.7).logp
    found = pair_exercises.reward_leads(best, logp_ref, 0.7)
    torch.testing.assert_close(found, rewards[:, None] - rewards[None, :], rtol=0, atol=1e-10)


def test_ipo_is_the_library_s():
    chosen, rejected = 9 * numbers(2, 20)
    found = family_exercises.ipo_loss(chosen, rejected, 0.2)
    torch.testing.assert_close(found, ipo_loss(chosen, rejected, kl_weight=0.2))


@pytest.mark.parametrize("share", [0.3, 0.5, 0.75, 0.9])
@pytest.mark.parametrize("kl_weight", [0.2, 1.0])
def test_the_resting_leads_are_the_lowest_points_of_the_library_s_losses(share, kl_weight):
    for loss, rests in zip(
        (dpo_loss, ipo_loss), family_exercises.resting_leads(share, kl_weight), strict=True
    ):
        lead = torch.tensor([rests], dtype=torch.float64, requires_grad=True)
        level = torch.zeros_like(lead)
        one_way, other_way = partial(loss, lead, level), partial(loss, level, lead)
        expected = share * one_way(kl_weight=kl_weight) + (1 - share) * other_way(kl_weight=kl_weight)
        (slope,) = torch.autograd.grad(expected.sum(), [lead])
        assert abs(float(slope)) < 1e-12


def test_dpo_has_no_resting_lead_where_the_better_always_wins():
    leads = torch.linspace(0, 600, 61, dtype=torch.float64)
    for kl_weight in (0.1, 1.0):
        falling = dpo_loss(leads, torch.zeros_like(leads), kl_weight=kl_weight).diff()
        assert (falling < 0).all()
        dpo, ipo = family_exercises.resting_leads(1.0, kl_weight)
        assert (dpo, ipo) == (math.inf, pytest.approx(1 / (2 * kl_weight)))


@pytest.mark.parametrize("shift", [0.0, -9.0])
def test_kto_is_the_library_s_loss_with_the_method_s_baseline(shift):
    """The table's places as token numbers show which answer `moved_on` puts behind which prompt."""
    table, desirable = 3 * numbers(5, 5) + shift, torch.tensor([True, False, False, True, False])
    moved = moved_on(
        pack_rows([[10 + row] for row in range(5)], [[20 + row] for row in range(5)], pad_token=0)
    )
    places = [(prompt - 10, answer - 20) for prompt, answer in moved.tokens.tolist()]
    baseline = torch.stack([table[place] for place in places]).mean().clamp(min=0)
    expected = kto_loss(table.diagonal(), desirable, baseline, kl_weight=0.3)
    torch.testing.assert_close(family_exercises.kto_losses(table, desirable, 0.3), expected)
    assert (float(baseline) == 0) == (shift < 0)


def test_a_prompt_that_counts_by_the_library_s_losses():
    """Each lead is read off its loss: through the inverse of softplus, and of IPO by its root."""
    prompt, chosen, rejected = (-numbers(2, length, seed=length).square() for length in (6, 3, 8))

    def lead_of(loss):
        return -torch.log(torch.expm1(loss))

    def leads(better, worse):
        ratios = [tokens[0] - tokens[1] for tokens in (better, worse)]
        sums, means = ([getattr(r, name)()[None] for r in ratios] for name in ("sum", "mean"))
        logps = [tokens[0].mean()[None] for tokens in (better, worse)]
        return (
            lead_of(dpo_loss(*sums, kl_weight=1.0)),
            lead_of(simpo_loss(*logps, scale=1.0, margin=0.0)),
            50.0 - ipo_loss(*means, kl_weight=0.01).sqrt(),  # leads here are below the goal of 50
        )

    right = leads(chosen, rejected)
    wrong = leads(torch.cat([prompt, chosen], 1), torch.cat([prompt, rejected], 1))
    changes = [float(after - before) for after, before in zip(wrong, right, strict=True)]
    assert length_exercises.shifts(prompt, chosen, rejected) == pytest.approx(tuple(changes), abs=1e-9)
    assert min(map(abs, changes[1:])) > 0.01


def test_the_price_of_length_is_the_library_s():
    lead, longer = 9 * numbers(20), (9 * numbers(20, seed=1)).round()
    found = softplus(-length_exercises.leads_less_length(lead, longer, 0.4, 0.05))
    shorter = torch.full((20,), 40)
    lengths = shorter + longer.long(), shorter
    expected = length_regularised_dpo_loss(
        lead, torch.zeros_like(lead), *lengths, kl_weight=0.4, length_weight=0.05
    )
    torch.testing.assert_close(found, expected)


def test_the_sign_of_the_price_makes_the_optimum_of_the_reward_less_length():
    """At π ∝ π_ref exp((r − α|y|)/β) what stands inside σ is the difference of the rewards alone."""
    rewards, lengths = numbers(6), torch.tensor([1.0, 2.0, 3.0, 5.0, 8.0, 13.0], dtype=torch.float64)
    logp_ref = numbers(6, seed=1).log_softmax(0)
    best = kl_optimum(logp_ref, rewards - 0.2 * lengths, kl_weight=0.5).logp
    ratios = best - logp_ref
    chosen, rejected = torch.triu_indices(6, 6, offset=1)
    inside = length_exercises.leads_less_length(
        ratios[chosen] - ratios[rejected], lengths[chosen] - lengths[rejected], 0.5, 0.2
    )
    torch.testing.assert_close(inside, rewards[chosen] - rewards[rejected])


# ----------------------------------------------------------------------------------------------- bug hunt


def one_step(policy):
    """An optimiser's: in place."""
    with torch.no_grad():
        for weight in policy.parameters():
            weight.add_(torch.arange(weight.numel()).view_as(weight))


def test_one_reference_moves_with_the_policy_and_the_other_stays():
    policy = TablePolicy.random(LANGUAGE, generator=torch.Generator().manual_seed(0))
    wrong, right = bug_hunt.frozen_wrong(policy), bug_hunt.frozen_right(policy)
    start = policy(LANGUAGE.tokens).detach()
    for reference in (wrong, right):
        assert torch.equal(reference(LANGUAGE.tokens), start)
        assert not reference(LANGUAGE.tokens).requires_grad
    one_step(policy)
    assert torch.equal(right(LANGUAGE.tokens), start)
    assert torch.equal(wrong(LANGUAGE.tokens), policy(LANGUAGE.tokens))
    assert not torch.equal(wrong(LANGUAGE.tokens), start)


@pytest.fixture(scope="module")
def runs():
    pipeline = Pipeline("quick", seed=0)
    return {way: bug_hunt.symptoms(pipeline, way=way) for way in bug_hunt.WAYS}


def test_the_symptoms_of_the_bug(runs):
    wrong, right = runs["wrong"], runs["right"]
    assert wrong["step"] == list(bug_hunt.LOOKS)
    assert all(loss == pytest.approx(math.log(2), abs=1e-12) for loss in wrong["loss"])
    assert set(wrong["lead"]) == {0.0}
    assert set(wrong["accuracy"]) == {0.5}
    assert min(wrong["grad_norm"]) > 0.5 * wrong["grad_norm"][0] > 0
    assert wrong["moved"][-1] > 3 * right["moved"][-1]
    assert wrong["distance"][-1] > 5 * right["distance"][-1]
    assert wrong["distance"][-1] > 2 * wrong["distance"][0]  # further from the optimum than at the start
    # What the right training looks like, so that the difference can be seen.
    assert right["loss"][0] == wrong["loss"][0]
    assert right["loss"][-1] < 0.95 * math.log(2)
    assert right["distance"][-1] < 0.5 * right["distance"][0]
    assert max(right["lead"]) > 0.5


def test_every_suspect_lacks_one_of_the_four_symptoms(runs):
    """Loss at log 2, lead 0, a gradient, a policy that moves: each suspect fails by a wide margin on one."""

    def symptoms_of(run):
        return (
            max(abs(loss - math.log(2)) for loss in run["loss"]) < 1e-4,
            max(map(abs, run["lead"])) < 1e-3,
            run["grad_norm"][-1] > 1e-3,
            run["moved"][-1] > 0.5,
        )

    assert symptoms_of(runs["wrong"]) == (True, True, True, True)
    assert symptoms_of(runs["nothing is learned"]) == (True, True, True, False)
    assert symptoms_of(runs["the answers are one"])[2:] == (False, False)
    assert symptoms_of(runs["the labels are a coin's"])[:2] == (False, False)
    assert symptoms_of(runs["β is far too small"])[1] is False
    assert max(map(abs, runs["β is far too small"]["lead"])) > 1
    assert len(bug_hunt.SUSPECTS) == 4


def test_what_the_notebook_shows_of_them(runs):
    class Measured(Pipeline):
        def __init__(self):
            pass

        def measured(self, experiment, *, way):
            assert experiment is bug_hunt.symptoms
            return runs[way]

    found = bug_hunt.readings(Measured())
    assert found["loss wrong"] == runs["wrong"]["loss"][-1]
    lines = bug_hunt.told(found).splitlines()
    assert len(lines) == 1 + len(bug_hunt.WAYS)
    assert len({len(line) for line in lines}) == 1
    assert max(map(len, lines)) <= 85
    picture = bug_hunt.symptom_figures([runs["wrong"]] * 2, [runs["right"]] * 2)
    assert picture.text.count("With the bug it ends at") == 2
    assert "seeds: 2" in picture.text


def test_labels_are_those_that_were_asked_for():
    world = ToyWorld(0)
    draws = {
        labels: bug_hunt.drawn(world, labels, generator=torch.Generator().manual_seed(0))
        for labels in ("Bradley and Terry", "coin", "one answer")
    }
    chosen, rejected = draws["one answer"]
    assert torch.equal(chosen, rejected)
    leads = {
        labels: float((world.rewards[chosen] - world.rewards[rejected]).mean())
        for labels, (chosen, rejected) in draws.items()
    }
    assert leads["Bradley and Terry"] > 0.2
    # 2,048 differences of two rewards, their deviation below 1.5: five standard errors are 0.17
    assert abs(leads["coin"]) < 0.17
    assert leads["one answer"] == 0


def test_the_question_is_answered_by_the_bug():
    question = bug_hunt.SUSPECT
    assert "moves along" in question.options[question.right][0]
    assert len(question.options) == 1 + len(bug_hunt.SUSPECTS)
    assert quiz([question]).text
    assert any(".clone()" in line for line in bug_hunt.BUG_HUNT.changes() if line.startswith("+"))
