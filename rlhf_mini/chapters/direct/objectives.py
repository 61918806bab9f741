"""Every objective of the chapter by its name: what a batch of pairs costs, and the numbers that it takes.

A name here is code, a setting is a number: the table of settings stands in `family.py`, so that trying another
number builds only the runs that use it.
"""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from rlhf_mini import losses
from rlhf_mini.methods.dpo import Compared, Objective


def dpo(pair: Compared, *, kl_weight: float, nll_weight: float = 0.0) -> Tensor:
    """DPO; with `nll_weight`, Llama 3's second term, the chosen answer's −log π per token."""
    return losses.dpo_loss(*pair.log_ratios, kl_weight=kl_weight) - nll_weight * pair.mean_logps[0]


def mean_dpo(pair: Compared, *, kl_weight: float) -> Tensor:
    """DPO on log-ratios per token (Tülu 3)."""
    return losses.dpo_loss(*pair.mean_log_ratios, kl_weight=kl_weight)


def length_regularised_dpo(pair: Compared, *, kl_weight: float, length_weight: float) -> Tensor:
    """R-DPO."""
    lengths = pair.chosen_length, pair.rejected_length
    return losses.length_regularised_dpo_loss(
        *pair.log_ratios, *lengths, kl_weight=kl_weight, length_weight=length_weight
    )


def conservative_dpo(pair: Compared, *, kl_weight: float, flip_rate: float) -> Tensor:
    """CDPO."""
    return losses.conservative_dpo_loss(*pair.log_ratios, kl_weight=kl_weight, flip_rate=flip_rate)


def robust_dpo(pair: Compared, *, kl_weight: float, flip_rate: float) -> Tensor:
    """Robust DPO."""
    return losses.robust_dpo_loss(*pair.log_ratios, kl_weight=kl_weight, flip_rate=flip_rate)


def ipo(pair: Compared, *, kl_weight: float) -> Tensor:
    """IPO on whole answers, as published."""
    return losses.ipo_loss(*pair.log_ratios, kl_weight=kl_weight)


def mean_ipo(pair: Compared, *, kl_weight: float) -> Tensor:
    """IPO on log-ratios per token, as TRL computes it."""
    return losses.ipo_loss(*pair.mean_log_ratios, kl_weight=kl_weight)


def slic(pair: Compared, *, margin: float, nll_weight: float) -> Tensor:
    """SLiC-HF: a hinge on log-probabilities, and −log π of the chosen answer per token as the regulariser."""
    return losses.calibration_loss(*pair.logps, margin=margin) - nll_weight * pair.mean_logps[0]


def simpo(pair: Compared, *, scale: float, margin: float) -> Tensor:
    """SimPO."""
    return losses.simpo_loss(*pair.mean_logps, scale=scale, margin=margin)


def orpo(pair: Compared, *, odds_weight: float) -> Tensor:
    """ORPO: the chosen answer's −log π per token, and the log of the odds ratio."""
    return odds_weight * losses.odds_ratio_loss(*pair.mean_logps) - pair.mean_logps[0]


def cpl(pair: Compared, *, temperature: float, conservatism: float) -> Tensor:
    """CPL with a discount of 1."""
    return losses.contrastive_preference_loss(*pair.logps, temperature=temperature, conservatism=conservatism)


def fading_dpo(pair: Compared, *, kl_weight: float) -> Tensor:
    """DPO with 1 − σ(βh) where it has −log σ(βh): the gradient fades on both sides, as KTO's does. Nobody's method."""
    chosen, rejected = pair.log_ratios
    return torch.sigmoid(kl_weight * (rejected - chosen))


def apart_dpo(pair: Compared, *, kl_weight: float) -> Tensor:
    """DPO's −log σ on each answer of a pair by itself, as KTO judges them. Nobody's method."""
    chosen, rejected = pair.log_ratios
    return -(logsigmoid(kl_weight * chosen) + logsigmoid(-kl_weight * rejected)) / 2


def kto_at_zero(pair: Compared, *, kl_weight: float) -> Tensor:
    """KTO on both answers of a pair with the baseline z₀ at 0: `apart_dpo` and `fading_dpo` in one."""
    zero = pair.chosen.new_zeros(())
    chosen, rejected = (
        losses.kto_loss(
            log_ratio, torch.full_like(log_ratio, good, dtype=torch.bool), zero, kl_weight=kl_weight
        )
        for log_ratio, good in zip(pair.log_ratios, (True, False), strict=True)
    )
    return (chosen + rejected) / 2


RPO = {
    "RPO, backward": losses.rpo_backward_kl_loss,
    "RPO, forward": losses.rpo_forward_kl_loss,
    "RPO, squared": losses.rpo_squared_loss,
}


def rpo(pair: Compared, *, form: str, reward_lead: Tensor, kl_weight: float, reward_scale: float) -> Tensor:
    """One of RPO's three forms; `reward_lead` is the reward model's, (N,), of the whole data set."""
    lead = reward_lead.to(pair.chosen.device)[pair.place]
    return RPO[form](
        *pair.log_ratios, lead, lead.new_zeros(len(lead)), kl_weight=kl_weight, reward_scale=reward_scale
    )


OBJECTIVES: Mapping[str, Callable[..., Tensor]] = {
    "DPO": dpo,
    "DPO per token": mean_dpo,
    "R-DPO": length_regularised_dpo,
    "cDPO": conservative_dpo,
    "robust DPO": robust_dpo,
    "IPO": ipo,
    "IPO per token": mean_ipo,
    "SLiC": slic,
    "SimPO": simpo,
    "ORPO": orpo,
    "CPL": cpl,
    "DPO, fading": fading_dpo,
    "DPO, apart": apart_dpo,
    "KTO at zero": kto_at_zero,
}


def objective_of(name: str, numbers: Mapping[str, float], *, reward_lead: Tensor | None = None) -> Objective:
    """The objective of this name with its numbers; RPO's three also need the reward model's leads.

    Raises:
        ValueError: on an unknown name, or RPO without leads.
    """
    if name in RPO:
        if reward_lead is None:
            raise ValueError(f"{name} learns from a reward model's scores: give reward_lead")
        return lambda pair: rpo(pair, form=name, reward_lead=reward_lead, **numbers)
    if name not in OBJECTIVES:
        raise ValueError(f"unknown objective {name!r}: choose one of {', '.join([*OBJECTIVES, *RPO])}")
    return partial(OBJECTIVES[name], **numbers)
