"""GRPO beside TRL's: TRL learns from the answers that our policy wrote, and the two must stay one policy.

Two programs that sample draw other answers, even with one seed, and their curves agree only on average. So our
training goes first and keeps what it drew; TRL's `rollout_func` gives the same answers back, iteration by
iteration. While the two policies are the same up to rounding these answers are TRL's own as much as ours, and
nothing in its loss knows where they came from: it asks its own model how likely each was when it was drawn.

What TRL 1.16 has to be told besides: `loss_type="grpo"` (the default is DAPO's average over all tokens), and
`use_bias_correction_kl=False` (the default multiplies k3 by the ratio, which gives it another gradient). With
a KL weight above 0 it loads the reference again from the folder that the policy came from.

The loss alone proves little: on the first step of a draw it is 0 plus the KL term, whatever is learned. With
two epochs on a draw the ratio is not 1 on the second, and the gradient's norm tells of both.
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from rlhf_mini.chapters.real.beside_trl import (
    Beside,
    Shared,
    Side,
    handed_over,
    loaded,
    side_of,
    trained,
    trl_arguments,
    weights_of,
)
from rlhf_mini.data.handover import require_package
from rlhf_mini.data.tokenizer import encode_prompt
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.answers import Drawing, text_score
from rlhf_mini.methods.group_methods import grpo_method
from rlhf_mini.methods.groups import Groups
from rlhf_mini.methods.grpo import GRPOConfig, grpo
from rlhf_mini.methods.reward_parts import Part
from rlhf_mini.models import copy_of, freeze

Reward = Callable[[str, str], float]  # a prompt and an answer, in words


@dataclass(frozen=True, kw_only=True)
class GroupShared:
    """What both sides of GRPO are told.

    Attributes:
        iterations: of drawing and learning.
        prompts: asked in each; `samples` answers to each of them, of at most `longest` tokens.
        epochs: passes over a draw, each of one step on all its answers.
        clip_range: ε.
        kl_weight: β, above 0 or 0.
        optimizer: as `Shared` has it.
        seed: of prompts and draws.
    """

    iterations: int = 4
    prompts: int = 4
    samples: int = 4
    longest: int = 24
    epochs: int = 2
    clip_range: float = 0.2
    kl_weight: float = 0.05
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=1e-3, weight_decay=0.1, final_fraction=0.0)
    )
    seed: int = 0

    @property
    def common(self) -> Shared:
        """What is told to all methods alike; a step is on all answers of a draw. Errors are those of
        `Shared`."""
        return Shared(batch=self.prompts * self.samples, optimizer=self.optimizer, seed=self.seed)

    @property
    def config(self) -> GRPOConfig:
        """The same as our method takes it."""
        return GRPOConfig(
            iterations=self.iterations,
            prompts=self.prompts,
            drawing=Drawing(samples=self.samples, temperature=1.0, max_new_tokens=self.longest),
            minibatch=self.prompts * self.samples,
            epochs=self.epochs,
            optimizer=self.optimizer,
            kl_weight=self.kl_weight,
        )


@dataclass(frozen=True)
class Draw:
    """The answers of one iteration, those to one prompt one after the other, and their rewards, as we saw
    them."""

    prompts: list[list[int]]
    answers: list[list[int]]
    logps: list[list[float]]
    rewards: list[float]


def grpo_beside_trl(
    start: Path,
    prompts: Sequence[str],
    reward: Reward,
    *,
    shared: GroupShared,
    told: Mapping[str, Any] | None = None,
) -> Beside:
    """GRPO of the policy saved at `start`, which is its reference too, twice on the same answers.

    `reward` is given a prompt and an answer in words. `told` are further arguments of TRL's configuration.
    Raises ImportError, saying what to install, where TRL is missing.
    """
    require_package("accelerate")
    require_package("trl")
    began = weights_of(loaded("grpo", start)[0])
    ours, draws = our_grpo(start, prompts, reward, shared=shared)
    return Beside(ours, trl_replaying(start, prompts, reward, draws, shared=shared, told=told), began)


def our_grpo(
    start: Path, prompts: Sequence[str], reward: Reward, *, shared: GroupShared
) -> tuple[Side, list[Draw]]:
    """Our training, and what it drew."""
    began = time.perf_counter()
    policy, tokenizer = loaded("grpo", start)
    draws: list[Draw] = []
    steps: list[dict[str, float]] = []
    setup = time.perf_counter() - began
    grpo(
        policy,
        freeze(copy_of(policy)) if shared.kl_weight > 0 else None,
        tokenizer,
        [encode_prompt(tokenizer, prompt) for prompt in prompts],
        {"reward": Part(text_score(tokenizer, reward))},
        grpo_method(clip_range=shared.clip_range),
        config=shared.config,
        generator=shared.common.generator(),
        hooks=[lambda step, entry: steps.append(entry)],
        on_groups=lambda iteration, groups, metrics: draws.append(_kept(groups)),
    )
    return side_of(steps, setup, policy), draws


def _kept(groups: Groups) -> Draw:
    rows = groups.answers.sequences
    each = [
        *zip(rows.tokens, rows.mask & ~rows.response, rows.response, groups.answers.logp_old, strict=True)
    ]
    return Draw(
        prompts=[tokens[prompt].tolist() for tokens, prompt, _, _ in each],
        answers=[tokens[response].tolist() for tokens, _, response, _ in each],
        logps=[logp[response].tolist() for _, _, response, logp in each],
        rewards=groups.rewards.tolist(),
    )


def trl_replaying(
    start: Path,
    prompts: Sequence[str],
    reward: Reward,
    draws: Sequence[Draw],
    *,
    shared: GroupShared,
    told: Mapping[str, Any] | None = None,
) -> Side:
    """TRL's training on answers that were drawn already, one draw an iteration.

    Raises AssertionError if its reward of an answer is not what it was when we drew it.
    """
    turn = iter(draws)
    current: list[Draw] = []

    def replay(asked: list[Any], trainer: Any) -> dict[str, Any]:
        draw = next(turn)
        current[:] = [draw]
        return {"prompt_ids": draw.prompts, "completion_ids": draw.answers, "logprobs": draw.logps}

    def as_drawn(prompts: list[Any], completions: list[Any], **given: Any) -> list[float]:
        found = _in_words(reward, prompts, completions)
        assert torch.allclose(torch.tensor(found), torch.tensor(current[0].rewards)), "the rewards differ"
        return found

    tokenizer = AutoTokenizer.from_pretrained(start)
    texts = {tuple(encode_prompt(tokenizer, prompt)): prompt for prompt in prompts}
    asked = [texts[tuple(ids)] for draw in draws for ids in draw.prompts[:: shared.samples]]
    return _trl(start, asked, as_drawn, shared=shared, told=told, rollout_func=replay)


def trl_drawing(
    start: Path,
    prompts: Sequence[str],
    reward: Reward,
    *,
    shared: GroupShared,
    told: Mapping[str, Any] | None = None,
) -> Side:
    """TRL's training on answers that it draws itself, with `generate`: for its seconds and its memory.

    Prompts are asked in the given order, as many as there are iterations for; the curve is another draw's.
    """
    needed = shared.iterations * shared.prompts
    asked = [prompts[place % len(prompts)] for place in range(needed)]

    def scored(prompts: list[Any], completions: list[Any], **given: Any) -> list[float]:
        return _in_words(reward, prompts, completions)

    return _trl(start, asked, scored, shared=shared, told=told)


def _trl(
    start: Path,
    asked: Sequence[str],
    reward: Callable[..., list[float]],
    *,
    shared: GroupShared,
    told: Mapping[str, Any] | None,
    **hooks: Any,
) -> Side:
    trl, began = require_package("trl"), time.perf_counter()
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(start)
    rows = [{"prompt": one} for one in asked]
    with tempfile.TemporaryDirectory() as folder:
        arguments = trl_arguments(shared.common, steps=shared.config.steps, folder=folder) | {
            "num_generations": shared.samples,
            "max_completion_length": shared.longest,
            "num_iterations": shared.epochs,
            "steps_per_generation": 1,
            "shuffle_dataset": False,
            "loss_type": "grpo",
            "epsilon": shared.clip_range,
            "beta": shared.kl_weight,
            "use_bias_correction_kl": False,
        }
        return trained(
            lambda: trl.GRPOTrainer(
                str(start),
                reward_funcs=[reward],
                args=trl.GRPOConfig(**arguments | {**(told or {})}),
                train_dataset=handed_over(rows, tokenizer, trainer="trl.GRPOTrainer"),
                processing_class=tokenizer,
                **hooks,
            ),
            began,
        )


def _in_words(reward: Reward, prompts: Sequence[Any], completions: Sequence[Any]) -> list[float]:
    """The reward of each answer; messages as their words."""
    pairs = [
        tuple(each if isinstance(each, str) else each[-1]["content"] for each in pair)
        for pair in zip(prompts, completions, strict=True)
    ]
    return [float(reward(prompt, answer)) for prompt, answer in pairs]
