"""OpenRLHF 0.11's PPO: token rewards, policy and value loss with their gradients, KL estimators."""

import importlib.util
import sys
from types import ModuleType

import torch


def main(questions: str, answers: str) -> None:
    """Import the two modules alone: their package loads DeepSpeed, Ray and vLLM, and these need none."""
    sys.modules["deepspeed"] = ModuleType("deepspeed")
    (folder,) = importlib.util.find_spec("openrlhf").submodule_search_locations
    models = ModuleType("openrlhf.models")
    models.__path__ = [f"{folder}/models"]
    sys.modules["openrlhf.models"] = models
    from openrlhf.models.loss import PolicyLoss, ValueLoss
    from openrlhf.models.utils import compute_approx_kl, compute_reward

    q = torch.load(questions, weights_only=True)
    mask, clip_range = q["mask"], float(q["clip_range"])
    logp, values = q["logp"].requires_grad_(), q["values"].requires_grad_()
    policy, clipped, *_ = PolicyLoss(clip_range, clip_range)(logp, q["logp_old"], q["advantages"], mask)
    value = ValueLoss(clip_range)(values, q["values_old"], q["returns"], mask)
    plain = ValueLoss(None)(values, q["values_old"], q["returns"], mask)
    found = {"policy": policy, "value": value, "plain": plain, "clipped": clipped}
    (found["policy_gradient"],) = torch.autograd.grad(policy, logp)
    (found["value_gradient"],) = torch.autograd.grad(value, values)
    for estimator in ("k1", "k2", "k3"):
        found[estimator] = compute_approx_kl(logp, q["logp_ref"], kl_estimator=estimator)
        (found[f"{estimator}_gradient"],) = torch.autograd.grad(found[estimator].sum(), logp)
    old_kl = compute_approx_kl(q["logp_old"], q["logp_ref"])
    found["rewards"] = compute_reward(q["scores"], float(q["kl_weight"]), old_kl, mask)
    torch.save({name: tensor.detach() for name, tensor in found.items()}, answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
