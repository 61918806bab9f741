"""The losses of K answers: by hand, against one another, and the rewards that they lead to."""

import itertools
import math
import re

import pytest
import torch

from rlhf_mini.losses import all_pairs_loss, best_of_k_loss, pairwise_loss, plackett_luce_loss

F64 = torch.float64
LOSSES = {
    "all pairs": all_pairs_loss,
    "plackett-luce": plackett_luce_loss,
    "best of k": lambda scores: best_of_k_loss(scores, torch.zeros(len(scores), dtype=torch.int64)),
}


@pytest.fixture(params=LOSSES.values(), ids=LOSSES.keys())
def loss(request):
    return request.param


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


# Scores whose exponentials are 3, 2, 1: chances are small fractions.
EASY = torch.tensor([[3.0, 2.0, 1.0]], dtype=F64).log()


def test_all_pairs_by_hand():
    # 3 beats 2 with chance 3/5, 3 beats 1 with 3/4, 2 beats 1 with 2/3; the product is 3/10.
    torch.testing.assert_close(all_pairs_loss(EASY), torch.tensor([math.log(10 / 3) / 3], dtype=F64))


def test_plackett_luce_by_hand():
    # First is picked with chance 3/6, then second with 2/3: together 1/3.
    torch.testing.assert_close(plackett_luce_loss(EASY), torch.tensor([math.log(3)], dtype=F64))
    # The other way round: 1/6, then 2/5: 1/15.
    torch.testing.assert_close(plackett_luce_loss(EASY.flip(1)), torch.tensor([math.log(15)], dtype=F64))


def test_best_of_k_by_hand():
    found = best_of_k_loss(EASY.expand(3, 3), torch.tensor([0, 1, 2]))
    torch.testing.assert_close(found, torch.tensor([2.0, 3.0, 6.0], dtype=F64).log())


def test_two_answers_are_a_pair(loss):
    scores = randn(6, 2)
    torch.testing.assert_close(loss(scores), pairwise_loss(scores[:, 0], scores[:, 1]))


def test_a_constant_added_to_a_prompts_scores_does_not_matter(loss):
    scores = randn(5, 4)
    torch.testing.assert_close(loss(scores + randn(5, 1, seed=1)), loss(scores))
    gradient = torch.autograd.functional.jacobian(lambda r: loss(r).sum(), scores)
    torch.testing.assert_close(gradient.sum(1), torch.zeros(5, dtype=F64), atol=1e-12, rtol=0)


def test_a_better_score_for_the_best_costs_less(loss):
    scores = randn(5, 4)
    raised = scores + torch.tensor([0.5, 0.0, 0.0, 0.0], dtype=F64)
    assert (loss(raised) < loss(scores)).all()
    lowered = scores - torch.tensor([0.0, 0.0, 0.0, 0.5], dtype=F64)
    assert (loss(lowered) < loss(scores)).all()


def test_equal_scores_cost_what_chance_costs():
    for answers in (2, 3, 7):
        equal = torch.full((2, answers), 1.5, dtype=F64)
        even, orders = math.log(2), math.lgamma(answers + 1)
        torch.testing.assert_close(all_pairs_loss(equal), torch.full((2,), even, dtype=F64))
        torch.testing.assert_close(plackett_luce_loss(equal), torch.full((2,), orders, dtype=F64))
        picked = best_of_k_loss(equal, torch.tensor([0, answers - 1]))
        torch.testing.assert_close(picked, torch.full((2,), math.log(answers), dtype=F64))


def test_the_chances_of_all_orders_sum_to_one():
    scores = randn(4)
    orders = scores[torch.tensor(list(itertools.permutations(range(4))))]
    torch.testing.assert_close(plackett_luce_loss(orders).neg().exp().sum(), torch.ones((), dtype=F64))
    choices = best_of_k_loss(scores.expand(4, 4), torch.arange(4))
    torch.testing.assert_close(choices.neg().exp().sum(), torch.ones((), dtype=F64))
    # The pairs of a ranking are no such event: their chances multiply to more or less than a likelihood.
    products = (6 * all_pairs_loss(orders)).neg().exp().sum()
    assert products < 0.9


def test_plackett_luce_is_choice_after_choice():
    scores = randn(5, 4)
    picked_first = torch.zeros(5, dtype=torch.int64)
    by_choices = sum(best_of_k_loss(scores[:, place:], picked_first) for place in range(3))
    torch.testing.assert_close(plackett_luce_loss(scores), by_choices)


def test_who_stands_below_the_best_does_not_matter_to_best_of_k():
    scores = randn(5, 4)
    first = torch.zeros(5, dtype=torch.int64)
    torch.testing.assert_close(best_of_k_loss(scores[:, [0, 3, 1, 2]], first), best_of_k_loss(scores, first))
    assert not torch.allclose(plackett_luce_loss(scores[:, [0, 3, 1, 2]]), plackett_luce_loss(scores))


def test_all_agree_on_the_true_scores():
    # Rankings drawn from Plackett–Luce with exponentials 3, 2, 1, in proportion to their chances: each loss,
    # summed over the six orders, is least at the true scores (pairs and picks of a Plackett–Luce ranking
    # follow Bradley–Terry and the softmax with the same scores).
    orders = torch.tensor(list(itertools.permutations(range(3))))
    chances = plackett_luce_loss(EASY[0][orders]).neg().exp()
    for loss in LOSSES.values():
        guess = torch.zeros(3, dtype=F64, requires_grad=True)
        optimizer = torch.optim.LBFGS([guess], max_iter=100, tolerance_grad=1e-12, tolerance_change=0)

        def expected(loss=loss, guess=guess, optimizer=optimizer) -> torch.Tensor:
            optimizer.zero_grad()
            total = (chances * loss(guess[orders])).sum()
            total.backward()
            return total

        optimizer.step(expected)
        found = (guess - guess.mean()).detach()
        torch.testing.assert_close(found, EASY[0] - EASY[0].mean(), atol=1e-5, rtol=0)


def test_far_apart_scores_neither_overflow_nor_vanish(loss):
    scores = torch.tensor([[-500.0, 500.0], [500.0, -500.0]])
    torch.testing.assert_close(loss(scores), torch.tensor([1000.0, 0.0]))


@pytest.mark.parametrize("shape", [(3,), (3, 1), (2, 3, 4)])
@pytest.mark.usefixtures("unchecked")
def test_what_is_no_ranking_is_refused(loss, shape):
    with pytest.raises(
        ValueError, match=re.escape(f"K at least 2, all answers to a prompt in one row; received {shape}")
    ):
        loss(torch.zeros(shape))


@pytest.mark.usefixtures("unchecked")
def test_choices_that_cannot_be_are_refused():
    scores = torch.zeros(2, 3)
    with pytest.raises(
        ValueError,
        match=re.escape("best must be (2,), one choice for each row of scores (2, 3); received (2, 1)"),
    ):
        best_of_k_loss(scores, torch.zeros(2, 1, dtype=torch.int64))
    for wrong, found in (([0, 3], "0 … 3"), ([-1, 2], "-1 … 2")):
        with pytest.raises(
            ValueError, match=re.escape(f"best lies in {found}, and the 3 answers are numbered 0 … 2")
        ):
            best_of_k_loss(scores, torch.tensor(wrong))
