"""A reference that follows the policy: the moving average of its weights, as the anchor of the KL penalty.

A fixed reference holds the policy at the same place for ever; a penalty strong enough to be safe is then
strong enough to stop it. An anchor that follows slowly holds back what moves fast.

Paper: Ramé et al. 2024 (WARP), arXiv 2406.16768, its first step.
"""

import torch
from transformers import PreTrainedModel

from rlhf_mini.loop import Hook
from rlhf_mini.methods.dpo import require_apart


def moving_anchor(policy: PreTrainedModel, anchor: PreTrainedModel, *, rate: float) -> Hook:
    """A hook of the training loop that moves the anchor's weights towards the policy's after every step.

    ``θ_anchor ← (1 − μ) θ_anchor + μ θ``, in place: whoever holds `anchor` as a reference measures KL from
    the moved one at the next draw.

    - `policy`: the model in training; `anchor`: a model of its kind with weights of its own, usually a copy.
    - `rate`: μ, from 0, which leaves the anchor where it is, to 1, which makes it the policy at every step.

    Raises ValueError if the rate is not from 0 to 1, the two share their weights, or these differ in names
    or shapes.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"the rate of a moving anchor must be from 0 to 1, got {rate}")
    require_apart(policy, anchor)
    moving, followed = dict(anchor.named_parameters()), dict(policy.named_parameters())
    if {name: one.shape for name, one in moving.items()} != {n: one.shape for n, one in followed.items()}:
        raise ValueError("the anchor must be a model of the policy's kind: names or shapes of weights differ")

    @torch.no_grad()
    def follow(step: int, entry: dict[str, float]) -> None:
        for name, weight in moving.items():
            weight.lerp_(followed[name].to(weight), rate)

    return follow
