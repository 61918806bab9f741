"""What methods that learn from their own samples share: asking the reward, pricing KL, watching a rollout."""

from collections.abc import Callable

import torch
from torch import Tensor

from rlhf_mini.batch import Rollout, Sequences
from rlhf_mini.estimators import kl_k1, kl_k3
from rlhf_mini.tensors import last_true_index, masked_sum

Score = Callable[[Sequences], Tensor]  # sequences -> (B,) scores, higher is better


class AdaptiveKL:
    """Ziegler et al. 2019, §2.2: move the KL weight until the KL sits at the target.

    error = clip(KL / target − 1, ±0.2);  weight ← weight · (1 + error · episodes / horizon).

    >>> controller = AdaptiveKL(weight=0.1, target=6.0, horizon=100)
    >>> controller.update(kl=12.0, episodes=10)
    >>> round(controller.weight, 4)
    0.102
    """

    def __init__(self, *, weight: float, target: float | None, horizon: int) -> None:
        self.weight, self.target, self.horizon = weight, target, horizon

    def update(self, *, kl: float, episodes: int) -> None:
        """Adapt to the measured KL (nats per sequence); without a target the weight stays."""
        if self.target is not None:
            error = min(max(kl / self.target - 1, -0.2), 0.2)
            self.weight *= 1 + error * episodes / self.horizon


def scored(score: Score, sequences: Sequences) -> Tensor:
    """What the reward says of each answer, (B,), on the answers' device.

    Raises ValueError if it does not return one finite number for each answer.
    """
    scores = score(sequences)
    if scores.shape != (len(sequences),):
        raise ValueError(
            f"the reward must return one score for each of {len(sequences)} answers, shape "
            f"({len(sequences)},); it returned shape {tuple(scores.shape)}"
        )
    bad = (~torch.isfinite(scores)).nonzero().flatten().tolist()
    if bad:
        raise ValueError(
            f"the reward returned NaN or infinity for {len(bad)} of {len(sequences)} answers, the first in "
            f"row {bad[0]}; PPO would train on it. Make the reward finite for every text"
        )
    return scores.to(sequences.tokens.device)


def unfinished(sequences: Sequences, *, end_token: int) -> Tensor:
    """Which answers did not end in time, (B,) bool."""
    return sequences.tokens.gather(1, last_true_index(sequences.response)[:, None]).squeeze(1) != end_token


def rollout_metrics(rollout: Rollout, *, kl_weight: float, end_token: int) -> dict[str, float]:
    """What one rollout says of the policy, as means over its answers.

    The score before any penalty, KL to the reference (nats per sequence), length, and the finished share.
    """
    response = rollout.sequences.response
    cut_off = unfinished(rollout.sequences, end_token=end_token)
    return {
        "score": float(rollout.scores.mean()),
        "kl_k1": float(masked_sum(kl_k1(rollout.logp_old, rollout.logp_ref), response, dim=1).mean()),
        "kl_k3": float(masked_sum(kl_k3(rollout.logp_old, rollout.logp_ref), response, dim=1).mean()),
        "kl_weight": kl_weight,
        "length": float(response.sum(1).float().mean()),
        "finished": float((~cut_off).float().mean()),
    }
