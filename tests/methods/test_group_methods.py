"""The table of methods: which are one on the first step after a draw, and how they part on later ones."""

import dataclasses
import itertools
import math

import pytest
import torch

from rlhf_mini.exact import TablePolicy, ToyLanguage, sample_rows
from rlhf_mini.losses import reweighted_kl_loss
from rlhf_mini.methods.group_methods import (
    by_answer,
    by_token,
    cispo_method,
    clipped,
    dapo_method,
    dr_grpo_method,
    grpo_method,
    gspo_method,
    k1_penalty,
    k2_penalty,
    k3_penalty,
    named_methods,
    plain_gradient,
    ppo_method,
    reinforce_method,
    rloo_method,
)

F64 = torch.float64
LANGUAGE = ToyLanguage(vocabulary=4, steps=4)
GROUP, PROMPTS, LONGEST = 4, 6, 4
REWARDS = LANGUAGE.score(lambda text: float(text[0] == 1) + 0.5 * text.count(2))
START = TablePolicy.random(LANGUAGE, generator=torch.Generator().manual_seed(0))
ROWS = sample_rows(
    LANGUAGE.sequence_logp(START).detach(), GROUP * PROMPTS, generator=torch.Generator().manual_seed(1)
)
RESPONSE = LANGUAGE.response[ROWS]
SEEN = REWARDS[ROWS].view(PROMPTS, GROUP)
METHODS = named_methods(longest=LONGEST)


def drawn_logp(policy: TablePolicy) -> torch.Tensor:
    return LANGUAGE.token_logp(policy)[ROWS]


LOGP_OLD = drawn_logp(START).detach()


def loss_of(method, policy, advantages=None) -> torch.Tensor:
    if advantages is None:
        advantages = method.advantage(SEEN).flatten()
    return method.average(method.policy_term(drawn_logp(policy), LOGP_OLD, advantages, RESPONSE), RESPONSE)


def after(method, *, steps: int, rate: float = 1.0, advantages=None) -> torch.Tensor:
    """The logits after so many steps of plain gradient descent on one draw."""
    policy = TablePolicy(LANGUAGE, START.logits.detach())
    for _ in range(steps):
        (gradient,) = torch.autograd.grad(loss_of(method, policy, advantages), policy.logits)
        policy.logits.data -= rate * gradient
    return policy.logits.detach() - START.logits.detach()


ADVANTAGES = torch.randn(GROUP * PROMPTS, generator=torch.Generator().manual_seed(2), dtype=F64)
TERMS = {
    "plain": plain_gradient,
    "clipped": by_token(clipped(0.2, 0.2)),
    "higher": by_token(clipped(0.2, 0.28)),
    "cispo": cispo_method(clip_high=0.2).policy_term,
}


def of_term(term) -> torch.Tensor:
    """What differs is the policy term alone: one average, one advantage."""
    return dataclasses.replace(reinforce_method(), policy_term=term)


@pytest.mark.parametrize("name", TERMS)
def test_on_the_first_step_all_policy_terms_are_one(name):
    one = after(of_term(TERMS[name]), steps=1, advantages=ADVANTAGES)
    torch.testing.assert_close(one, after(of_term(plain_gradient), steps=1, advantages=ADVANTAGES))
    assert one.abs().max() > 0.1


def test_after_several_steps_on_one_draw_they_have_parted():
    moved = {
        name: after(of_term(term), steps=6, rate=3.0, advantages=ADVANTAGES) for name, term in TERMS.items()
    }
    for one, other in itertools.combinations(moved, 2):
        assert (moved[one] - moved[other]).abs().max() > 1e-3, (one, other)
    # What is clipped stops: it has moved least. What is not weighted does not know that it has moved.
    assert moved["clipped"].norm() < moved["higher"].norm() < moved["plain"].norm()


def test_on_the_first_step_grpo_and_gspo_are_one_and_then_not():
    grpo, gspo = grpo_method(), gspo_method()
    torch.testing.assert_close(after(grpo, steps=1), after(gspo, steps=1))
    assert (after(grpo, steps=3) - after(gspo, steps=3)).abs().max() > 1e-3


def test_on_the_first_step_dr_grpo_is_rloo_in_other_units_and_then_not():
    """Their advantages differ by (G − 1)/G, their averages by the one length."""
    unit = (GROUP - 1) / GROUP / LONGEST
    rloo, dr_grpo = rloo_method(), dr_grpo_method(longest=LONGEST)
    torch.testing.assert_close(after(dr_grpo, steps=1), unit * after(rloo, steps=1))
    # The same distance in all: rates in inverse proportion.
    far = after(dr_grpo, steps=4, rate=1.0 / unit)
    assert (far - after(rloo, steps=4)).abs().max() > 1e-3


def test_on_the_first_step_dapo_and_cispo_are_one_and_grpo_is_another():
    torch.testing.assert_close(after(dapo_method(), steps=1), after(cispo_method(), steps=1))
    assert (after(dapo_method(), steps=1) - after(grpo_method(), steps=1)).abs().max() > 1e-3


def test_all_named_methods_differ_after_several_steps():
    moved = {name: after(method, steps=4, rate=2.0) for name, method in METHODS.items()}
    directions = {name: move / move.norm() for name, move in moved.items()}
    for one, other in itertools.combinations(directions, 2):
        assert (directions[one] - directions[other]).norm() > 1e-3, (one, other)


def test_the_loss_reads_zero_where_every_answer_weighs_the_same():
    """At ratio one the clipped loss of a token is −A; GRPO averages it to −ΣA = 0, whatever there is to
    learn.

    An average over all tokens gives long answers more of them, so that DAPO's does not read 0; nor does one
    of −A log π.
    """
    for name in ("GRPO", "GSPO"):
        loss = loss_of(METHODS[name], START)
        (gradient,) = torch.autograd.grad(loss, START.logits)
        assert abs(loss.item()) < 1e-12
        assert gradient.abs().max() > 0.01
    for name in ("DAPO", "Dr. GRPO", "REINFORCE", "RLOO", "CISPO"):
        assert abs(loss_of(METHODS[name], START).item()) > 1e-3


@pytest.mark.parametrize("name", METHODS)
def test_one_step_makes_better_answers_likelier(name):
    moved = TablePolicy(LANGUAGE, START.logits.detach() + 0.1 * after(METHODS[name], steps=1))
    gained = (drawn_logp(moved) - LOGP_OLD).sum(1).detach()
    assert (gained * (SEEN - SEEN.mean(1, keepdim=True)).flatten()).sum() > 1e-4


def test_one_ratio_an_answer_is_the_geometric_mean_of_its_tokens():
    logp = torch.tensor([[0.0, math.log(0.5), math.log(0.5)], [0.0, math.log(0.4), 0.0]], dtype=F64)
    logp_old = torch.tensor([[0.0, math.log(0.5), math.log(0.125)], [0.0, math.log(0.5), 9.0]], dtype=F64)
    response = torch.tensor([[False, True, True], [False, True, False]])
    losses = by_answer(clipped(0.5, 9.0))(logp, logp_old, torch.tensor([3.0, 1.0], dtype=F64), response)
    # ratios 1 and 4: √4 = 2; and 0.8
    torch.testing.assert_close(losses, torch.tensor([[-6.0] * 3, [-0.8] * 3], dtype=F64))


def test_where_kl_is_paid_for():
    paid = {name: (m.kl_in_loss, m.kl_in_reward) for name, m in METHODS.items()}
    in_reward, nowhere = (None, True), (None, False)
    assert paid == {
        **dict.fromkeys(("REINFORCE", "RLOO", "PPO"), in_reward),
        "GRPO": (k3_penalty, False),
        **dict.fromkeys(("Dr. GRPO", "DAPO", "CISPO", "GSPO"), nowhere),
    }
    assert grpo_method().can_pay_for_kl
    assert rloo_method().can_pay_for_kl
    assert not dapo_method().can_pay_for_kl
    with pytest.raises(ValueError, match="in the loss or in the reward; both are set"):
        dataclasses.replace(ppo_method(), kl_in_loss=k3_penalty)


def test_kl_penalties_by_hand():
    """log π = 0, log π_ref = log ½: k1 = log 2, k2 = ½ log² 2, k3 = ½ − 1 + log 2; at ratio one that, too."""
    logp, logp_ref = torch.zeros(1, 1, dtype=F64), torch.full((1, 1), 0.5, dtype=F64).log()
    two = math.log(2)
    for penalty, expected in (
        (k1_penalty, two),
        (k2_penalty, two**2 / 2),
        (k3_penalty, two - 0.5),
        (reweighted_kl_loss, two - 0.5),
    ):
        assert math.isclose(float(penalty(logp, logp, logp_ref)), expected, rel_tol=1e-12)
