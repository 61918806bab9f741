"""TRL 0.11.4's PPO: rewards, whitened advantages, returns, losses with their gradients, statistics."""

import sys
from types import SimpleNamespace

import torch


def main(questions: str, answers: str) -> None:
    """Call the trainer's methods on an object that holds nothing but the settings."""
    from trl.trainer.ppo_trainer import PPOTrainer

    q = torch.load(questions, weights_only=True)
    number = {name: float(q[name]) for name in ("discount", "gae_lambda", "clip_range", "kl_weight")}
    config = SimpleNamespace(
        gamma=number["discount"],
        lam=number["gae_lambda"],
        cliprange=number["clip_range"],
        cliprange_value=number["clip_range"],
        vf_coef=1.0,
        whiten_rewards=False,
        ratio_threshold=1e9,
        kl_penalty="kl",
    )
    self = SimpleNamespace(config=config, kl_ctl=SimpleNamespace(value=number["kl_weight"]))
    self._kl_penalty = lambda logp, logp_ref: PPOTrainer._kl_penalty(self, logp, logp_ref)
    mask = q["mask"].long()
    rewards, _, _ = PPOTrainer.compute_rewards(self, q["scores"], q["logp_old"], q["logp_ref"], mask)
    _, whitened, returns = PPOTrainer.compute_advantages(self, q["values_old"], rewards, mask)
    logp, values = q["logp"].requires_grad_(), q["values"].requires_grad_()
    old = (q["logp_old"], q["values_old"])
    policy, value, statistics = PPOTrainer.loss(
        self, *old, q["logits"], values, logp, mask, q["advantages"], q["returns"]
    )
    found = {"rewards": rewards, "whitened": whitened, "returns": returns, "policy": policy, "value": value}
    (found["policy_gradient"],) = torch.autograd.grad(policy, logp)
    (found["value_gradient"],) = torch.autograd.grad(value, values)
    for name in ("policy/entropy", "policy/approxkl", "policy/policykl", "policy/clipfrac"):
        found[name.split("/")[1]] = statistics[name]
    torch.save({name: tensor.detach() for name, tensor in found.items()}, answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
