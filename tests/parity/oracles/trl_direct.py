"""TRL 1.16's losses of direct alignment, with gradients: its trainers for DPO, KTO, CPO (SimPO), ORPO."""

import sys
from collections import defaultdict
from types import SimpleNamespace

import torch


def stub(**settings) -> SimpleNamespace:
    """A trainer that holds nothing but what its loss reads."""
    one_process = SimpleNamespace(
        device=torch.device("cpu"), num_processes=1, gather=lambda x: x, gather_for_metrics=lambda x: x
    )
    return SimpleNamespace(
        model=SimpleNamespace(training=False),
        accelerator=one_process,
        aux_loss_enabled=False,
        precompute_ref_logps=True,
        _metrics=defaultdict(lambda: defaultdict(list)),
        _total_train_tokens=0,
        _tp_size=1,
        **settings,
    )


def outputs_of(logp: torch.Tensor, mask: torch.Tensor) -> SimpleNamespace:
    """What the trainers take from a model: log-probabilities without the first column, 0 off the answers."""
    logp, nothing = torch.where(mask[:, 1:] == 1, logp, 0.0), torch.zeros_like(logp)
    return SimpleNamespace(
        log_probs=logp, entropy=nothing, mean_logits=nothing, is_top1=nothing.bool(), log_sum_sq_probs=nothing
    )


def main(questions: str, answers: str) -> None:
    """Call the trainers' losses on such an object."""
    from trl.experimental.cpo import CPOTrainer
    from trl.experimental.orpo import ORPOTrainer
    from trl.trainer.dpo_trainer import DPOTrainer
    from trl.trainer.kto_trainer import KTOTrainer

    q = torch.load(questions, weights_only=True)
    beta, flip_rate = float(q["kl_weight"]), float(q["flip_rate"])
    mask = q["mask"].long()  # (2B, S), chosen rows first
    logp = q["logp"].requires_grad_()  # (2B, S − 1)
    batch = {
        "input_ids": torch.zeros_like(mask),
        "attention_mask": torch.ones_like(mask),
        "completion_mask": mask,
    }
    reference = dict(zip(("ref_chosen_logps", "ref_rejected_logps"), q["logp_ref"].chunk(2), strict=True))
    found = {}

    def keep(name: str, loss: torch.Tensor, leaf: torch.Tensor) -> None:
        (gradient,) = torch.autograd.grad(loss.sum(), leaf)
        found[name], found[f"{name}_gradient"] = loss.detach(), gradient

    for kind in ("sigmoid", "hinge", "ipo", "robust", "sigmoid_norm"):
        self = stub(
            ld_alpha=None,
            f_divergence_type="reverse_kl",
            loss_types=[kind],
            loss_weights=[1.0],
            beta=beta,
            label_smoothing=flip_rate,
            use_weighting=False,
        )
        keep(
            kind,
            DPOTrainer._compute_loss(self, lambda **_: outputs_of(logp, mask), {**batch, **reference}, False),
            logp,
        )

    for name in ("kl_logp", "kl_logp_low"):  # the mean of the second is below the reference's
        self = stub(
            calculate_KL=True,
            _compute_kl_logps=lambda model, batch, name=name: q[name],
            loss_type="kto",
            beta=beta,
            desirable_weight=float(q["desirable_weight"]),
            undesirable_weight=float(q["undesirable_weight"]),
        )
        known = {"label": q["desirable"], "ref_logps": q["logp_ref"], "ref_KL_logps": q["kl_logp_ref"]}
        keep(
            name,
            KTOTrainer._compute_loss(self, lambda **_: outputs_of(logp, mask), {**batch, **known}, False),
            logp,
        )

    pair = q["pair"].requires_grad_()  # (2, B): sums, means or log-ratios, as the loss wants
    for kind, smoothing in (("sigmoid", flip_rate), ("ipo", 0.0), ("hinge", 0.0), ("simpo", 0.0)):
        settings = {"loss_type": kind, "beta": beta, "label_smoothing": smoothing}
        self = stub(alpha=0.0, simpo_gamma=float(q["margin"]), **settings)
        keep(f"cpo_{kind}", CPOTrainer.cpo_loss(self, *pair)[0], pair)
    keep("orpo", -ORPOTrainer.odds_ratio_loss(stub(beta=1.0), *pair)[0], pair)
    torch.save(found, answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
