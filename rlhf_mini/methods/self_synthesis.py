"""Self-synthesis: a chat model writes the user's turn too, answers it, and what passes the filters is kept.

Paper: Xu et al. 2024 (Magpie), arXiv 2406.08464. The model is given what its template puts before a user's
words and nothing else, and goes on: it writes a prompt. The prompt is then asked as usual. That is a way to
make data, not reinforcement learning: there is no reward unless a filter is one.

A model can do this only if it has learned what users write. Fine-tuning that counts the answer alone never
shows it (`whole_dialogues` counts both).

Simplifications: one turn; the filters are given as functions, where the paper's are other models.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_mini.batch import Sequences
from rlhf_mini.data.chat import answer
from rlhf_mini.devices import autocast
from rlhf_mini.models import sample

Filter = Callable[[str, str], bool]  # prompt, answer → is it kept?
MARK = "\u2603"  # a placeholder for the user's words, which no template contains


@dataclass(frozen=True, kw_only=True)
class SynthesisConfig:
    """How prompts and answers are drawn; lengths in tokens."""

    prompt_tokens: int
    answer_tokens: int
    prompt_temperature: float = 1.0
    answer_temperature: float = 1.0

    def __post_init__(self) -> None:
        if min(self.prompt_tokens, self.answer_tokens) < 1:
            raise ValueError(f"prompt_tokens and answer_tokens must be at least 1, got {self}")
        for temperature in (self.prompt_temperature, self.answer_temperature):
            if not 0 <= temperature < math.inf:
                raise ValueError(f"temperatures must be 0 or above and finite, got {temperature}")


@dataclass(frozen=True)
class Synthesised:
    """What was kept, and how many pairs each filter was shown and kept, in order."""

    prompts: list[str]
    answers: list[str]
    drawn: int
    passed: dict[str, int]

    def __len__(self) -> int:
        return len(self.prompts)


def around_user(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """The tokens that the chat template puts before a user's first words, and between them and the answer.

    Raises ValueError for a tokenizer without a chat template: nothing then says whose turn it is.
    """
    if tokenizer.chat_template is None:
        raise ValueError("the tokenizer has no chat template, and so nothing comes before a user's turn")
    written = tokenizer.apply_chat_template(
        [{"role": "user", "content": MARK}], add_generation_prompt=True, tokenize=False
    )
    before, _, after = str(written).partition(MARK)
    parts = [tokenizer.encode(part, add_special_tokens=False, verbose=False) for part in (before, after)]
    if not all(parts):
        raise ValueError(
            f"the chat template must put tokens before and after the user's words; it wrote {written!r}"
        )
    return parts[0], parts[1]


def whole_dialogues(sequences: Sequences) -> Sequences:
    """The same rows with every token counted but the first: the prompt is learned like the answer.

    >>> from rlhf_mini.batch import pack_rows
    >>> whole_dialogues(pack_rows([[1, 5]], [[7, 2]], pad_token=0)).response
    tensor([[False,  True,  True,  True]])
    """
    columns = torch.arange(sequences.tokens.shape[1], device=sequences.tokens.device)
    return Sequences(sequences.tokens, sequences.mask, sequences.mask & (columns > 0))


def write_prompts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    count: int,
    *,
    max_new_tokens: int,
    temperature: float,
    generator: torch.Generator,
    batch: int = 512,
) -> list[str]:
    """`count` user turns that the model writes; those that do not end within `max_new_tokens` are dropped.

    A turn ends where the template would go on, or at the end token.
    """
    before, after = around_user(tokenizer)
    stops = torch.tensor([after[0], tokenizer.eos_token_id])
    texts: list[str] = []
    for start in range(0, count, batch):
        rows = min(batch, count - start)
        with autocast(model.device):
            drawn = sample(
                model,
                [before] * rows,
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                stop_tokens=stops.tolist(),
                pad_token=tokenizer.pad_token_id,
                generator=generator,
            )
        texts += _ended(tokenizer, drawn.tokens.cpu(), drawn.response.cpu(), stops)
    return texts


def _ended(tokenizer: PreTrainedTokenizerBase, tokens: Tensor, response: Tensor, stops: Tensor) -> list[str]:
    rows = [row[written] for row, written in zip(tokens, response, strict=True)]
    whole = [row[:-1].tolist() for row in rows if bool((row[-1] == stops).any())]
    return [tokenizer.decode(row, skip_special_tokens=True).strip() for row in whole]


def self_synthesise(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    count: int,
    *,
    config: SynthesisConfig,
    filters: Mapping[str, Filter],
    generator: torch.Generator,
) -> Synthesised:
    """`count` prompts written and answered by `model`, and of these what every filter lets through.

    Empty prompts, prompts that do not end, prompts that spell a control token and prompts that came before
    are not answered; `passed` counts those that are left as "usable", and after it what each of `filters`
    keeps of what the filter before it kept.
    """
    written = write_prompts(
        model,
        tokenizer,
        count,
        max_new_tokens=config.prompt_tokens,
        temperature=config.prompt_temperature,
        generator=generator,
    )
    spelled = tokenizer.all_special_tokens
    prompts = [
        prompt
        for prompt in dict.fromkeys(written)
        if prompt and not any(token in prompt for token in spelled)
    ]
    answers: list[str] = []
    if prompts:
        answers = answer(
            model,
            tokenizer,
            prompts,
            max_new_tokens=config.answer_tokens,
            generator=generator,
            temperature=config.answer_temperature,
        )
    return filtered(prompts, answers, filters=filters, drawn=count)


def filtered(
    prompts: Sequence[str], answers: Sequence[str], *, filters: Mapping[str, Filter], drawn: int
) -> Synthesised:
    """What every filter lets through, one after the other, with the counts.

    >>> kept = filtered(["p", "q"], ["", "a"], filters={"answered": lambda p, a: bool(a)}, drawn=3)
    >>> kept.prompts, kept.passed
    (['q'], {'usable': 2, 'answered': 1})
    """
    pairs = list(zip(prompts, answers, strict=True))
    passed = {"usable": len(pairs)}
    for name, keeps in filters.items():
        pairs = [pair for pair in pairs if keeps(*pair)]
        passed[name] = len(pairs)
    return Synthesised([p for p, _ in pairs], [a for _, a in pairs], drawn, passed)
