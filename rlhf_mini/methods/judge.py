"""A language model as a judge: which of two answers is better, or how good one is, read off its next token.

Papers: Bai et al. 2022 (constitutional AI), arXiv 2212.08073, §4; Lee et al. 2023 (RLAIF), arXiv 2309.00267,
§2. The judge is asked in words (`data.judging`), and what counts is not the word it would say but the
probability of each choice: a soft label. Asked in both orders and averaged, the label has no favourite place
(`both_orders`). A judge may think aloud first (`asking_after_thoughts`); its labels are then nearly 0 or 1
and are clamped. The expected rating of a single answer is a reward by itself (direct RLAIF).

Any causal language model can be the judge: `load_judge("a folder or a hub name")`.

Simplifications: the thoughts are the likeliest ones, one chain a question, without worked examples before it.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_mini.batch import Sequences, pack_rows
from rlhf_mini.data.chat import draw, response_texts
from rlhf_mini.data.judging import Comparison, PairTemplate, RatingTemplate
from rlhf_mini.data.pretrained import check_lengths, load_causal_lm
from rlhf_mini.data.tokenizer import encode_prompt, encode_text
from rlhf_mini.devices import autocast
from rlhf_mini.methods.dpo import answer_logps
from rlhf_mini.methods.rollouts import Score
from rlhf_mini.models import copy_of
from rlhf_mini.models.forward import hidden_states
from rlhf_mini.models.llama import is_plain_llama
from rlhf_mini.split import by_rows
from rlhf_mini.tensors import last_true_index

Ask = Callable[[Sequence[Comparison]], Tensor]  # comparisons → P(the first shown is better), (N,)
Rate = Callable[[Sequence[str], Sequence[str]], Tensor]  # prompts, answers → a number each, (N,)
Tokens = list[int]


@dataclass(frozen=True, eq=False)
class LanguageJudge:
    """A causal language model that is asked questions, `batch` of them at a time."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    batch: int = 64

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"batch must be at least 1, got {self.batch}")


class Choices(NamedTuple):
    """What a judge makes of N questions with K choices each.

    `logp`, (N, K): log-probabilities of the choices, normalised to a sum of 1 over them. `mass`, (N,): the
    probability that it says one of them at all, below which the rest is worth little.
    """

    logp: Tensor
    mass: Tensor


@dataclass(frozen=True, eq=False)
class Verdicts:
    """What a judge says of N comparisons in both orders: each time, P(the answer shown first is better)."""

    as_given: Tensor
    swapped: Tensor

    @property
    def preference(self) -> Tensor:
        """P(the first of the comparison is better), averaged over the orders; (N,)."""
        return (self.as_given + 1 - self.swapped) / 2

    @property
    def same_position(self) -> float:
        """The share of comparisons in which the same place is chosen in both orders: the position bias.

        >>> Verdicts(torch.tensor([0.9, 0.6, 0.3]), torch.tensor([0.2, 0.7, 0.4])).same_position  # 2 of 3
        0.6666666865348816
        """
        return float(((self.as_given > 0.5) == (self.swapped > 0.5)).float().mean())

    @property
    def first_chosen(self) -> float:
        """How often the place shown first is chosen, over both orders; ½ is no favourite."""
        return float((torch.cat([self.as_given, self.swapped]) > 0.5).float().mean())


def load_judge(name_or_folder: str | os.PathLike[str], *, batch: int = 8) -> LanguageJudge:
    """Any causal language model, from the hub or a folder, as a judge; errors as in `load_causal_lm`."""
    return LanguageJudge(*load_causal_lm(name_or_folder), batch=batch)


def with_context(model: PreTrainedModel, *, context: int) -> PreTrainedModel:
    """A copy of a Llama that takes up to `context` tokens: two answers need more room than one.

    Its positions turn by an angle a step, so that there is nothing to add; those beyond the old context are
    new to it all the same, until it is trained on longer texts. Raises ValueError for another architecture,
    whose positions may be a table, and for a context below the old one.
    """
    if not is_plain_llama(model):
        raise ValueError(f"need a plain Llama, whose positions have no table; got {type(model).__name__}")
    if context < model.config.max_position_embeddings:
        raise ValueError(
            f"the context must be at least the old one of {model.config.max_position_embeddings}, got "
            f"{context}"
        )
    longer = copy_of(model)
    longer.config.max_position_embeddings = context
    return longer


# ------------------------------------------------------------------------------------------------- choosing


def choose(
    judge: LanguageJudge,
    questions: Sequence[str],
    *,
    choices: Sequence[str],
    said: Sequence[str] | str = "",
) -> Choices:
    """The probability of each choice as what the judge says next.

    - `questions`: N user turns in words.
    - `said`: what the judge's turn begins with before the choice, one text for all questions or one each.

    Text before a choice and choice are turned into tokens together, as the model has read them, and the
    choices are compared from where their tokens part. Where each has a single token left, one pass over a
    question gives all; otherwise each choice is read whole, with the end token behind it, so that "1" is not
    taken for the beginning of "10". The model's mode is restored; nothing is drawn, and no gradient kept.

    Raises ValueError for no questions, a question that spells a control token, one that does not fit into
    the model's context, and choices that the tokenizer cannot tell apart.
    """
    if not questions:
        raise ValueError("a judge needs questions, got none")
    before = [said] * len(questions) if isinstance(said, str) else said
    starts, tails = [], []
    for question, text in zip(questions, before, strict=True):
        prefix, parted = _part(judge.tokenizer, text, choices)
        starts.append(encode_prompt(judge.tokenizer, question) + prefix)
        tails.append(parted)
    single = all(len(tail) == 1 for row in tails for tail in row)
    logp = _next_token_logps(judge, starts, tails) if single else _whole_logps(judge, starts, tails)
    mass = logp.logsumexp(1)
    return Choices(logp - mass[:, None], mass.exp())


def _part(
    tokenizer: PreTrainedTokenizerBase, said: str, choices: Sequence[str]
) -> tuple[Tokens, list[Tokens]]:
    """The tokens that all continuations of `said` share, and what is left of each."""
    rows = [encode_text(tokenizer, said + choice) for choice in choices]
    shared = sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*rows, strict=False)))
    tails = [row[shared:] for row in rows]
    if len({tuple(tail) for tail in tails}) != len(choices):
        raise ValueError(f"the tokenizer cannot tell the choices {tuple(choices)} apart")
    return rows[0][:shared], tails


@torch.no_grad()
def _next_token_logps(judge: LanguageJudge, starts: list[Tokens], tails: list[list[Tokens]]) -> Tensor:
    """log p of each choice's one token, (N, K) float32 on the CPU."""
    model = judge.model
    check_lengths(starts, context=model.config.max_position_embeddings, new_tokens=1)
    wanted = torch.tensor([[tail[0] for tail in row] for row in tails])

    def logp_of(tokens: Tensor, mask: Tensor, wanted: Tensor) -> Tensor:
        hidden = hidden_states(model, tokens, mask)
        last = hidden[torch.arange(len(tokens), device=tokens.device), last_true_index(mask)]
        return model.get_output_embeddings()(last).float().log_softmax(-1).gather(1, wanted)

    by_length = torch.tensor([len(start) for start in starts]).argsort()
    parts, was_training = [], model.training
    model.eval()
    try:
        for rows in by_length.split(judge.batch):
            tokens, mask = _padded([starts[row] for row in rows.tolist()], judge.tokenizer)
            asked = (part.to(model.device) for part in (tokens, mask, wanted[rows]))
            with autocast(model.device):
                parts.append(by_rows(logp_of, *asked).cpu())
    finally:
        model.train(was_training)
    return torch.cat(parts)[by_length.argsort()]


def _padded(rows: list[Tokens], tokenizer: PreTrainedTokenizerBase) -> tuple[Tensor, Tensor]:
    """Tokens (B, T), padded on the right, and which of them are real."""
    lengths = torch.tensor([len(row) for row in rows])
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    tokens = torch.full(mask.shape, _pad(tokenizer))
    tokens[mask] = torch.tensor([token for row in rows for token in row])
    return tokens, mask


def _pad(tokenizer: PreTrainedTokenizerBase) -> int:
    return 0 if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)


def _whole_logps(judge: LanguageJudge, starts: list[Tokens], tails: list[list[Tokens]]) -> Tensor:
    """log p of each choice's tokens and the end token, summed, (N, K) float32 on the CPU."""
    end = judge.tokenizer.eos_token_id
    rows = [(start, [*tail, end]) for start, row in zip(starts, tails, strict=True) for tail in row]
    check_lengths([start + tail for start, tail in rows], context=judge.model.config.max_position_embeddings)
    sequences = pack_rows(
        [start for start, _ in rows], [tail for _, tail in rows], pad_token=_pad(judge.tokenizer)
    )
    return answer_logps(judge.model, sequences, batch=judge.batch).view(len(starts), -1)


# ------------------------------------------------------------------------------------------------ comparing


def asking(judge: LanguageJudge, template: PairTemplate) -> Ask:
    """The judge's P(the first shown is better), asked at once."""

    def ask(comparisons: Sequence[Comparison]) -> Tensor:
        questions = [template.ask(comparison) for comparison in comparisons]
        return choose(judge, questions, choices=template.choices, said=template.opening).logp[:, 0].exp()

    return ask


def asking_after_thoughts(judge: LanguageJudge, template: PairTemplate, *, max_new_tokens: int) -> Ask:
    """The same after a chain of thought: the judge writes its likeliest reasons, then the choice is read."""

    def ask(comparisons: Sequence[Comparison]) -> Tensor:
        questions = [template.ask(comparison) for comparison in comparisons]
        reasons = think(judge, questions, opening=template.opening, max_new_tokens=max_new_tokens)
        said = [reason + template.opening for reason in reasons]
        return choose(judge, questions, choices=template.choices, said=said).logp[:, 0].exp()

    return ask


def think(judge: LanguageJudge, questions: Sequence[str], *, opening: str, max_new_tokens: int) -> list[str]:
    """What the judge writes about each question, by its likeliest tokens, up to the choice's `opening`.

    Raises ValueError without an opening, for then thoughts and choice could not be told apart.
    """
    if not opening.strip():
        raise ValueError(
            f"after thoughts the choice needs an opening, such as ' Better: ', to tell where they end; got "
            f"{opening!r}"
        )
    texts: list[str] = []
    for start in range(0, len(questions), judge.batch):
        asked = [encode_prompt(judge.tokenizer, q) for q in questions[start : start + judge.batch]]
        drawn = draw(
            judge.model,
            judge.tokenizer,
            asked,
            max_new_tokens=max_new_tokens,
            generator=torch.Generator().manual_seed(0),  # the likeliest tokens need no chance
            temperature=0.0,
        )
        texts += response_texts(judge.tokenizer, drawn)
    return [text.split(opening.strip())[0].rstrip() for text in texts]


def both_orders(ask: Ask, comparisons: Sequence[Comparison]) -> Verdicts:
    """Every comparison asked as it is and swapped.

    Raises ValueError unless the judge returns one probability a comparison.
    """
    as_given, swapped = ask(comparisons), ask([comparison.swapped() for comparison in comparisons])
    for said in (as_given, swapped):
        if said.shape != (len(comparisons),) or not ((said >= 0) & (said <= 1)).all():
            raise ValueError(
                f"the judge must return one probability from 0 to 1 for each of {len(comparisons)} "
                f"comparisons; it returned shape {tuple(said.shape)}, from {said.min():.3g} to "
                f"{said.max():.3g}"
            )
    return Verdicts(as_given, swapped)


def agreement(preference: Tensor, first_better: Tensor) -> float:
    """The share of pairs on which the judge prefers what the truth, or a person, prefers; a tie counts ½.

    `preference`, (N,): P(first is better); `first_better`, (N,) bool. Raises ValueError for other shapes.

    >>> agreement(torch.tensor([0.9, 0.5, 0.4]), torch.tensor([True, True, True]))
    0.5
    """
    if preference.shape != first_better.shape or first_better.dtype != torch.bool:
        raise ValueError(
            f"need one boolean for each preference; got {tuple(preference.shape)} preferences and "
            f"{tuple(first_better.shape)} of {first_better.dtype}"
        )
    right = ((preference > 0.5) == first_better) & (preference != 0.5)
    return float((right.float() + 0.5 * (preference == 0.5).float()).mean())


def clamped(preference: Tensor, *, low: float = 0.4, high: float = 0.6) -> Tensor:
    """Labels drawn back into [low, high], for a judge that has thought aloud and is surer than it is right.

    Bai et al. 2022, §4.1: 40 to 60%, and with a chain of thought only. Raises ValueError for bad bounds.

    >>> clamped(torch.tensor([0.01, 0.5, 0.55, 1.0]))
    tensor([0.4000, 0.5000, 0.5500, 0.6000])
    """
    if not 0 <= low <= 0.5 <= high <= 1:
        raise ValueError(f"need 0 ≤ low ≤ ½ ≤ high ≤ 1, so that no label changes sides; got {low} and {high}")
    return preference.clamp(low, high)


def choosing(ask: Ask, principle: str) -> Callable[[list[str], list[str], list[str]], Tensor]:
    """The judge as `methods.online_dpo` asks it: which of two answers, in both orders, a boolean each."""

    def judge(prompts: list[str], first: list[str], second: list[str]) -> Tensor:
        rows = zip(prompts, first, second, strict=True)
        return both_orders(ask, [Comparison(principle, *row) for row in rows]).preference >= 0.5

    return judge


# -------------------------------------------------------------------------------------------------- rating


def expected_ratings(judge: LanguageJudge, questions: Sequence[str], *, template: RatingTemplate) -> Tensor:
    """The mean rating under the judge's probabilities, (N,), from 1 to the number of choices.

    The likeliest rating would be a whole number, equal for most answers; the mean tells them apart.
    """
    logp = choose(judge, questions, choices=template.choices, said=template.opening).logp
    return logp.exp() @ torch.arange(1, len(template.choices) + 1, dtype=logp.dtype)


def rescaled(ratings: Tensor, *, highest: int) -> Tensor:
    """Ratings from 1 to `highest` as numbers from −1 to 1.

    >>> rescaled(torch.tensor([1.0, 3.0, 5.0]), highest=5)
    tensor([-1.,  0.,  1.])
    """
    if highest < 2:
        raise ValueError(f"the highest rating must be at least 2, got {highest}")
    return 2 * (ratings - 1) / (highest - 1) - 1


def rating(judge: LanguageJudge, template: RatingTemplate, principle: str) -> Rate:
    """The judge's expected rating under a principle, from −1 to 1: the reward of direct RLAIF."""

    def rate(prompts: Sequence[str], answers: Sequence[str]) -> Tensor:
        rows = zip(prompts, answers, strict=True)
        questions = [template.ask(principle, prompt, text) for prompt, text in rows]
        return rescaled(expected_ratings(judge, questions, template=template), highest=len(template.choices))

    return rate


def as_score(rate: Rate, tokenizer: PreTrainedTokenizerBase) -> Score:
    """A rating of words as the score of token sequences that PPO and its like ask for.

    `tokenizer` is the policy's, which the judge need not share. The prompt is what stands before the
    response, without control tokens.
    """

    def score(sequences: Sequences) -> Tensor:
        rows = zip(sequences.tokens.cpu(), (sequences.mask & ~sequences.response).cpu(), strict=True)
        prompts = [tokenizer.decode(row[given].tolist(), skip_special_tokens=True) for row, given in rows]
        return rate(prompts, response_texts(tokenizer, sequences))

    return score
