"""Answers drawn from a policy, with their rewards, and ways to choose among them.

What ReST, RAFT, RRHF and expert iteration share: N prompts with K answers each, scored once by a reward that
stays as it is. The methods differ in what they keep of them, and in which model they then train on it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_mini.batch import Sequences
from rlhf_mini.data.chat import answer, response_texts
from rlhf_mini.methods.rejection_sampling import Chosen, Score, best_of, score_candidates

PromptsOf = Callable[[int], Sequence[str]]  # number of the round, from 1 → its prompts


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How answers are drawn: `samples` a prompt (K) at `temperature`, of at most `max_new_tokens` tokens."""

    samples: int
    temperature: float
    max_new_tokens: int

    def __post_init__(self) -> None:
        if min(self.samples, self.max_new_tokens) < 1:
            raise ValueError(f"samples and max_new_tokens must be at least 1, got {self}")
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature must be above 0 and finite, got {self.temperature}")


@dataclass(frozen=True, eq=False)
class Answers:
    """N prompts, K answers to each, and what they are worth.

    - `prompts`: N texts.
    - `texts`: N lists of K texts.
    - `rewards`: (N, K), finite.

    Raises ValueError if they do not fit together.
    """

    prompts: list[str]
    texts: list[list[str]]
    rewards: Tensor

    def __post_init__(self) -> None:
        lengths = {len(texts) for texts in self.texts}
        if len(self.prompts) != len(self.texts) or len(lengths) != 1 or 0 in lengths:
            raise ValueError(
                f"need the same number of answers, at least one, to each of {len(self.prompts)} prompts; got "
                f"{len(self.texts)} lists of lengths {sorted(lengths)}"
            )
        if self.rewards.shape != (len(self.prompts), self.samples) or not self.rewards.isfinite().all():
            raise ValueError(
                f"rewards must be {(len(self.prompts), self.samples)}, all finite, one for each answer; got "
                f"shape {tuple(self.rewards.shape)}"
            )

    @property
    def samples(self) -> int:
        """K, the answers to each prompt."""
        return len(self.texts[0])

    def kept(self, mask: Tensor) -> Chosen:
        """The prompts and answers where the mask (N, K) is true, row by row; a prompt may come several times.

        >>> answers = Answers(["p", "q"], [["a", "b"], ["c", "d"]], torch.zeros(2, 2))
        >>> answers.kept(torch.tensor([[True, True], [False, True]])).answers
        ['a', 'b', 'd']
        """
        if mask.shape != self.rewards.shape or mask.dtype != torch.bool:
            raise ValueError(
                f"the mask must be {tuple(self.rewards.shape)} and boolean, got {tuple(mask.shape)} of "
                f"{mask.dtype}"
            )
        places = mask.nonzero().tolist()
        return Chosen([self.prompts[row] for row, _ in places], [self.texts[row][k] for row, k in places])


def draw_answers(
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    score: Score,
    *,
    config: Drawing,
    generator: torch.Generator,
) -> Answers:
    """K answers of the policy to each prompt, and their scores.

    As in rejection sampling, an answer that was cut off is scored, and learned, as one that ended there: a
    score that minds must see it in the text. Raises ValueError for a score that is not finite.
    """
    policy.eval()
    flat = answer(
        policy,
        tokenizer,
        [prompt for prompt in prompts for _ in range(config.samples)],
        max_new_tokens=config.max_new_tokens,
        generator=generator,
        temperature=config.temperature,
    )
    texts = [flat[start : start + config.samples] for start in range(0, len(flat), config.samples)]
    return Answers(list(prompts), texts, score_candidates(score, tokenizer, prompts, texts))


def side_by_side(several: Sequence[Answers]) -> Answers:
    """Answers from several sources to the same prompts as one, with as many answers a prompt as all together.

    Raises ValueError if the prompts differ.
    """
    first = several[0]
    if any(other.prompts != first.prompts for other in several):
        raise ValueError("answers can stand side by side only if they are to the same prompts, in one order")
    texts = [
        [text for part in parts for text in part] for parts in zip(*(a.texts for a in several), strict=True)
    ]
    return Answers(first.prompts, texts, torch.cat([each.rewards for each in several], dim=1))


def text_score(tokenizer: PreTrainedTokenizerBase, reward: Callable[[str, str], float]) -> Score:
    """A score that is a program on words, `reward(prompt, answer)`, as methods ask for it: on token
    sequences.

    The prompt is what stands before the response, without control tokens.
    """

    def score(sequences: Sequences) -> Tensor:
        rows = zip(sequences.tokens.cpu(), (sequences.mask & ~sequences.response).cpu(), strict=True)
        prompts = [tokenizer.decode(row[given].tolist(), skip_special_tokens=True) for row, given in rows]
        answers = response_texts(tokenizer, sequences)
        return torch.tensor([float(reward(*pair)) for pair in zip(prompts, answers, strict=True)])

    return score


# ---- what is kept: rewards (N, K) → mask (N, K)


def best_of_each(rewards: Tensor) -> Tensor:
    """The best answer to each prompt, the first of those that tie.

    >>> best_of_each(torch.tensor([[0.1, 0.9], [0.2, 0.2]]))
    tensor([[False,  True],
            [ True, False]])
    """
    return torch.arange(rewards.shape[1]) == best_of(rewards)[:, None]


def best_overall(rewards: Tensor) -> Tensor:
    """As many answers as there are prompts, the best of all, whosever they are: hard prompts may have none.

    Of those that tie for the last places, the first.

    >>> best_overall(torch.tensor([[0.1, 0.2], [0.8, 0.9]]))
    tensor([[False, False],
            [ True,  True]])
    """
    order = rewards.flatten().argsort(descending=True, stable=True)
    mask = torch.zeros(rewards.numel(), dtype=torch.bool)
    mask[order[: len(rewards)]] = True
    return mask.view(rewards.shape)


def at_most(mask: Tensor, most: int) -> Tensor:
    """Of what is kept, at most `most` answers to each prompt: the first drawn, which are as good as any.

    >>> at_most(torch.tensor([[True, False, True, True], [False, True, False, False]]), 2)
    tensor([[ True, False,  True, False],
            [False,  True, False, False]])
    """
    if most < 1:
        raise ValueError(f"most must be at least 1, got {most}")
    return mask & (mask.cumsum(1) <= most)
