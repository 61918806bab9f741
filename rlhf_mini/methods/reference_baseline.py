"""Scores over what the reference's own answer to the same prompt would get.

Paper: Hou et al. 2024 (ChatGLM-RLHF), arXiv 2404.00934. A reward model that learned from pairs has no
common zero: what it gives to the answers of one kind of prompt may lie in another range than what it gives
to those of another. So the reference answers every prompt once, before training, and what is paid is ``r(x,
y) − r(x, y_ref)``.

For one prompt that is a constant: the order of its answers, and the best policy under a price of KL, are
what they were. What changes is the scale across prompts, and with it the noise of the gradient.

Departure: how the paper decodes the reference's answer was not found. Here it is drawn as PPO draws.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_mini.batch import Sequences
from rlhf_mini.data.chat import draw
from rlhf_mini.methods.rollouts import Score, scored

Prompt = tuple[int, ...]  # encoded


def prompts_of(sequences: Sequences) -> list[Prompt]:
    """The encoded prompt of each row: its real tokens that do not count as response."""
    asked = sequences.mask & ~sequences.response
    rows = zip(sequences.tokens.cpu(), asked.cpu(), strict=True)
    return [tuple(tokens[prompt].tolist()) for tokens, prompt in rows]


def reference_scores(
    reference: PreTrainedModel,
    score: Score,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    *,
    max_new_tokens: int,
    generator: torch.Generator,
    temperature: float = 1.0,
    batch: int = 512,
) -> dict[Prompt, float]:
    """What `score` gives to one answer of the reference to each encoded prompt.

    A prompt that comes several times is answered once. Raises ValueError if a score is not finite.
    """
    asked = list(dict.fromkeys(tuple(prompt) for prompt in prompts))
    found: dict[Prompt, float] = {}
    for start in range(0, len(asked), batch):
        part = asked[start : start + batch]
        samples = draw(
            reference,
            tokenizer,
            part,
            max_new_tokens=max_new_tokens,
            generator=generator,
            temperature=temperature,
        )
        scores = scored(score, Sequences(samples.tokens, samples.mask, samples.response))
        found |= zip(part, scores.tolist(), strict=True)
    return found


def over_reference(score: Score, baselines: Mapping[Prompt, float]) -> Score:
    """The score less its prompt's baseline, for `ppo` and whoever asks for a score.

    The returned score raises ValueError for a prompt that has no baseline.

    >>> from rlhf_mini.batch import pack_rows
    >>> answers = pack_rows([[1, 5], [1, 6]], [[7, 2], [7, 2]], pad_token=0)
    >>> over_reference(lambda answers: torch.tensor([3.0, 3.0]), {(1, 5): 1.0, (1, 6): 4.0})(answers)
    tensor([ 2., -1.])
    """

    def leading(sequences: Sequences) -> Tensor:
        prompts = prompts_of(sequences)
        unknown = [prompt for prompt in prompts if prompt not in baselines]
        if unknown:
            raise ValueError(
                f"no baseline is known for the prompt {unknown[0]}; there are {len(baselines)} others"
            )
        scores = score(sequences)
        return scores - torch.tensor([baselines[prompt] for prompt in prompts]).to(scores)

    return leading
