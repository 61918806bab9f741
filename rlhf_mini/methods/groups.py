"""Groups of answers to the same prompts, with all that learning from them needs.

`draw_scored` draws G answers to each of N prompts and asks the reward, `estimated` compares the answers of a
group. What comes out, `Groups`, is constant: `methods.grpo` makes several steps on it and forgets it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_mini.batch import Sequences
from rlhf_mini.data.chat import draw
from rlhf_mini.devices import autocast
from rlhf_mini.estimators import kl_k1, kl_k3, without_spread
from rlhf_mini.methods.answers import Drawing
from rlhf_mini.methods.group_methods import GroupMethod
from rlhf_mini.methods.reward_parts import PASSES, Part, score_parts, weighted_sum
from rlhf_mini.methods.rollouts import unfinished
from rlhf_mini.models import response_logp
from rlhf_mini.models.sampler import Samples
from rlhf_mini.tensors import masked_sum, require_finite, require_same_shape

Prompts = Iterator[Sequence[int]]


class Scored(NamedTuple):
    """Answers, those to one prompt one after the other, and what the reward says of them.

    - `scores`: what each part of the reward said, by name; (B,).
    - `rewards`: (B,), their weighted sum.
    - `drawn`: how many answers were drawn for it, those thrown away included.
    """

    samples: Samples
    scores: dict[str, Tensor]
    rewards: Tensor
    drawn: int

    def rows(self, index: Tensor) -> "Scored":
        """The chosen answers, in the order chosen, without columns that are padding in all of them."""
        width = int(self.samples.mask[index].sum(1).max())
        samples = Samples(*(field[index][:, :width] for field in self.samples))
        scores = {name: each[index] for name, each in self.scores.items()}
        return Scored(samples, scores, self.rewards[index], self.drawn)


@dataclass(frozen=True, eq=False)
class Graded:
    """Answers with what a step on them needs; constants. Rows may be taken in any order.

    - `sequences`: the prompts with what was written after them.
    - `logp_old`, `logp_ref`: (B, T), nats per token, under the policy that wrote them and under the
      reference; without a reference `logp_ref` is `logp_old`, so that their divergence is 0.
    - `advantages`: (B,), one for each answer.

    Raises ValueError on a wrong shape, a number that counts and is not finite, or one that requires a
    gradient.
    """

    sequences: Sequences
    logp_old: Tensor
    logp_ref: Tensor
    advantages: Tensor

    def __post_init__(self) -> None:
        tokens, response = self.sequences.tokens, self.sequences.response
        require_same_shape(tokens=tokens, logp_old=self.logp_old, logp_ref=self.logp_ref)
        require_finite(response, logp_old=self.logp_old, logp_ref=self.logp_ref)
        if self.advantages.shape != (len(self),) or not torch.isfinite(self.advantages).all():
            raise ValueError(
                f"advantages must be ({len(self)},), finite, one an answer; got "
                f"{tuple(self.advantages.shape)}"
            )
        numbers = (self.logp_old, self.logp_ref, self.advantages)
        if any(number.requires_grad for number in numbers):
            raise ValueError("graded answers hold constants, and one of them requires a gradient: detach it")

    def __len__(self) -> int:
        return len(self.sequences)

    def rows(self, index: Tensor) -> "Graded":
        """The chosen answers, in the order chosen, without columns that are padding in all of them."""
        sequences = self.sequences.rows(index)
        width = sequences.tokens.shape[1]
        logp_old, logp_ref = (logp[index][:, :width] for logp in (self.logp_old, self.logp_ref))
        return Graded(sequences, logp_old, logp_ref, self.advantages[index])


@dataclass(frozen=True, eq=False)
class Groups:
    """One draw: `group` answers to each prompt, one after the other.

    - `answers`: all of them, with their advantages.
    - `scores`: what each part of the reward said, by name, (B,).
    - `rewards`: (B,), what the advantages were computed from, the price of KL included.
    - `group`: G, answers a prompt.
    - `drawn`: how many answers were drawn for it, those thrown away included.

    Raises ValueError if the answers of a group do not share their prompt, or the numbers do not fit.
    """

    answers: Graded
    scores: dict[str, Tensor]
    rewards: Tensor
    group: int
    drawn: int

    def __post_init__(self) -> None:
        if self.group < 2 or len(self) % self.group:
            raise ValueError(f"{len(self)} answers do not divide into groups of {self.group}, at least 2")
        for name, numbers in (("rewards", self.rewards), *self.scores.items()):
            if numbers.shape != (len(self),):
                raise ValueError(f"{name} must be ({len(self)},), one an answer; got {tuple(numbers.shape)}")
        _require_shared_prompts(self.answers.sequences, self.group)

    def __len__(self) -> int:
        return len(self.answers)

    def by_prompt(self, numbers: Tensor) -> Tensor:
        """One number an answer, (B,), as (prompts, G)."""
        return numbers.view(-1, self.group)

    def metrics(self, *, end_token: int) -> dict[str, float]:
        """What one draw says of the policy, as means over its answers.

        `reward`, and `score_…` of each part; `pass_rate`, the share of answers of which the *first* part says
        more than ½, and `pass_any`, the share of prompts with at least one such answer; `without_spread`, the
        share of groups that teach nothing; `kl_k1` and `kl_k3` to the reference, nats per answer; `length` in
        tokens, `finished`, and `drawn`, answers in all.
        """
        response = self.answers.sequences.response
        passed = self.by_prompt(next(iter(self.scores.values())) > PASSES)
        pair = (self.answers.logp_old, self.answers.logp_ref)
        means = {
            "reward": self.rewards,
            **{f"score_{name}": scores for name, scores in self.scores.items()},
            "pass_rate": passed,
            "pass_any": passed.any(1),
            "without_spread": without_spread(self.by_prompt(self.rewards)),
            "kl_k1": masked_sum(kl_k1(*pair), response, dim=1),
            "kl_k3": masked_sum(kl_k3(*pair), response, dim=1),
            "length": response.sum(1),
            "finished": ~unfinished(self.answers.sequences, end_token=end_token),
        }
        return {name: float(numbers.float().mean()) for name, numbers in means.items()} | {
            "drawn": float(self.drawn)
        }


def prompts_in_turn(prompts: Sequence[Sequence[int]], *, generator: torch.Generator) -> Prompts:
    """The prompts for ever, in random order, all of them before any comes again.

    Raises ValueError, at the first one asked for, if there are none.

    >>> turn = prompts_in_turn([[1], [2], [3]], generator=torch.Generator().manual_seed(0))
    >>> sorted(islice(turn, 3)), len(list(islice(turn, 5)))
    ([[1], [2], [3]], 5)
    """
    if not prompts:
        raise ValueError("there are no prompts to answer")
    while True:
        for place in torch.randperm(len(prompts), generator=generator).tolist():
            yield prompts[place]


def draw_groups(
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    *,
    drawing: Drawing,
    generator: torch.Generator,
) -> Samples:
    """`drawing.samples` answers to each prompt, those to one prompt one after the other."""
    return draw(
        policy,
        tokenizer,
        [prompt for prompt in prompts for _ in range(drawing.samples)],
        max_new_tokens=drawing.max_new_tokens,
        generator=generator,
        temperature=drawing.temperature,
    )


@torch.no_grad()
def estimated(
    scored: Scored,
    reference: PreTrainedModel | None,
    method: GroupMethod,
    *,
    drawing: Drawing,
    kl_weight: float,
) -> Groups:
    """The draw with all that an update learns from: rewards that have paid for KL, and advantages.

    - `reference`: the policy that KL is measured from, or None.
    - `kl_weight`: β, reward per nat; here it matters only if the method pays in the reward.
    """
    samples, rewards = scored.samples, scored.rewards
    response, logp_ref = samples.response, samples.logp
    if reference is not None:
        with autocast(reference.device):
            logp_ref = response_logp(
                reference, samples.tokens, samples.mask, response, temperature=drawing.temperature
            )
    if method.kl_in_reward and kl_weight > 0:
        rewards = rewards - kl_weight * masked_sum(kl_k1(samples.logp, logp_ref), response, dim=1)
    advantages = method.advantage(rewards.view(-1, drawing.samples)).flatten()
    sequences = Sequences(samples.tokens, samples.mask, response)
    return Groups(
        answers=Graded(sequences, samples.logp, logp_ref, advantages),
        scores=scored.scores,
        rewards=rewards,
        group=drawing.samples,
        drawn=scored.drawn,
    )


def draw_scored(
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    turn: Prompts,
    parts: Mapping[str, Part],
    *,
    prompts: int,
    drawing: Drawing,
    generator: torch.Generator,
    redraws: int = 0,
) -> Scored:
    """Groups of answers to so many of the next prompts in turn, and what the reward says of them.

    Groups whose rewards are all equal teach nothing. As long as there are some, and at most `redraws` times,
    they are replaced by groups of answers to further prompts: DAPO's dynamic sampling, which goes on until
    there are none. What is left of them at the end stays.
    """
    found: list[Scored] = []
    useful: list[Tensor] = []
    missing = prompts
    for _ in range(redraws + 1):
        asked = list(islice(turn, missing))
        samples = draw_groups(policy, tokenizer, asked, drawing=drawing, generator=generator)
        scores = score_parts(parts, Sequences(samples.tokens, samples.mask, samples.response))
        found.append(Scored(samples, scores, weighted_sum(parts, scores), len(samples.tokens)))
        useful.append(~without_spread(found[-1].rewards.view(-1, drawing.samples)))
        missing -= int(useful[-1].sum())
        if not missing:
            break
    order = (~torch.cat(useful)).long().argsort(stable=True)[:prompts]  # useful ones first, as drawn
    places = torch.arange(drawing.samples, device=order.device)
    rows = (order[:, None] * drawing.samples + places).flatten()
    return _joined(found, pad_token=tokenizer.pad_token_id).rows(rows)


def _joined(found: Sequence[Scored], *, pad_token: int) -> Scored:
    """Several draws as one, padded on the right to the widest."""
    width = max(each.samples.tokens.shape[1] for each in found)

    def column(field: str, filler: float | int) -> Tensor:
        each = [getattr(one.samples, field) for one in found]
        return torch.cat([pad(x, (0, width - x.shape[1]), value=filler) for x in each])

    return Scored(
        samples=Samples(
            column("tokens", pad_token), column("mask", False), column("response", False), column("logp", 0.0)
        ),
        scores={name: torch.cat([each.scores[name] for each in found]) for name in found[0].scores},
        rewards=torch.cat([each.rewards for each in found]),
        drawn=sum(each.drawn for each in found),
    )


def _require_shared_prompts(sequences: Sequences, group: int) -> None:
    given = sequences.mask & ~sequences.response
    prompt = sequences.tokens.masked_fill(~given, -1).view(-1, group, sequences.tokens.shape[1])
    bad = (prompt != prompt[:, :1]).flatten(1).any(1)
    if bad.any():
        raise ValueError(
            f"the answers of group {int(bad.nonzero()[0])} do not share their prompt: put the answers to one "
            "prompt one after the other"
        )
