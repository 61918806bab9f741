"""The losses of direct alignment against TRL 1.16 and OpenRLHF 0.11 (see ``conftest.py``).

    pip install --no-deps --target .parity/openrlhf-0.11 openrlhf==0.11.2

TRL comes with the ``bridge`` extra. Its trainers have no losses to import; the oracle calls the trainers'
methods on an object that holds nothing but the settings.
"""

import pytest
import torch

from rlhf_mini.losses import (
    calibration_loss,
    conservative_dpo_loss,
    dpo_loss,
    ipo_loss,
    kto_loss,
    odds_ratio_loss,
    robust_dpo_loss,
    simpo_loss,
)
from rlhf_mini.tensors import masked_sum

pytestmark = [pytest.mark.bridge, pytest.mark.slow]
F64 = torch.float64
PAIRS, COLUMNS = 6, 9
BETA, FLIP_RATE, MARGIN = 0.3, 0.2, 0.7


def same(found, expected, *, rtol=1e-11, atol=1e-13):
    torch.testing.assert_close(found.detach(), expected, rtol=rtol, atol=atol)


@pytest.fixture
def drawn() -> dict[str, torch.Tensor]:
    """Log-probabilities of answers in padded rows, chosen ones first, and what else the losses ask."""
    generator = torch.Generator().manual_seed(0)

    def randn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=F64)

    begin = torch.tensor([1, 3, 2, 1, 4, 2, 2, 1, 5, 3, 1, 2])[:, None]
    end = torch.tensor([9, 4, 7, 5, 9, 3, 6, 9, 6, 8, 2, 9])[:, None]
    column = torch.arange(COLUMNS)
    mask = (column >= begin) & (column < end)
    logp = torch.where(mask, -randn(2 * PAIRS, COLUMNS).abs(), 0.0)[:, 1:]
    logp_ref = logp.sum(1) + 2 * randn(2 * PAIRS)
    kl_logp_ref = -10 * randn(2 * PAIRS).abs()
    moved = randn(2 * PAIRS)
    return {
        "mask": mask,
        "logp": logp,
        "logp_ref": logp_ref,
        "kl_logp_ref": kl_logp_ref,
        "kl_logp": kl_logp_ref + moved - moved.mean() + 0.8,
        "kl_logp_low": kl_logp_ref + moved - moved.mean() - 0.8,
        "desirable": torch.rand(2 * PAIRS, generator=generator) < 0.6,
        "pair": torch.cat(
            [-randn(2, PAIRS).abs(), torch.tensor([[-1e-3, -9.0], [-9.0, -1e-3]], dtype=F64)], dim=1
        ),
    }


def numbers(**values: float) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value, dtype=F64) for name, value in values.items()}


def test_against_trl(ask, drawn):
    weights = {"desirable_weight": 1.25, "undesirable_weight": 0.75}
    theirs = ask(
        "trl_direct",
        "trl",
        "1.16",
        **drawn,
        **numbers(kl_weight=BETA, flip_rate=FLIP_RATE, margin=MARGIN, **weights),
    )
    logp = drawn["logp"].clone().requires_grad_()
    answers = drawn["mask"][:, 1:]
    log_ratios = masked_sum(logp, answers, dim=1) - drawn["logp_ref"]
    sums = log_ratios.chunk(2)
    means = (log_ratios / answers.sum(1)).chunk(2)  # they take IPO's log-ratios per token
    scaled = [BETA * ratios for ratios in sums]
    for name, losses in (
        ("sigmoid", dpo_loss(*sums, kl_weight=BETA)),
        ("hinge", calibration_loss(*scaled, margin=1.0)),
        ("robust", robust_dpo_loss(*sums, kl_weight=BETA, flip_rate=FLIP_RATE)),
        ("ipo", ipo_loss(*means, kl_weight=BETA)),
        ("sigmoid_norm", dpo_loss(*means, kl_weight=BETA)),
    ):
        same(losses.mean(), theirs[name])
        same(torch.autograd.grad(losses.mean(), logp, retain_graph=True)[0], theirs[f"{name}_gradient"])

    moved = (drawn["kl_logp"] - drawn["kl_logp_ref"]).mean()
    assert moved > 0.5
    low = (drawn["kl_logp_low"] - drawn["kl_logp_ref"]).mean()
    assert low < -0.5  # an estimate below 0, which they clamp and we refuse
    for name, baseline in (("kl_logp", moved), ("kl_logp_low", low.clamp(min=0))):
        losses = kto_loss(log_ratios, drawn["desirable"], baseline, kl_weight=BETA, **weights)
        same(losses.mean(), theirs[name])
        same(torch.autograd.grad(losses.mean(), logp, retain_graph=True)[0], theirs[f"{name}_gradient"])

    pair = drawn["pair"].clone().requires_grad_()
    for name, losses in (
        ("cpo_sigmoid", conservative_dpo_loss(*pair, kl_weight=BETA, flip_rate=FLIP_RATE)),
        ("cpo_ipo", ipo_loss(*pair, kl_weight=BETA)),
        ("cpo_hinge", calibration_loss(*(BETA * pair), margin=1.0)),
        ("cpo_simpo", simpo_loss(*pair, scale=BETA, margin=MARGIN)),
    ):
        same(losses, theirs[name])
        same(torch.autograd.grad(losses.sum(), pair)[0], theirs[f"{name}_gradient"])
    # ORPO's they compute in float32.
    losses = odds_ratio_loss(*pair)
    same(losses.float(), theirs["orpo"].float(), rtol=1e-5, atol=1e-6)
    (gradient,) = torch.autograd.grad(losses.sum(), pair)
    same(gradient.float(), theirs["orpo_gradient"].float(), rtol=1e-4, atol=1e-6)


def test_against_openrlhf(ask, drawn):
    logp = drawn["logp"].sum(1).requires_grad_()
    known = {"logp_ref": drawn["logp_ref"], **numbers(kl_weight=BETA, flip_rate=FLIP_RATE)}
    theirs = ask("openrlhf_direct", "openrlhf", "0.11", logp=logp, **known)
    log_ratios = (logp - drawn["logp_ref"]).chunk(2)
    for name, losses in (
        ("dpo", dpo_loss(*log_ratios, kl_weight=BETA)),
        ("cdpo", conservative_dpo_loss(*log_ratios, kl_weight=BETA, flip_rate=FLIP_RATE)),
        ("ipo", ipo_loss(*log_ratios, kl_weight=BETA)),  # of sums, unlike TRL's trainer
    ):
        same(losses.mean(), theirs[name])
        same(torch.autograd.grad(losses.mean(), logp, retain_graph=True)[0], theirs[f"{name}_gradient"])
