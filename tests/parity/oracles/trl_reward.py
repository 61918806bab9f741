"""TRL 1.16's reward trainer, token log-probabilities and entropy."""

import sys
from collections import defaultdict
from types import SimpleNamespace

import torch


def main(questions: str, answers: str) -> None:
    """Call the trainer's loss on an object that holds nothing but what it reads."""
    from trl.trainer.reward_trainer import RewardTrainer
    from trl.trainer.utils import entropy_from_logits, selective_log_softmax

    q = torch.load(questions, weights_only=True)
    same = SimpleNamespace(gather=lambda x: x, gather_for_metrics=lambda x: x)
    self = SimpleNamespace(
        model=SimpleNamespace(training=False),
        args=SimpleNamespace(center_rewards_coefficient=None),
        accelerator=same,
        _metrics=defaultdict(lambda: defaultdict(list)),
        _total_train_tokens=0,
        _tp_size=1,
    )
    scores = torch.cat([q["chosen"], q["rejected"]])[:, None].requires_grad_()
    found = {}
    for name, inputs in (("plain", {}), ("margin", {"margin": q["margin"]})):
        outputs = SimpleNamespace(logits=scores)
        loss = RewardTrainer.compute_loss(self, lambda outputs=outputs, **inputs: outputs, dict(inputs))
        found[name] = loss.detach()
        found[f"{name}_gradient"] = torch.autograd.grad(loss, scores)[0][:, 0]
    for temperature in (1.0, 0.7):
        found[f"logp_{temperature}"] = selective_log_softmax(
            q["logits"][:, :-1].clone(), q["tokens"][:, 1:], temperature=temperature
        )
    found["entropy"] = entropy_from_logits(q["logits"])
    torch.save(found, answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
