"""Solutions of chapter 13 are what the library does; mistakes get their own hint; and hints are true."""

import math

import pytest
import torch

from rlhf_mini.batch import Pairs, pack_rows
from rlhf_mini.chapters.published import (
    averaging_exercises,
    exercises,
    loss_exercises,
    pair_exercises,
    reward_exercises,
)
from rlhf_mini.chapters.reward_models.ranking import focal_loss
from rlhf_mini.data import length_balance
from rlhf_mini.estimators.outranking import smallest_weight
from rlhf_mini.losses import dpo_loss, rpo_backward_kl_loss
from rlhf_mini.losses.induced import apa_loss
from rlhf_mini.methods.dpo import kept_reference, without_last_token
from rlhf_mini.methods.masked_dpo import masked_dpo_losses
from rlhf_mini.methods.online_merging import ondare
from rlhf_mini.models import copy_of, freeze, new_llama, response_logp
from rlhf_mini.models.task_vectors import spherical_interpolation
from rlhf_mini.reader import Exercise
from rlhf_mini.recipes.registry import RECIPES
from rlhf_mini.tensors import masked_mean
from tests.chapters.stand_ins import numbers

CHECKED = [pytest.param(one, id=one.title) for one in exercises.EXERCISES if isinstance(one, Exercise)]


def tiny(seed):
    return new_llama(
        vocab_size=16,
        width=16,
        layers=1,
        heads=2,
        context=12,
        pad_token=0,
        eos_token=2,
        bos_token=1,
        seed=seed,
    )


def moved(start, seed):
    model, generator = copy_of(start), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return freeze(model)


def test_there_are_nine_and_the_last_is_open():
    titles = [one.title for one in exercises.EXERCISES]
    assert len(set(titles)) == len(titles) == 9
    assert exercises.EXERCISES[-1] is exercises.OWN
    assert exercises.OWN.show().text


def test_the_titles_name_recipes():
    named = [one.title for one in exercises.EXERCISES if "(" in one.title]
    assert len(named) == 8
    for title in named:
        assert any(recipe.title.split()[0].split("-")[0] in title for recipe in RECIPES.values()), title


@pytest.mark.parametrize("exercise", CHECKED)
def test_the_solution_passes_and_every_mistake_gets_its_own_hint(exercise):
    assert exercise.judge(exercise.solution).state == "right"
    assert len(exercise.mistakes) >= 7
    assert len({mistake.hint for mistake in exercise.mistakes}) == len(exercise.mistakes)
    for mistake in exercise.mistakes:
        verdict = exercise.judge(mistake.program)
        assert (verdict.state, verdict.words) == ("wrong", mistake.hint), mistake.program.__name__


@pytest.mark.parametrize("exercise", CHECKED)
def test_the_task_stands_in_the_solution_s_docstring_and_names_every_argument(exercise):
    code, task = exercise.solution.__code__, exercise.solution.__doc__
    for name in code.co_varnames[: code.co_argcount]:
        assert f"`{name}" in task, name


# ---------------------------------------------------------------------------------------------- rewards


def test_the_rubric_s_weight_is_the_library_s():
    for seed in range(6):
        wished, other = 2 * numbers(2, 25, seed=seed)
        lead = numbers(25, seed=seed + 50).abs() + 0.1
        for share in (0.04, 0.28, 0.5, 0.9, 1.0):
            found = reward_exercises.rubric_weight(wished.tolist(), other.tolist(), lead.tolist(), share)
            assert found == pytest.approx(smallest_weight(wished, other, lead, share=share), rel=1e-12)


def test_the_rubric_s_weight_wins_the_share_and_nothing_less_does():
    wished, other = 2 * numbers(2, 20, seed=3)
    lead = numbers(20, seed=4).abs() + 0.1
    weight = reward_exercises.rubric_weight(wished.tolist(), other.tolist(), lead.tolist(), 0.9)
    assert weight > 0
    assert int((wished + (weight + 1e-9) * lead >= other).sum()) == 18
    assert int((wished + (weight - 1e-6) * lead >= other).sum()) == 17


def test_the_focal_loss_is_the_library_s():
    chosen, rejected = 4.9 * (2 * numbers(2, 50).sigmoid() - 1)
    torch.testing.assert_close(
        reward_exercises.focal_ranking_loss(chosen, rejected), focal_loss(chosen, rejected)
    )


def test_the_focal_loss_by_hand():
    """A lead of log 3 is P = ¾ and a weight of ¼; the barrier of ±½ log 3 is −log(25 − ¼ log² 3)."""
    half = torch.tensor([math.log(3) / 2]).double()
    expected = 0.25 * math.log(4 / 3) - 0.04 * math.log(25 - math.log(3) ** 2 / 4)
    assert float(reward_exercises.focal_ranking_loss(half, -half)) == pytest.approx(expected)


# ---------------------------------------------------------------------------------------------- pairs


def packed(lengths):
    """Answers of these lengths to one-token prompts."""
    return pack_rows([[1]] * len(lengths), [[5] * (n - 1) + [2] for n in lengths], pad_token=0)


@pytest.mark.parametrize("buckets", [1, 3, 4])
def test_the_balanced_pairs_are_the_library_s(monkeypatch, buckets):
    """The library draws which of a kind stay. Where the first are drawn, and the pairs come sorted by their
    difference in length, its pairs are the exercise's.
    """
    lengths = sorted(zip(*pair_exercises.LENGTHS, strict=True), key=lambda pair: abs(pair[0] - pair[1]))
    chosen, rejected = ([*side] for side in zip(*lengths, strict=True))
    pairs = Pairs(packed(chosen), packed(rejected))
    kept = pair_exercises.length_balanced(chosen, rejected, buckets)
    monkeypatch.setattr(length_balance.torch, "randperm", lambda n, generator: torch.arange(n))
    balanced = length_balance.length_balanced(pairs, buckets=buckets, generator=torch.Generator())
    assert balanced.chosen.response.sum(1).tolist() == [chosen[pair] for pair in kept]
    assert balanced.rejected.response.sum(1).tolist() == [rejected[pair] for pair in kept]


def test_balanced_in_every_bucket_of_the_library_s():
    chosen, rejected = (
        torch.randint(2, 30, (200,), generator=torch.Generator().manual_seed(i)) for i in (0, 1)
    )
    chosen = chosen + 4  # the longer one wins more often
    kept = pair_exercises.length_balanced(chosen.tolist(), rejected.tolist(), 5)
    sign, stays = (chosen - rejected).sign(), torch.zeros(200, dtype=torch.bool)
    stays[kept] = True
    pairs = Pairs(packed(chosen.tolist()), packed(rejected.tolist()))
    for bucket in length_balance.length_buckets(pairs, buckets=5):
        won, lost = (int((stays[bucket] & (sign[bucket] == one)).sum()) for one in (1, -1))
        assert won == lost == min(int((sign[bucket] == one).sum()) for one in (1, -1))
    assert bool(stays[sign == 0].all())
    assert 0 < len(kept) < 200


def test_the_masked_loss_is_the_library_s():
    model, reference = tiny(0), freeze(tiny(9))
    prompts, better, worse = [[1, 5, 6], [1, 7]], [[11, 4, 2], [3, 4, 5, 6, 2]], [[3, 8, 9, 2], [11, 2]]
    pairs = Pairs(pack_rows(prompts, better, pad_token=0), pack_rows(prompts, worse, pad_token=0))
    sides = (pairs.chosen, pairs.rejected)
    kept = kept_reference(reference, Pairs(*(without_last_token(side) for side in sides)))
    with torch.no_grad():
        expected, _, _ = masked_dpo_losses(
            model, pairs, kept, contrasted=without_last_token, kl_weight=0.1, nll_weight=0.2
        )
        ours, theirs = (
            [response_logp(one, side.tokens, side.mask, side.response) for side in sides]
            for one in (model, reference)
        )
    for row in range(2):
        answers = [side.response[row] for side in sides]
        contrasted = tuple(torch.arange(int(answer.sum())) < answer.sum() - 1 for answer in answers)
        logps, logps_ref = (
            tuple(logp[row][answer] for logp, answer in zip(of, answers, strict=True))
            for of in (ours, theirs)
        )
        found = pair_exercises.masked_dpo_loss(logps, logps_ref, contrasted, 0.1, 0.2)
        torch.testing.assert_close(found, expected[row])


def test_the_contrast_says_nothing_of_masked_tokens_and_the_likelihood_does():
    (logps, logps_ref, contrasted, beta, _), *_ = pair_exercises.MASKED.cases()
    logps = tuple(logp.clone().requires_grad_() for logp in logps)
    for weight, expected in ((0.0, 0.0), (0.2, -0.2 / 4)):
        loss = pair_exercises.masked_dpo_loss(logps, logps_ref, contrasted, beta, weight)
        chosen, rejected = torch.autograd.grad(loss, logps)
        assert float(chosen[-1]) == pytest.approx(expected)
        assert float(rejected[-1]) == 0


# ---------------------------------------------------------------------------------------------- losses


def test_rpo_s_loss_is_the_library_s():
    answers = 6 * numbers(4, 40)
    found = loss_exercises.rpo_loss(*answers, 0.3, 2.0)
    expected = rpo_backward_kl_loss(*answers, kl_weight=0.3, reward_scale=2.0)
    torch.testing.assert_close(found, expected)
    assert float(found.min()) >= 0


def test_what_the_hints_on_rpo_say():
    """Cross-entropy has the same gradient, not the same least value; a sure score is DPO."""
    chosen, rejected, better, worse = numbers(4, 10)
    chosen.requires_grad_()
    gradients = [
        torch.autograd.grad(loss(chosen, rejected, better, worse, 0.5, 1.0).sum(), chosen)[0]
        for loss in (loss_exercises.rpo_loss, loss_exercises._cross_entropy)
    ]
    torch.testing.assert_close(*gradients)
    level = loss_exercises.rpo_loss(better, worse, better, worse, 0.5, 0.5)
    torch.testing.assert_close(level, torch.zeros_like(level))
    assert float(loss_exercises._cross_entropy(better, worse, better, worse, 0.5, 0.5).min()) > 0.1
    sure = loss_exercises.rpo_loss(chosen, rejected, 1000 + better, worse, 0.5, 1.0)
    torch.testing.assert_close(sure, dpo_loss(chosen, rejected, kl_weight=0.5))


def test_apa_s_target_has_no_loss_and_its_loss_is_the_library_s():
    logp, logp_init, advantages = numbers(3, 4, 6)
    counts = torch.arange(6) < torch.tensor([[6], [3], [5], [1]])
    target, loss = loss_exercises.apa(logp, logp_init, advantages, counts, 0.1)
    expected = masked_mean(apa_loss(logp, logp_init, advantages, kl_weight=0.1), counts)
    torch.testing.assert_close(loss, expected)
    at_target = apa_loss(target, logp_init, advantages, kl_weight=0.1)
    torch.testing.assert_close(at_target, torch.zeros_like(at_target))


# ---------------------------------------------------------------------------------------------- weights


def test_a_merged_step_is_the_library_s():
    base, tuned = freeze(tiny(0)), moved(tiny(0), 1)
    policy, keep, rate = copy_of(tuned), 0.4, 0.2
    merge = ondare(
        policy, base, tuned, merge_rate=rate, keep=keep, generator=torch.Generator().manual_seed(7)
    )
    drawn = torch.Generator().manual_seed(7)
    before = {name: weight.detach().clone() for name, weight in policy.named_parameters()}
    task_kept = {name: torch.rand(weight.shape, generator=drawn) < keep for name, weight in before.items()}
    origin = dict(base.named_parameters())
    for step in (1, 2):
        with torch.no_grad():
            for place, weight in enumerate(policy.parameters()):
                weight += 0.1 * numbers(*weight.shape, seed=100 * step + place).float()
        after = {name: weight.detach().clone() for name, weight in policy.named_parameters()}
        merge(step, {})
        for name, weight in policy.named_parameters():
            step_kept = torch.rand(weight.shape, generator=drawn) < keep
            task = dict(tuned.named_parameters())[name] - origin[name]
            found = averaging_exercises.merged_step(
                before[name], after[name], task, step_kept, task_kept[name], rate
            )
            torch.testing.assert_close(weight.detach(), found.detach())
            before[name] = weight.detach().clone()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_the_arc_is_the_library_s(share):
    start = tiny(0)
    first, second = moved(start, 1), moved(start, 2)
    merged = spherical_interpolation(start, first, second, share=share).state_dict()
    begun, one, other = (model.state_dict() for model in (start, first, second))
    for name, weight in merged.items():
        ends = (table[name].double() for table in (begun, one, other))
        found = averaging_exercises.on_the_arc(*ends, share)
        torch.testing.assert_close(weight, found.to(weight.dtype))


def test_two_models_in_one_direction_have_no_arc_in_the_library_either():
    start = tiny(0)
    first = moved(start, 1)
    merged = spherical_interpolation(start, first, first, share=0.3).state_dict()
    for name, begun in start.state_dict().items():
        end = first.state_dict()[name].double()
        found = averaging_exercises.on_the_arc(begun.double(), end, end, 0.3)
        torch.testing.assert_close(merged[name], found.to(begun.dtype))
        torch.testing.assert_close(found, end)


def test_the_middle_of_the_arc_keeps_the_length_and_the_mean_does_not():
    case = averaging_exercises.ON_THE_ARC.cases()[0]
    start = case[0]
    assert float((averaging_exercises.on_the_arc(*case) - start).norm()) == pytest.approx(2)
    assert float((averaging_exercises._straight(*case) - start).norm()) == pytest.approx(math.sqrt(2))
