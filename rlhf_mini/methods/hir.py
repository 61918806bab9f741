"""Hindsight instruction relabelling: every output is a right answer to some instruction; learn it as that.

Paper: Zhang et al. 2023, arXiv 2302.05206. A round samples outputs to instructions, has a script say which
instruction each output has fulfilled (`Relabel`), and trains on the outputs under *those* instructions, so
that failures teach as much as successes. Three terms: the likelihood, with label smoothing; a contrast, which
makes an output likelier under its instruction than under others; and an entropy bonus, so that sampling goes
on to explore. There is no reward model, no value model, and no reference; what it needs is the script.

A script may relabel parts of an output too (`relabel_with_parts`): what was written before a part is given,
and the part is learned under the instruction that it fulfils by itself.

Departures from the paper: a token's terms count alike whatever the length of its output (see
`mixed_batches`); the contrast takes means over tokens, as the released program does; its optional KL term is
left out.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_mini.batch import Sequences, pack_rows
from rlhf_mini.data.chat import answer
from rlhf_mini.data.tokenizer import encode_prompt, encode_text
from rlhf_mini.estimators import token_entropy
from rlhf_mini.loop import OptimizerConfig, fit
from rlhf_mini.losses import instruction_contrast_loss, smoothed_token_loss
from rlhf_mini.methods.answers import Drawing
from rlhf_mini.methods.dpo import answer_logp
from rlhf_mini.methods.mixed_batches import mixed_batches
from rlhf_mini.methods.raft import OnRound
from rlhf_mini.methods.sft import check_fits
from rlhf_mini.models import token_logits
from rlhf_mini.split import by_rows
from rlhf_mini.tensors import align_to_tokens, masked_sum, token_logp

Task = tuple[str, str]  # an instruction, and a query that it is about; the query may be empty
Ask = Callable[[str, str], str]  # instruction, query → the prompt


@dataclass(frozen=True)
class Hindsight:
    """One row to learn: an output, or a part of one, and the instruction that it fulfils.

    - `query`: what the instruction was about.
    - `fulfilled`: the instruction that the output fulfils.
    - `output`: what is learned.
    - `instead`: an instruction that it does not fulfil; None if the script knows of none.
    - `given`: what had been written before, if this is a part; it is read, not learned.
    - `ended`: whether the end token belongs to it.
    """

    query: str
    fulfilled: str
    output: str
    instead: str | None = None
    given: str = ""
    ended: bool = True

    def __post_init__(self) -> None:
        if self.instead == self.fulfilled:
            raise ValueError(f"{self.fulfilled!r} cannot be fulfilled and not fulfilled: see `instead`")


Relabel = Callable[[str, str, str], list[Hindsight]]  # instruction asked, query, output → what to learn of it
# Rows of a batch → for each, the instructions to tell apart: as many for each row, its own among them.
Contrast = Callable[[Sequence[Hindsight]], list[list[str]]]


@dataclass(frozen=True, kw_only=True)
class HIRConfig:
    """`rounds` of sampling, relabelling and `epochs` passes over what was relabelled, in batches of `batch`
    rows.

    - `contrast_weight`, `entropy_weight`: of the second and third term; 0 leaves one out.
    - `label_smoothing`: ε of the likelihood and of the contrast.
    """

    rounds: int
    epochs: int
    batch: int
    drawing: Drawing
    optimizer: OptimizerConfig
    contrast_weight: float = 1.0
    entropy_weight: float = 0.001
    label_smoothing: float = 0.2

    def __post_init__(self) -> None:
        if min(self.rounds, self.epochs, self.batch) < 1:
            raise ValueError(f"rounds, epochs and batch must be at least 1, got {self}")
        weights = (self.contrast_weight, self.entropy_weight)
        if not all(0 <= weight < math.inf for weight in weights) or not 0 <= self.label_smoothing < 1:
            raise ValueError(f"weights must be finite, 0 or above, and label_smoothing in [0, 1), got {self}")


# ---- relabelling


def relabel_whole(fulfilled: Callable[[str, str], str], other: Callable[[str, str], str | None]) -> Relabel:
    """One row for each output: under the instruction `fulfilled(query, output)`.

    `other(asked, fulfilled)` names an instruction that it does not fulfil, or None.

    >>> right_or_wrong = relabel_whole(
    ...     lambda query, output: "right" if output == "4" else "wrong",
    ...     lambda asked, fulfilled: {"right": "wrong", "wrong": "right"}[fulfilled])
    >>> right_or_wrong("right", "2+2", "5")
    [Hindsight(query='2+2', fulfilled='wrong', output='5', instead='right', given='', ended=True)]
    """

    def relabel(asked: str, query: str, output: str) -> list[Hindsight]:
        found = fulfilled(query, output)
        return [Hindsight(query, found, output, other(asked, found))]

    return relabel


def relabel_with_parts(
    relabel: Relabel,
    parts: Callable[[str, str], list[tuple[str, str, str]]],
    other: Callable[[str, str], str | None],
) -> Relabel:
    """What `relabel` says, and a row for each part of the output that fulfils an instruction by itself.

    `parts(query, output)` lists what was written before a part, the part, and the instruction, as
    `worlds.sums.steps_relabelled` does. Only a part that goes to the end of the output learns the end token.
    """

    def relabelled(asked: str, query: str, output: str) -> list[Hindsight]:
        rows = relabel(asked, query, output)
        for given, part, found in parts(query, output):
            ended = given + part == output
            rows.append(Hindsight(query, found, part, other(asked, found), given, ended))
        return rows

    return relabelled


# ---- contrasts


def two_way(rows: Sequence[Hindsight]) -> list[list[str]]:
    """Each row's own instruction, and one that its output does not fulfil: the released program's contrast.

    Where the script named none, it is the next instruction of the batch that differs.
    Raises ValueError if there is none.
    """
    pairs = []
    for place, row in enumerate(rows):
        around = (other.fulfilled for other in (*rows[place + 1 :], *rows[:place]))
        instead = row.instead or next((found for found in around if found != row.fulfilled), None)
        if instead is None:
            raise ValueError(
                f"all rows of the batch fulfil {row.fulfilled!r}, and no other instruction is named: let the "
                "script name one (`instead`), or set contrast_weight to 0"
            )
        pairs.append([row.fulfilled, instead])
    return pairs


def in_batch(rows: Sequence[Hindsight]) -> list[list[str]]:
    """For every row all the instructions of the batch, each once: the paper's contrast.

    An instruction of another row that this output fulfils too is held against it all the same.
    """
    named = {row.fulfilled: None for row in rows} | {row.instead: None for row in rows if row.instead}
    return [list(named) if len(named) > 1 else two_way(rows)[0]] * len(rows)


# ---- training


def pack_hindsight(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Hindsight], *, ask: Ask) -> Sequences:
    """The rows as token sequences: instruction, query and what is given are read, the output is learned.

    Raises ValueError for a part without a token to learn.
    """
    prompts = [
        encode_prompt(tokenizer, ask(row.fulfilled, row.query)) + encode_text(tokenizer, row.given)
        for row in rows
    ]
    ends = [[tokenizer.eos_token_id] if row.ended else [] for row in rows]
    outputs = [encode_text(tokenizer, row.output) + end for row, end in zip(rows, ends, strict=True)]
    return pack_rows(prompts, outputs, pad_token=tokenizer.pad_token_id)


def hir_loss(
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Hindsight],
    *,
    ask: Ask,
    contrast: Contrast,
    config: HIRConfig,
    mean_length: float,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The three terms on a batch of rows, added up, and each as a metric.

    Likelihood and entropy are sums over the learned tokens divided by the number of rows and `mean_length`,
    the tokens that a row has on average; the contrast is a mean over rows.
    """
    own = pack_hindsight(tokenizer, rows, ask=ask).to(policy.device)

    def read(tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = token_logits(policy, tokens, mask)
        logp = token_logp(logits, tokens)
        logp_mean = align_to_tokens(logits.mean(-1) - logits.logsumexp(-1))
        return logp, logp_mean, token_entropy(logits)

    logp, logp_mean, entropies = by_rows(read, own.tokens, own.mask)
    tokens = len(rows) * mean_length
    surprise = smoothed_token_loss(logp, logp_mean, label_smoothing=config.label_smoothing)
    likelihood = masked_sum(surprise, own.response) / tokens
    entropy = masked_sum(entropies, own.response) / tokens
    loss = likelihood - config.entropy_weight * entropy
    metrics = {"likelihood_loss": likelihood, "entropy": entropy}
    if config.contrast_weight > 0:
        lengths = own.response.sum(1)
        losses = _contrast_losses(
            policy,
            tokenizer,
            rows,
            masked_sum(logp, own.response, dim=1) / lengths,
            instructions=contrast(rows),
            ask=ask,
            label_smoothing=config.label_smoothing,
        )
        metrics["contrast_loss"] = losses.mean()
        loss = loss + config.contrast_weight * metrics["contrast_loss"]
    return loss, metrics


def _contrast_losses(
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Hindsight],
    own: Tensor,
    *,
    instructions: list[list[str]],
    ask: Ask,
    label_smoothing: float,
) -> Tensor:
    """(B,), from the mean log-probabilities `own` (B,) and those under the other instructions."""
    others = [
        replace(row, fulfilled=instruction, instead=None)
        for row, named in zip(rows, instructions, strict=True)
        for instruction in named
        if instruction != row.fulfilled
    ]
    packed = pack_hindsight(tokenizer, others, ask=ask).to(policy.device)
    logp = answer_logp(policy, packed)
    means = (logp / packed.response.sum(1)).view(len(rows), -1)
    first = torch.zeros(len(rows), dtype=torch.int64, device=own.device)
    return instruction_contrast_loss(
        torch.cat([own[:, None], means], dim=1), first, label_smoothing=label_smoothing
    )


def train_on_hindsight(
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Hindsight],
    *,
    ask: Ask,
    config: HIRConfig,
    generator: torch.Generator,
    contrast: Contrast = two_way,
) -> list[dict[str, float]]:
    """Train `policy` in place on relabelled rows; returns `fit`'s history with the three terms.

    Raises ValueError, before anything is trained, for a row longer than the context or fewer rows than a
    batch.
    """
    packed = pack_hindsight(tokenizer, rows, ask=ask)
    check_fits(packed, policy)
    mean_length = float(packed.response.sum(1).float().mean())

    def batches() -> Iterator[list[Hindsight]]:
        for drawn in mixed_batches(len(rows), batch=config.batch, epochs=config.epochs, generator=generator):
            yield [rows[index] for index in drawn.tolist()]

    def loss_fn(batch: list[Hindsight]) -> tuple[Tensor, dict[str, Tensor]]:
        return hir_loss(
            policy, tokenizer, batch, ask=ask, contrast=contrast, config=config, mean_length=mean_length
        )

    policy.train()
    steps = max(config.epochs * (len(rows) // config.batch), 1)
    return fit(policy, batches(), loss_fn, optimizer=config.optimizer, steps=steps, description="hindsight")


def hir(
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    tasks_of: Callable[[int], Sequence[Task]],
    relabel: Relabel,
    *,
    ask: Ask,
    config: HIRConfig,
    generator: torch.Generator,
    contrast: Contrast = two_way,
    on_round: OnRound = lambda number, entry: None,
) -> list[dict[str, float]]:
    """Train `policy` in place; returns one log entry a round.

    - `tasks_of`: instructions and queries of each round, from 1; in the paper always the instruction that is
      wanted in the end.
    - `relabel`: the script; an output for which it returns no row is left out.
    - `ask`: how instruction and query become a prompt.
    - `contrast`: which instructions an output is held against.
    - `on_round`: called after each round; what it adds to the entry stays in the log.

    An entry holds the share `fulfilled` of outputs whose first row is under the instruction that was asked,
    the number of `rows`, and the terms of the last step. A round with fewer rows than a batch trains nothing,
    and its entry has no terms.
    """
    log: list[dict[str, float]] = []
    for number in range(1, config.rounds + 1):
        tasks = [task for task in tasks_of(number) for _ in range(config.drawing.samples)]
        policy.eval()
        outputs = answer(
            policy,
            tokenizer,
            [ask(*task) for task in tasks],
            max_new_tokens=config.drawing.max_new_tokens,
            generator=generator,
            temperature=config.drawing.temperature,
        )
        found = [relabel(*task, output) for task, output in zip(tasks, outputs, strict=True)]
        right = [bool(rows) and rows[0].fulfilled == task[0] for task, rows in zip(tasks, found, strict=True)]
        rows = [row for several in found for row in several]
        entry = {"fulfilled": sum(right) / len(right), "rows": float(len(rows))}
        if len(rows) >= config.batch:
            history = train_on_hindsight(
                policy, tokenizer, rows, ask=ask, config=config, generator=generator, contrast=contrast
            )
            last = history[-1]
            entry |= {name: value for name, value in last.items() if name.endswith(("loss", "entropy"))}
        log.append(entry)
        on_round(number, log[-1])
    return log
