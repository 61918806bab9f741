"""Answers from a policy: prompts in words to sampled sequences, and back to words."""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_mini.batch import Sequences, pack_rows
from rlhf_mini.data.tokenizer import decode_response, encode_prompt, encode_response
from rlhf_mini.devices import autocast
from rlhf_mini.models.sampler import Samples, sample
from rlhf_mini.progress import progress_bar


def answer(
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    generator: torch.Generator,
    temperature: float = 1.0,
    batch: int = 512,
) -> list[str]:
    """One sampled answer a prompt, as text."""
    texts: list[str] = []
    with progress_bar(total=len(prompts), description="answers") as bar:
        for start in range(0, len(prompts), batch):
            drawn = draw(
                policy,
                tokenizer,
                [encode_prompt(tokenizer, prompt) for prompt in prompts[start : start + batch]],
                max_new_tokens=max_new_tokens,
                generator=generator,
                temperature=temperature,
            )
            texts += response_texts(tokenizer, drawn)
            bar.update(len(drawn.tokens))
    return texts


def draw(
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    generator: torch.Generator,
    temperature: float = 1.0,
) -> Samples:
    """Sample one answer for each encoded prompt, ending at the end token."""
    with torch.no_grad(), autocast(policy.device):
        return sample(
            policy,
            prompts,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            stop_tokens=[tokenizer.eos_token_id],
            pad_token=tokenizer.pad_token_id,
            generator=generator,
        )


def response_texts(tokenizer: PreTrainedTokenizerBase, sequences: Samples | Sequences) -> list[str]:
    """The words of each row's response, up to its end token."""
    rows = zip(sequences.tokens.cpu(), sequences.response.cpu(), strict=True)
    return [decode_response(tokenizer, tokens[response].tolist()) for tokens, response in rows]


def pack_texts(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], answers: Sequence[str]
) -> Sequences:
    """Prompts and answers in words as one batch, each answer followed by the end token."""
    return pack_rows(
        [encode_prompt(tokenizer, prompt) for prompt in prompts],
        [encode_response(tokenizer, text) for text in answers],
        pad_token=tokenizer.pad_token_id,
    )
