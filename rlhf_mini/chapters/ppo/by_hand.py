"""One iteration of PPO on three tokens, every number computed twice: by plain arithmetic, and by the library.

The tokens, probabilities and values are those of the drawing (`rlhf_mini.reader.three_tokens`); whitening and
the value loss, which the drawing leaves out, are carried through.
"""

import math

import torch

from rlhf_mini.estimators import gae, token_rewards, whiten
from rlhf_mini.losses import ppo_policy_loss, ppo_value_loss
from rlhf_mini.reader.three_tokens import (
    AFTER_A_STEP,
    CLIP_RANGE,
    GAE_LAMBDA,
    KL_WEIGHT,
    PROBABILITIES,
    REFERENCE,
    RESPONSE,
    SCORE,
    TOKENS,
    VALUES,
)

VALUES_AFTER = torch.tensor([[0.9, 0.9, 1.1]])  # once the value model has moved, the first by more than ε
NAMES = {
    "kl": "log π − log π_ref",
    "rewards": "reward r",
    "values": "value V",
    "deltas": "δ = r + V' − V",
    "advantages": "advantage Â",
    "returns": "target Â + V",
    "whitened": "whitened Â",
    "ratio": "ratio ρ after a step",
    "policy_loss": "clipped loss",
    "value_loss": "value loss",
}


def by_hand() -> dict[str, list[float]]:
    """Three numbers a row, one a token, by arithmetic on plain numbers."""
    pi, ref, after = ([float(p) for p in row[0]] for row in (PROBABILITIES, REFERENCE, AFTER_A_STEP))
    values, values_after = ([float(v) for v in row[0]] for row in (VALUES, VALUES_AFTER))

    # What every token costs, and the score on the last.
    kl = [math.log(p / q) for p, q in zip(pi, ref, strict=True)]
    rewards = [-KL_WEIGHT * nats for nats in kl]
    rewards[2] += float(SCORE)

    # Each step's surprise; behind the end there is nothing more to come.
    deltas = [rewards[0] + values[1] - values[0], rewards[1] + values[2] - values[1], rewards[2] - values[2]]
    advantages = [0.0, 0.0, deltas[2]]
    advantages[1] = deltas[1] + GAE_LAMBDA * advantages[2]
    advantages[0] = deltas[0] + GAE_LAMBDA * advantages[1]
    returns = [a + v for a, v in zip(advantages, values, strict=True)]

    # Mean 0 and variance 1 over the rollout, which here is one answer.
    mean = sum(advantages) / 3
    deviation = math.sqrt(sum((a - mean) ** 2 for a in advantages) / 3)
    whitened = [(a - mean) / deviation for a in advantages]

    # After a step of the optimizer: the two losses of the next minibatch.
    ratio = [new / old for new, old in zip(after, pi, strict=True)]
    policy_loss = [
        -min(r * a, min(max(r, 1 - CLIP_RANGE), 1 + CLIP_RANGE) * a)
        for r, a in zip(ratio, whitened, strict=True)
    ]
    value_loss = []
    for new, old, target in zip(values_after, values, returns, strict=True):
        held = min(max(new, old - CLIP_RANGE), old + CLIP_RANGE)
        value_loss.append(0.5 * max((new - target) ** 2, (held - target) ** 2))
    return {
        "kl": kl,
        "rewards": rewards,
        "values": values,
        "deltas": deltas,
        "advantages": advantages,
        "returns": returns,
        "whitened": whitened,
        "ratio": ratio,
        "policy_loss": policy_loss,
        "value_loss": value_loss,
    }


def by_library() -> dict[str, list[float]]:
    """The same rows from the library's functions."""
    logp, logp_ref, after = PROBABILITIES.log(), REFERENCE.log(), AFTER_A_STEP.log()
    nothing = torch.zeros(1)
    rewards = token_rewards(SCORE, logp, logp_ref, RESPONSE, kl_weight=KL_WEIGHT)
    advantages, returns = gae(rewards, VALUES, RESPONSE, discount=1.0, gae_lambda=GAE_LAMBDA)
    whitened = whiten(advantages, RESPONSE, shift_mean=True)
    rows = {
        "kl": -token_rewards(nothing, logp, logp_ref, RESPONSE, kl_weight=1.0),
        "rewards": rewards,
        "values": VALUES,
        "deltas": gae(rewards, VALUES, RESPONSE, discount=1.0, gae_lambda=0.0)[0],
        "advantages": advantages,
        "returns": returns,
        "whitened": whitened,
        "ratio": (after - logp).exp(),
        "policy_loss": ppo_policy_loss(after, logp, whitened, clip_range=CLIP_RANGE),
        "value_loss": ppo_value_loss(VALUES_AFTER, VALUES, returns, clip_range=CLIP_RANGE),
    }
    return {name: row[0].tolist() for name, row in rows.items()}


def told(rows: dict[str, list[float]]) -> str:
    """The rows to print: a name and three numbers a line, under the three tokens."""
    lines = [f"{'':22}" + "".join(f"{token:>9}" for token in TOKENS)]
    for name, row in rows.items():
        lines.append(f"{NAMES[name]:22}" + "".join(f"{number + 0.0:9.3f}" for number in row))
    return "\n".join(lines).replace("-0.000", " 0.000").replace("-", "−")
