"""One reward model that judges by a condition: the text in front of the dialogue says what counts.

Paper: Cai et al. 2024 (InternLM2), arXiv 2403.17297, §4.2.1. There one model with several system prompts
takes the place of several reward models. A pair that is judged by two measures is two pairs, one under each
condition, and their labels may contradict each other. Policy, reference and value model never see a
condition: `conditional_score` adds it where the reward model is asked.

Simplification: the condition of a prompt is known from its words, by a function that is given.
"""

from collections.abc import Callable, Sequence
from typing import TypedDict

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_mini.batch import Pairs, Sequences
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.data.conditions import with_conditions
from rlhf_mini.data.tokenizer import encode_text
from rlhf_mini.methods.reward_model import scores
from rlhf_mini.methods.rollouts import Score

ConditionOf = Callable[[str], str]  # a prompt in words → the text that its answers are judged under


class ConditionedPair(TypedDict):
    """Two answers to a prompt, of which the first was preferred under a condition; "" is none."""

    prompt: str
    chosen: str
    rejected: str
    condition: str


def conditioned(
    tokenizer: PreTrainedTokenizerBase, sequences: Sequences, conditions: Sequence[str]
) -> Sequences:
    """The same dialogues with a condition in words in front of each."""
    tokens = {text: encode_text(tokenizer, text) if text else [] for text in {*conditions}}
    return with_conditions(sequences, [tokens[text] for text in conditions], pad_token=tokenizer.pad_token_id)


def pack_conditioned(tokenizer: PreTrainedTokenizerBase, rows: Sequence[ConditionedPair]) -> Pairs:
    """Pairs in words as token sequences, each answer behind its condition and its prompt."""
    prompts, conditions = [row["prompt"] for row in rows], [row["condition"] for row in rows]
    chosen, rejected = (
        conditioned(tokenizer, pack_texts(tokenizer, prompts, texts), conditions)
        for texts in ([row["chosen"] for row in rows], [row["rejected"] for row in rows])
    )
    return Pairs(chosen=chosen, rejected=rejected)


def conditional_score(
    reward_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, condition_of: ConditionOf
) -> Score:
    """The reward model as a score of plain dialogues, each read under the condition of its prompt.

    The prompt is what stands before the response, without control tokens. Scores are those of
    `reward_model.scores`, raw where the model was not normalised.
    """

    def score(sequences: Sequences) -> Tensor:
        rows = zip(sequences.tokens.cpu(), (sequences.mask & ~sequences.response).cpu(), strict=True)
        prompts = [tokenizer.decode(row[given].tolist(), skip_special_tokens=True) for row, given in rows]
        texts = [condition_of(prompt) for prompt in prompts]
        return scores(reward_model, conditioned(tokenizer, sequences, texts))

    return score
