"""The losses and advantages of methods without a critic against TRL 1.16 (see ``conftest.py``)."""

import dataclasses

import pytest
import torch

from rlhf_mini.estimators import token_mean
from rlhf_mini.losses import reweighted_kl_loss, two_bound_policy_loss
from rlhf_mini.methods.group_methods import (
    GroupMethod,
    cispo_method,
    dapo_method,
    dr_grpo_method,
    grpo_method,
    gspo_method,
    k3_penalty,
    rloo_method,
)
from rlhf_mini.tensors import masked_sum

pytestmark = [pytest.mark.bridge, pytest.mark.slow]
F64 = torch.float64
ANSWERS, TOKENS, LONGEST = 8, 7, 9
LOW, HIGH, BETA = 0.2, 0.35, 0.3


def same(found: torch.Tensor, expected: torch.Tensor, *, rtol: float = 1e-11, atol: float = 1e-13) -> None:
    torch.testing.assert_close(found.detach(), expected, rtol=rtol, atol=atol)


def drawn() -> dict[str, torch.Tensor]:
    """Answers of different lengths, a policy that has moved, a reference, and rewards of three groups."""
    generator = torch.Generator().manual_seed(0)

    def randn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=F64)

    mask = torch.arange(TOKENS) < torch.tensor([7, 1, 4, 2, 7, 3, 5, 6])[:, None]
    logp_old = -randn(ANSWERS, TOKENS).abs()
    return {
        "mask": mask,
        "logp_old": logp_old,
        "logp": logp_old + 0.4 * randn(ANSWERS, TOKENS),
        "logp_ref": logp_old + 0.4 * randn(ANSWERS, TOKENS),
        "advantages": randn(ANSWERS),
        "rewards": randn(3, 4).float(),
    }


def methods() -> dict[str, GroupMethod]:
    """Ours, by TRL's names."""
    bounds = {"clip_low": LOW, "clip_high": HIGH}
    grpo = dataclasses.replace(grpo_method(), policy_term=dapo_method(**bounds).policy_term)
    return {
        "grpo": grpo,
        "bnpo": dataclasses.replace(grpo, average=token_mean),
        "dapo": dapo_method(**bounds),
        "dr_grpo": dataclasses.replace(dr_grpo_method(longest=LONGEST), policy_term=grpo.policy_term),
        "cispo": cispo_method(clip_high=HIGH),
        "gspo": gspo_method(**bounds),
    }


def test_against_trl(ask):
    asked = drawn()
    numbers = {"clip_low": LOW, "clip_high": HIGH, "kl_weight": BETA, "longest": LONGEST}
    theirs = ask(
        "trl_group", "trl", "1.16", **asked, **{k: torch.tensor(v, dtype=F64) for k, v in numbers.items()}
    )
    logp, mask = asked["logp"].clone().requires_grad_(), asked["mask"]
    logp_old, logp_ref, advantages = asked["logp_old"], asked["logp_ref"], asked["advantages"]

    def agree(name: str, loss: torch.Tensor) -> None:
        same(loss, theirs[name], rtol=1e-11)
        same(torch.autograd.grad(loss, logp)[0], theirs[f"{name}_gradient"], rtol=1e-10, atol=1e-13)

    def k3() -> torch.Tensor:
        return BETA * k3_penalty(logp, logp_old, logp_ref)

    def reweighted() -> torch.Tensor:
        return BETA * reweighted_kl_loss(logp, logp_old, logp_ref)

    for name, method in methods().items():
        for suffix, paid in (("", lambda: 0.0), ("_kl", k3), ("_reweighted", reweighted)):
            if (name, suffix) != ("gspo", "_reweighted"):  # there they weigh KL with the answer's ratio
                losses = method.policy_term(logp, logp_old, advantages, mask) + paid()
                agree(name + suffix, method.average(losses, mask))
    sums = (masked_sum(each, mask, dim=1) for each in (logp, logp_old))
    agree("rloo", two_bound_policy_loss(*sums, advantages, clip_low=LOW, clip_high=HIGH).mean())

    rewards = asked["rewards"]
    for name, method in (
        ("group", grpo_method()),
        ("none", dr_grpo_method(longest=9)),
        ("rloo", rloo_method()),
    ):
        same(method.advantage(rewards), theirs[f"advantages_{name}"], rtol=1e-5, atol=1e-6)
