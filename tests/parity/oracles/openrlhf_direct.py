"""OpenRLHF 0.11's loss on pairs: DPO, with smoothed labels, and IPO; means over the batch, with gradients."""

import importlib.util
import sys
from types import ModuleType

import torch


def main(questions: str, answers: str) -> None:
    """Import the module of losses alone: its package loads DeepSpeed, Ray and vLLM, and this needs none."""
    sys.modules["deepspeed"] = ModuleType("deepspeed")
    (folder,) = importlib.util.find_spec("openrlhf").submodule_search_locations
    models = ModuleType("openrlhf.models")
    models.__path__ = [f"{folder}/models"]
    sys.modules["openrlhf.models"] = models
    from openrlhf.models.loss import DPOLoss

    q = torch.load(questions, weights_only=True)
    beta, flip_rate = float(q["kl_weight"]), float(q["flip_rate"])
    logp = q["logp"].requires_grad_()
    found = {}
    for name, loss in (
        ("dpo", DPOLoss(beta)),
        ("cdpo", DPOLoss(beta, label_smoothing=flip_rate)),
        ("ipo", DPOLoss(beta, ipo=True)),
    ):
        mean, *_ = loss(*logp.chunk(2), *q["logp_ref"].chunk(2))
        found[name] = mean.detach()
        (found[f"{name}_gradient"],) = torch.autograd.grad(mean, logp)
    torch.save(found, answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
