"""The chapter's bug hunt: a training that is right on one process, and on two learns to write too briefly.

Two processes are played by one: a batch is dealt out as two lists of rows, each with its own mask, and what
either would call backward on is averaged, as their gradients would be.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rlhf_mini.chapters.hunts import ends_of, two_trainings
from rlhf_mini.exact import TablePolicy, ToyLanguage, expectation, kl_divergence
from rlhf_mini.loop import OptimizerConfig, fit
from rlhf_mini.losses import next_token_loss
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import BugHunt, Picture, Question, beside

LANGUAGE = ToyLanguage(vocabulary=3, steps=6)  # texts of one to six tokens, the end token included
BATCH, STEPS = 64, 200
LOOKS = (1, *range(20, STEPS + 1, 20))
MEASURES = ("step", "loss", "apart", "cosine", "length", "distance")
Share = tuple[Tensor, Tensor]  # of one process: losses of tokens (B, T), and true where a token counts


def step_loss_wrong(shares: list[Share]) -> Tensor:
    """What a step lowers: `shares` has the token losses (B, T) and the mask (B, T) of each process's rows."""
    own = [(losses * mask).sum() / mask.sum() for losses, mask in shares]
    return torch.stack(own).mean()


def step_loss_right(shares: list[Share]) -> Tensor:
    """What a step lowers: `shares` has the token losses (B, T) and the mask (B, T) of each process's rows."""
    tokens = sum(mask.sum() for _, mask in shares) / len(shares)
    own = [(losses * mask).sum() / tokens for losses, mask in shares]
    return torch.stack(own).mean()


def _twice(shares: list[Share]) -> Tensor:
    return len(shares) * step_loss_right(shares)


def _with_padding(shares: list[Share]) -> Tensor:
    positions = sum(mask.numel() for _, mask in shares)
    tokens = sum(mask.sum() for _, mask in shares)
    return step_loss_right(shares) * tokens / positions


@dataclass(frozen=True, kw_only=True)
class Way:
    """One training: what a step lowers, on how many processes, and what a suspect would have got wrong.

    - `repeated`: every process reads the same rows, those of the first.
    """

    step_loss: Callable[[list[Share]], Tensor] = step_loss_right
    processes: int = 2
    repeated: bool = False
    rate: float = 0.05


WAYS: Mapping[str, Way] = {
    "wrong": Way(step_loss=step_loss_wrong),
    "right": Way(),
    "the same program alone": Way(step_loss=step_loss_wrong, processes=1),
    "gradients are added": Way(step_loss=_twice),
    "padding counts": Way(step_loss=_with_padding),
    "all read the same rows": Way(repeated=True),
    "the rate is far too small": Way(rate=1e-5),
}
SUSPECTS = tuple(WAYS)[3:]


def texts_to_learn(seed: int) -> Tensor:
    """(B,), the log-probability of every text in the data: any words, and an end after about three tokens."""
    generator = torch.Generator().manual_seed(seed)
    policy = TablePolicy.random(LANGUAGE, generator=generator)
    return LANGUAGE.sequence_logp(policy).detach()


def symptoms(pipeline: Pipeline, *, way: str) -> dict[str, Any]:
    """Fine-tuning on texts of the toy language by one of `WAYS`; lists of one number a look.

    What the training logs, before the step: `loss`. What it does not know: `apart`, how far the step's
    gradient is from that of the mean over all tokens of the batch, as a part of its length, and `cosine`, that
    of the angle between the two; both means over the steps since the last look. After the step, as exact sums
    over all texts: `length`, the expected length of what the policy writes less that of the data, in tokens;
    `distance`, KL(data ‖ policy) in nats per text.
    """
    settings = WAYS[way]
    data, lengths = texts_to_learn(pipeline.seed), LANGUAGE.response.sum(1).double()
    wanted = float(expectation(data, lengths))
    policy = TablePolicy(LANGUAGE)
    generator = torch.Generator().manual_seed(pipeline.seed)

    def batches() -> Iterator[Tensor]:
        """Texts of the data, the shorter ones first, as they are sorted to save padding."""
        while True:
            drawn = torch.multinomial(data.exp(), BATCH, replacement=True, generator=generator)
            yield drawn[lengths[drawn].argsort(stable=True)]

    def loss_fn(rows: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        losses, mask = next_token_loss(LANGUAGE.token_logp(policy)), LANGUAGE.response
        dealt = _dealt(rows, settings, generator)
        loss = settings.step_loss([_trimmed(losses[own], mask[own]) for own in dealt])
        whole = step_loss_right([(losses[rows], mask[rows])])
        ours, all_tokens = (
            torch.autograd.grad(one, [policy.logits], retain_graph=True)[0] for one in (loss, whole)
        )
        cosine = torch.cosine_similarity(ours.flatten(), all_tokens.flatten(), dim=0)
        return loss, {"apart": (ours - all_tokens).norm() / all_tokens.norm(), "cosine": cosine}

    @torch.no_grad()
    def look(step: int, entry: dict[str, Any]) -> None:
        logp = LANGUAGE.sequence_logp(policy)
        entry |= {
            "step": step,
            "length": float(expectation(logp, lengths)) - wanted,
            "distance": float(kl_divergence(data, logp)),
        }

    optimizer = OptimizerConfig(learning_rate=settings.rate, final_fraction=0.0)
    history = fit(policy, batches(), loss_fn, optimizer=optimizer, steps=STEPS, hooks=[look], description=way)
    looked = {name: [history[step - 1][name] for step in LOOKS] for name in MEASURES}
    for name in ("loss", "apart", "cosine"):
        looked[name] = [_since(history, name, place) for place in range(len(LOOKS))]
    return looked


def _since(history: list[dict[str, float]], name: str, place: int) -> float:
    """The mean over the steps since the look before."""
    part = history[LOOKS[place - 1] if place else 0 : LOOKS[place]]
    return sum(entry[name] for entry in part) / len(part)


def _dealt(rows: Tensor, settings: Way, generator: torch.Generator) -> list[Tensor]:
    """The rows of each process: halves of the batch as it is sorted, or one half of it, for all."""
    if not settings.repeated:
        return [*rows.chunk(settings.processes)]
    half = rows[torch.randperm(len(rows), generator=generator)[: len(rows) // settings.processes]]
    return [half] * settings.processes


def _trimmed(losses: Tensor, mask: Tensor) -> Share:
    """Without the columns that are padding in all rows."""
    width = int(mask.any(0).nonzero().max()) + 1
    return losses[:, :width], mask[:, :width]


def readings(pipeline: Pipeline) -> dict[str, float]:
    """Where every training ended, measured once, in flat names: `length wrong`, `distance right` and so on."""
    runs = {way: pipeline.measured(symptoms, way=way) for way in WAYS}
    return ends_of(runs, MEASURES[1:])


def told(found: Mapping[str, float]) -> str:
    """The symptoms of each training as lines of one width, from `readings`."""
    lines = [f"{'':27}{'loss':>7}{'apart':>9}{'cosine':>8}{'length':>9}{'distance':>10}"]
    for way in WAYS:
        name = {"wrong": "the colleague's training", "right": "ours"}.get(way, way)
        loss, apart, cosine, length, distance = (found[f"{key} {way}"] for key in MEASURES[1:])
        lines.append(
            f"{name:27}{loss:7.3f}{apart:9.1%}{cosine:8.3f}{round(length, 2) + 0.0:+9.2f}{distance:10.4f}".replace(
                "-", "−"
            )
        )
    return "\n".join(lines)


def symptom_figures(wrong: list[dict[str, Any]], right: list[dict[str, Any]]) -> Picture:
    """The length of what is written and the distance from the data, along training; one mapping a seed."""
    panels = {
        "length": ("length of what is written, less that of the data", "length less the data's (tokens)"),
        "distance": ("distance from the data", "KL(data ‖ policy) (nats per text)"),
    }
    return beside(
        *two_trainings(
            wrong, right, panels, names=("theirs", "ours"), training=f"{STEPS} steps on two processes"
        )
    )


SUSPECT = Question(
    ask=(
        "On one process all is well. On two the loss falls as it should, but what the policy writes is too short, and it "
        "stays so. The gradient of a step does not point where the whole batch's does. Who did it?"
    ),
    options=(
        (
            "The gradients of the two are added, not averaged.",
            "Then the gradient would be exactly twice the right one, at a cosine of 1. Adam divides by its size, and learns what it should.",
        ),
        (
            "Every token weighs what its process's own number of tokens makes it weigh.",
            "Yes. The process with the short texts has fewer tokens, divides by fewer, and each of its tokens pulls harder: short texts are overrated, at every step in the same way.",
        ),
        (
            "Padding counts in the denominator.",
            "That makes every step smaller, the more padding the smaller. It shows in the loss, which is too low; the gradient points where it should, at a cosine of 1.",
        ),
        (
            "Both processes read the same rows.",
            "Then the gradient would be that of half the batch: further from the whole one, but right on average, and so are the lengths.",
        ),
        (
            "The learning rate is far too small.",
            "Then nothing would have been learned, and the distance would be what it was at first.",
        ),
    ),
    right=1,
)

BUG_HUNT = BugHunt(
    title="A training that is right on one process, and on two writes too briefly",
    wrong=step_loss_wrong,
    right=step_loss_right,
    explanation=(
        "Each process takes the mean over its own tokens, and the gradients of all are averaged: a mean of means. It is the mean "
        "over all tokens only where every process has as many of them. Rows are sorted by length to save padding, so that one "
        "process has the short texts and the other the long ones; a token of a short text then weighs as much more as there are "
        "fewer of them. The optimum itself has moved: more steps do not help, and no loss curve tells, for each process's loss is "
        "a right mean of something. The right denominator is the number of tokens on all processes, divided by the number of "
        "processes because gradients are averaged. Micro-batches of one step, one after the other, have the same bug for the same "
        "reason. Whitening, a KL penalty's mean and every other masked mean need the same care. The library gathers the small "
        "results of all rows (log-probabilities, values) and computes one loss on all of them, so that there is one denominator."
    ),
    source="transformers issue 34242: with several processes the loss was averaged by process and not over all tokens, after the same was mended for micro-batches",
    link="https://github.com/huggingface/transformers/issues/34242",
)
