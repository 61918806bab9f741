"""Rejection sampling: answer every prompt K times, keep the best answer, fine-tune on it.

Paper: Touvron et al. 2023, arXiv 2307.09288, §3.2.3.
Four steps, each a function: `draw_candidates`, `score_candidates`, `best_of` (or, as a control that knows no
reward, `random_of`), and supervised fine-tuning on what was chosen. A round's choices can be pooled with
those of the rounds before (`pooled`), without which a policy forgets what the last round did not show.

The KL between the best of K and the policy that drew is at most log K − (K − 1)/K nats a prompt: see
`rlhf_mini.evaluation.best_of_n_kl_bound`.

Simplifications: one model draws and learns, where the paper distils the largest model's answers into smaller
ones too.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_mini.batch import Sequences
from rlhf_mini.data.chat import answer, pack_texts
from rlhf_mini.methods.sft import SFTConfig, sft

Score = Callable[[Sequences], Tensor]  # sequences -> (B,) scores, higher is better


@dataclass(frozen=True)
class Chosen:
    """One answer for each prompt."""

    prompts: list[str]
    answers: list[str]

    def __post_init__(self) -> None:
        if len(self.prompts) != len(self.answers):
            raise ValueError(
                f"{len(self.prompts)} prompts but {len(self.answers)} answers: one each is needed"
            )

    def __len__(self) -> int:
        return len(self.prompts)


@dataclass(frozen=True, kw_only=True)
class RejectionSamplingConfig:
    """`samples` answers a prompt (K) at `temperature`, and how to fine-tune on what is kept."""

    samples: int
    temperature: float
    max_new_tokens: int
    sft: SFTConfig

    def __post_init__(self) -> None:
        if min(self.samples, self.max_new_tokens) < 1:
            raise ValueError(f"samples and max_new_tokens must be at least 1, got {self}")
        if not 0 < self.temperature < math.inf:
            raise ValueError(
                f"temperature must be above 0 and finite, got {self.temperature}: the K answers must differ"
            )


def draw_candidates(
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    config: RejectionSamplingConfig,
    generator: torch.Generator,
) -> list[list[str]]:
    """K answers to each of N prompts, N lists of K texts, drawn at the configured temperature."""
    texts = answer(
        policy,
        tokenizer,
        [prompt for prompt in prompts for _ in range(config.samples)],
        max_new_tokens=config.max_new_tokens,
        generator=generator,
        temperature=config.temperature,
    )
    return [texts[start : start + config.samples] for start in range(0, len(texts), config.samples)]


def score_candidates(
    score: Score,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    candidates: Sequence[Sequence[str]],
    *,
    batch: int = 1024,
) -> Tensor:
    """The score of every candidate, (N, K) float32: each read as a text that has ended.

    Raises ValueError if the prompts have unequal numbers of candidates, or a score is not finite.
    """
    samples = {len(texts) for texts in candidates}
    if len(prompts) != len(candidates) or len(samples) != 1 or 0 in samples:
        raise ValueError(
            f"need the same number of candidates, at least one, for each of {len(prompts)} prompts; got "
            f"{len(candidates)} lists of lengths {sorted(samples)}"
        )
    asked = [prompt for prompt, texts in zip(prompts, candidates, strict=True) for _ in texts]
    flat = [text for texts in candidates for text in texts]
    parts = [
        score(pack_texts(tokenizer, asked[start : start + batch], flat[start : start + batch])).float().cpu()
        for start in range(0, len(flat), batch)
    ]
    scores = torch.cat(parts).view(len(prompts), -1)
    if not scores.isfinite().all():
        row = int((~scores.isfinite()).any(1).nonzero()[0])
        raise ValueError(
            f"the score of a candidate of prompt {row} is NaN or infinite: {scores[row].tolist()}"
        )
    return scores


def best_of(scores: Tensor) -> Tensor:
    """Which candidate scores highest, (N,) from (N, K); the first drawn of those that tie.

    >>> best_of(torch.tensor([[0.1, 0.9, 0.3], [0.2, 0.0, 0.2]]))
    tensor([1, 0])
    """
    highest = scores == scores.amax(1, keepdim=True)
    return highest.int().argmax(1)  # of equal maxima argmax promises no order on floats; it does here, 0 < 1


def random_of(scores: Tensor, *, generator: torch.Generator) -> Tensor:
    """Any candidate, each as likely as the others, (N,) from (N, K): what is gained by more data alone."""
    return torch.randint(scores.shape[1], (len(scores),), generator=generator)


def keep(prompts: Sequence[str], candidates: Sequence[Sequence[str]], picked: Tensor) -> Chosen:
    """The picked candidate of each prompt.

    >>> keep(["p", "q"], [["a", "b"], ["c", "d"]], torch.tensor([1, 0])).answers
    ['b', 'c']
    """
    rows = zip(candidates, picked.tolist(), strict=True)
    return Chosen(list(prompts), [texts[index] for texts, index in rows])


def pooled(rounds: Sequence[Chosen]) -> Chosen:
    """The choices of several rounds, one after another."""
    return Chosen(
        [prompt for one in rounds for prompt in one.prompts], [text for one in rounds for text in one.answers]
    )


def fine_tune_on(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    chosen: Chosen,
    *,
    config: RejectionSamplingConfig,
    generator: torch.Generator,
) -> list[dict[str, float]]:
    """Supervised fine-tuning of `model`, in place, on the chosen answers; returns `fit`'s history."""
    sequences = pack_texts(tokenizer, chosen.prompts, chosen.answers)
    return sft(model, sequences, config=config.sft, generator=generator)


def rejection_sampling(
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    score: Score,
    *,
    config: RejectionSamplingConfig,
    generator: torch.Generator,
) -> Chosen:
    """One round: draw, score, keep the best, fine-tune `policy` on it in place; returns what was kept."""
    candidates = draw_candidates(policy, tokenizer, prompts, config=config, generator=generator)
    scores = score_candidates(score, tokenizer, prompts, candidates)
    chosen = keep(prompts, candidates, best_of(scores))
    fine_tune_on(policy, tokenizer, chosen, config=config, generator=generator)
    return chosen
