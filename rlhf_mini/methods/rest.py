"""ReST: grow a data set by drawing from the policy, improve the policy on the better part of it, and again.

Paper: Gulcehre et al. 2023, arXiv 2308.08998, Algorithm 1. A Grow draws answers and scores them once. Each of
its Improves filters the *same* answers at a higher threshold and goes on training, at a lower learning rate,
the policy that the Improve before it left: what is costly, sampling, is used several times. When an Improve
no longer raises the measured reward, the policy goes back to the best one, and a new Grow begins. The reward
is fixed.

Without an error of sampling or training only a Grow's last threshold would matter (`exact.grow_and_improve`).

Simplifications: the loss is that of behaviour cloning, with which the paper found the best rewards; the
optimizer starts anew in each Improve.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_mini.data.chat import pack_texts
from rlhf_mini.methods.answers import Answers, Drawing, PromptsOf, draw_answers
from rlhf_mini.methods.mixed_batches import fine_tune_mixed
from rlhf_mini.methods.raft import OnRound
from rlhf_mini.methods.rejection_sampling import Chosen, Score, pooled
from rlhf_mini.methods.sft import SFTConfig

Evaluate = Callable[[PreTrainedModel], float]


@dataclass(frozen=True)
class RewardScale:
    """Rewards from `low` to `high`, as numbers from 0 to 1; what lies outside is set to the nearer end.

    Fixed once, so that a threshold means the same in every Grow.

    >>> RewardScale(low=-1.0, high=3.0)(torch.tensor([-2.0, 0.0, 3.0])).tolist()
    [0.0, 0.25, 1.0]
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not -math.inf < self.low < self.high < math.inf:
            raise ValueError(f"low must be below high and both finite, got {self}")

    @classmethod
    def of(cls, rewards: Tensor) -> "RewardScale":
        """From the lowest to the highest of these rewards."""
        return cls(float(rewards.min()), float(rewards.max()))

    def __call__(self, rewards: Tensor) -> Tensor:
        """The rewards on this scale, of the same shape."""
        return ((rewards - self.low) / (self.high - self.low)).clamp(0, 1)


class PromptScale(RewardScale):
    """Rewards less the mean of the answers to the same prompt, as numbers from 0 to 1; rewards are (N, K).

    On one scale for all prompts an answer competes with those to other prompts; here with its own prompt's.

    >>> PromptScale(low=-2.0, high=2.0)(torch.tensor([[0.0, 2.0], [7.0, 7.0]])).tolist()
    [[0.25, 0.75], [0.5, 0.5]]
    """

    def __call__(self, rewards: Tensor) -> Tensor:
        """What the rewards are above their row's mean, on this scale, of the same shape."""
        return super().__call__(rewards - rewards.mean(1, keepdim=True))


@dataclass(frozen=True, kw_only=True)
class ReSTConfig:
    """`grows` Grow steps, each with an Improve for each of the `thresholds`.

    - `thresholds`: on rewards scaled to [0, 1], strictly above which an answer is kept; rising.
    - `sft`: the training of one Improve.
    - `rate_decay`: each Improve of a Grow has this share of the learning rate of the one before.
    """

    grows: int
    thresholds: tuple[float, ...]
    drawing: Drawing
    sft: SFTConfig
    rate_decay: float = 1.0

    def __post_init__(self) -> None:
        rising = list(self.thresholds) == sorted(set(self.thresholds))
        if not self.thresholds or not rising or self.thresholds[-1] >= 1:
            raise ValueError(f"thresholds must rise and stay below 1, got {self.thresholds}")
        if self.grows < 1 or not 0 < self.rate_decay <= 1:
            raise ValueError(
                f"grows must be at least 1 and rate_decay in (0, 1], got {self.grows} and {self.rate_decay}"
            )

    def improve(self, number: int) -> SFTConfig:
        """The training of the Improve numbered `number`, from 0, of a Grow."""
        rate = self.sft.optimizer.learning_rate * self.rate_decay**number
        return replace(self.sft, optimizer=replace(self.sft.optimizer, learning_rate=rate))


def rest(
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts_of: PromptsOf,
    score: Score,
    *,
    config: ReSTConfig,
    generator: torch.Generator,
    demonstrations: Answers | None = None,
    scale: RewardScale | None = None,
    evaluate: Evaluate | None = None,
    on_improve: OnRound = lambda number, entry: None,
) -> list[dict[str, float]]:
    """Train `policy` in place; returns one log entry an Improve.

    - `prompts_of`: the prompts of each Grow, from 1.
    - `demonstrations`: the original data set with its rewards, which joins every Grow's answers and is
      filtered with them; None leaves it out.
    - `scale`: how rewards become numbers from 0 to 1; None takes the range of the first Grow's answers.
    - `evaluate`: the reward that is watched, on prompts of its own. An Improve that does not raise it above
      the best so far is undone and ends its Grow. None stops nothing.
    - `on_improve`: called after each Improve; what it adds to the entry stays in the log.

    An entry holds `grow` and `improve` (from 1 and 0), `threshold`, the number and share `kept` and
    `kept_share`, the mean `reward` of the Grow's answers and `kept_reward` of what was kept, `learning_rate`,
    the last `loss`, and with `evaluate` the `value` and whether it was `accepted`. An Improve that keeps
    fewer answers than a batch ends its Grow without training, and has no entry; raises ValueError if it is
    the first of all.
    """
    log: list[dict[str, float]] = []
    best = -math.inf if evaluate is None else evaluate(policy)
    for grow in range(1, config.grows + 1):
        answers = draw_answers(
            policy, tokenizer, prompts_of(grow), score, config=config.drawing, generator=generator
        )
        scale = scale or RewardScale.of(answers.rewards)
        for number, threshold in enumerate(config.thresholds):
            chosen, facts = _filtered(answers, demonstrations, scale, threshold)
            if len(chosen) < config.sft.batch:
                break
            before = None if evaluate is None else copy.deepcopy(policy.state_dict())
            settings = config.improve(number)
            packed = pack_texts(tokenizer, chosen.prompts, chosen.answers)
            history = fine_tune_mixed(policy, packed, config=settings, generator=generator)
            entry = {"grow": float(grow), "improve": float(number), "threshold": threshold, **facts}
            entry |= {"learning_rate": settings.optimizer.learning_rate, "loss": history[-1]["loss"]}
            log.append(entry)
            if evaluate is not None and before is not None:
                entry["value"] = evaluate(policy)
                entry["accepted"] = float(entry["value"] > best)
                best = max(best, entry["value"])
                if not entry["accepted"]:
                    policy.load_state_dict(before)
            on_improve(len(log), entry)
            if not entry.get("accepted", 1.0):
                break
        if not log:
            raise ValueError(
                f"{len(chosen)} answers lie above the first threshold {config.thresholds[0]}, and a batch is "
                f"{config.sft.batch}: draw more, or begin with a lower threshold"
            )
    return log


def _filtered(
    answers: Answers, demonstrations: Answers | None, scale: RewardScale, threshold: float
) -> tuple[Chosen, dict[str, float]]:
    """What lies above the threshold, of all that there is, and its numbers."""
    parts = [answers] if demonstrations is None else [answers, demonstrations]
    masks = [scale(part.rewards) > threshold for part in parts]
    chosen = pooled([part.kept(mask) for part, mask in zip(parts, masks, strict=True)])
    rewards = torch.cat([part.rewards[mask] for part, mask in zip(parts, masks, strict=True)])
    facts = {
        "kept": float(len(chosen)),
        "kept_share": len(chosen) / sum(part.rewards.numel() for part in parts),
        "reward": float(answers.rewards.mean()),
        "kept_reward": float(rewards.mean()) if len(chosen) else math.nan,
    }
    return chosen, facts
