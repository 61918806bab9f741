"""Expert iteration, as ReST-EM does it: keep what is right, and fine-tune the base model on it, each round
anew.

Paper: Singh et al. 2023, arXiv 2312.06585. The E-step draws K answers a prompt from the current policy and
keeps those that the checker calls right; the M-step fine-tunes the *base* model on them, never the current
policy. So drift does not add up over rounds, and a round's model is worth no more than the answers that it
was made of. A cap on the answers kept of one prompt stops easy problems from filling the data.

Simplifications: sampling is from the whole distribution, not its forty likeliest tokens; every round's
prompts are the caller's choice.
"""

from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_mini.data.chat import pack_texts
from rlhf_mini.methods.answers import Drawing, PromptsOf, at_most, draw_answers
from rlhf_mini.methods.mixed_batches import fine_tune_mixed
from rlhf_mini.methods.raft import OnRound
from rlhf_mini.methods.rejection_sampling import Score
from rlhf_mini.methods.sft import SFTConfig
from rlhf_mini.models import copy_of


@dataclass(frozen=True, kw_only=True)
class ExpertIterationConfig:
    """`rounds` of an E-step and an M-step.

    - `threshold`: an answer is right if its reward lies above it.
    - `most`: how many right answers to one prompt are kept, at most.
    """

    rounds: int
    drawing: Drawing
    sft: SFTConfig
    threshold: float = 0.5
    most: int = 10

    def __post_init__(self) -> None:
        if min(self.rounds, self.most) < 1:
            raise ValueError(f"rounds and most must be at least 1, got {self.rounds} and {self.most}")


def expert_iteration(
    base: PreTrainedModel,
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts_of: PromptsOf,
    score: Score,
    *,
    config: ExpertIterationConfig,
    generator: torch.Generator,
    on_round: OnRound = lambda number, entry: None,
) -> tuple[PreTrainedModel, list[dict[str, float]]]:
    """The last round's model, and one log entry a round; neither `base` nor `policy` is changed.

    - `base`: what every M-step fine-tunes a copy of.
    - `policy`: what the first E-step draws from; `base` itself, or a model fine-tuned on demonstrations.
    - `prompts_of`: the prompts of each round, from 1.
    - `on_round`: called after each round; what it adds to the entry stays in the log.

    An entry holds the share of `right` answers, that of prompts `solved` by at least one, the number `kept`,
    and the last `loss`. Raises ValueError if fewer answers are kept than fill a batch.
    """
    log: list[dict[str, float]] = []
    current = policy
    for number in range(1, config.rounds + 1):
        answers = draw_answers(
            current, tokenizer, prompts_of(number), score, config=config.drawing, generator=generator
        )
        right = answers.rewards > config.threshold
        chosen = answers.kept(at_most(right, config.most))
        if len(chosen) < config.sft.batch:
            raise ValueError(
                f"round {number}: {len(chosen)} right answers of {right.numel()} were kept, and a batch is "
                f"{config.sft.batch}: begin with a better policy, easier prompts or more samples"
            )
        current = copy_of(base)
        history = fine_tune_mixed(
            current,
            pack_texts(tokenizer, chosen.prompts, chosen.answers),
            config=config.sft,
            generator=generator,
        )
        log.append(
            {
                "right": float(right.float().mean()),
                "solved": float(right.any(1).float().mean()),
                "kept": float(len(chosen)),
                "loss": history[-1]["loss"],
            }
        )
        on_round(number, log[-1])
    return current, log
