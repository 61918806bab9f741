"""Online DPO on the best and the worst of K answers, as a reward model orders them.

Report: Yang et al. 2024 (Qwen2), arXiv 2407.10671, §4.3: "in each episode" several answers are sampled from
the current policy, and those that a reward model prefers most and least form a pair for DPO. `online_dpo`
draws two answers and asks a judge; this draws K and asks for scores. The reward model is used to choose,
not to pay: by how much the best is better is not learned.

Departures: the report gives no number, and does not say whether the reference is renewed; here it stays.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_mini.loop import Hook, OptimizerConfig, Training
from rlhf_mini.methods.answers import Drawing, draw_answers
from rlhf_mini.methods.dpo import Objective, require_apart
from rlhf_mini.methods.online_dpo import take_step
from rlhf_mini.methods.rollouts import Score
from rlhf_mini.methods.self_rewarding import Preferred, pack_preferred, preferred


@dataclass(frozen=True, kw_only=True)
class BestWorstConfig:
    """`episodes` episodes of `prompts` prompts, each answered as `drawing` says; steps on `batch` pairs."""

    episodes: int
    prompts: int
    drawing: Drawing
    batch: int
    optimizer: OptimizerConfig

    def __post_init__(self) -> None:
        if min(self.episodes, self.prompts, self.batch) < 1 or self.drawing.samples < 2:
            raise ValueError(
                "episodes, prompts and batch must be at least 1, and two answers a prompt at least, got "
                f"{self}"
            )

    @property
    def steps(self) -> int:
        """The most steps of the optimizer that there can be."""
        return self.episodes * -(-self.prompts // self.batch)


def best_worst_dpo(
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    score: Score,
    objective: Objective,
    *,
    config: BestWorstConfig,
    generator: torch.Generator,
    hooks: Sequence[Hook] = (),
    on_episode: Callable[[int, dict[str, float]], None] = lambda number, entry: None,
) -> list[dict[str, float]]:
    """Train `policy` in place; returns one entry an episode.

    Prompts are drawn at random in every episode, without repetition inside it where there are enough. A
    prompt whose answers all score the same gives no pair. `on_episode(number, entry)` is called after each,
    the first being 0.

    An entry has `score`, `best` and `worst`, means of the scores, and `pairs`; where there were any, also
    `loss` and `lead`, means over the episode's steps. The policy is left in eval mode. Raises ValueError
    without prompts, if the reference shares its weights with the policy, or on a score that is not finite.
    """
    if not prompts:
        raise ValueError("online DPO needs prompts to answer; there are none")
    require_apart(policy, reference)
    policy.eval()  # no dropout, as in sampling: what learns is what wrote
    log = []
    with Training(
        policy, optimizer=config.optimizer, steps=config.steps, hooks=hooks, description="online DPO"
    ) as training:
        for number in range(config.episodes):
            asked = torch.randperm(len(prompts), generator=generator)[: config.prompts].tolist()
            answers = draw_answers(
                policy,
                tokenizer,
                [prompts[place] for place in asked],
                score,
                config=config.drawing,
                generator=generator,
            )
            pairs, steps = preferred(answers), []
            for start in range(0, len(pairs), config.batch):
                some = pack_preferred(tokenizer, _part(pairs, start, config.batch))
                steps.append(take_step(training, policy, reference, some, objective))
            entry = {
                "score": float(answers.rewards.mean()),
                "best": float(answers.rewards.amax(1).mean()),
                "worst": float(answers.rewards.amin(1).mean()),
                "pairs": float(len(pairs)),
            }
            for name in ("loss", "lead") if steps else ():
                entry[name] = sum(step[name] for step in steps) / len(steps)
            log.append(entry)
            on_episode(number, entry)
    return log


def _part(pairs: Preferred, start: int, count: int) -> Preferred:
    chosen = slice(start, start + count)
    return Preferred(pairs.prompts[chosen], pairs.chosen[chosen], pairs.rejected[chosen])
