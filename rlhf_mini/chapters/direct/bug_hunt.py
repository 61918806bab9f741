"""The chapter's bug hunt: a loss that stays at log 2 while the policy runs away."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from rlhf_mini.chapters.direct.toy import ToyWorld
from rlhf_mini.chapters.hunts import ends_of, two_trainings
from rlhf_mini.chapters.toy_language import LANGUAGE
from rlhf_mini.exact import TablePolicy, expectation, kl_divergence
from rlhf_mini.loop import OptimizerConfig, fit
from rlhf_mini.losses import dpo_loss
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import BugHunt, Picture, Question, beside

PAIRS, BATCH, STEPS = 2048, 64, 320
LOOKS = (1, *range(20, STEPS + 1, 20))
MEASURES = ("step", "loss", "lead", "accuracy", "grad_norm", "moved", "value", "distance")
Logits = Callable[[Tensor], Tensor]


def frozen_wrong(policy: nn.Module) -> Logits:
    """The policy as it is now, frozen: a function from tokens (B, T) to logits (B, T, V)."""
    weights = {name: weight.detach() for name, weight in policy.named_parameters()}

    def reference(tokens: Tensor) -> Tensor:
        with torch.no_grad():
            return functional_call(policy, weights, (tokens,))

    return reference


def frozen_right(policy: nn.Module) -> Logits:
    """The policy as it is now, frozen: a function from tokens (B, T) to logits (B, T, V)."""
    weights = {name: weight.detach().clone() for name, weight in policy.named_parameters()}

    def reference(tokens: Tensor) -> Tensor:
        with torch.no_grad():
            return functional_call(policy, weights, (tokens,))

    return reference


@dataclass(frozen=True, kw_only=True)
class Way:
    """One training: how the reference is frozen, and what a suspect would have got wrong.

    `labels` says who wins: a draw by the rewards ("Bradley and Terry"), a coin ("coin"), or nobody ("one answer"),
    where both answers of a pair are the same text.
    """

    freeze: Callable[[nn.Module], Logits] = frozen_right
    labels: str = "Bradley and Terry"
    kl_weight: float = 1.0
    rate: float = 0.05


WAYS: Mapping[str, Way] = {
    "wrong": Way(freeze=frozen_wrong),
    "right": Way(),
    "nothing is learned": Way(rate=1e-9),
    "the answers are one": Way(labels="one answer"),
    "the labels are a coin's": Way(labels="coin"),
    "β is far too small": Way(kl_weight=1e-4),
}
SUSPECTS = tuple(WAYS)[2:]


def symptoms(pipeline: Pipeline, *, way: str) -> dict[str, Any]:
    """DPO on a few hundred pairs of the toy language, by one of `WAYS`; lists of one number a look.

    What the training logs, each before the step: `loss`, `lead` (mean of h, nats), `accuracy`, `grad_norm`. What it
    does not know, exact sums over all texts after the step: `moved`, KL(π ‖ start); `value`, the expected reward;
    `distance`, KL(π ‖ π*) from the optimum of the right training. All KL in nats per text.
    """
    world, settings = ToyWorld(pipeline.seed), WAYS[way]
    policy = TablePolicy.of_distribution(LANGUAGE, world.logp_ref)
    reference, best = settings.freeze(policy), world.best(WAYS["right"].kl_weight)
    generator = torch.Generator().manual_seed(pipeline.seed)
    chosen, rejected = drawn(world, settings.labels, generator=generator)

    def batches() -> Iterator[Tensor]:
        while True:
            yield from torch.randperm(PAIRS, generator=generator).split(BATCH)

    def loss_fn(rows: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        ratios = LANGUAGE.sequence_logp(policy) - LANGUAGE.sequence_logp(reference)
        better, worse = ratios[chosen[rows]], ratios[rejected[rows]]
        lead = (better - worse).detach()
        won = (lead > 0).double() + 0.5 * (lead == 0).double()
        losses = dpo_loss(better, worse, kl_weight=settings.kl_weight)
        return losses.mean(), {"lead": lead.mean(), "accuracy": won.mean()}

    @torch.no_grad()
    def look(step: int, entry: dict[str, Any]) -> None:
        if step in LOOKS:
            logp = LANGUAGE.sequence_logp(policy)
            entry |= {
                "step": step,
                "moved": float(kl_divergence(logp, world.logp_ref)),
                "value": float(expectation(logp, world.rewards)),
                "distance": float(kl_divergence(logp, best)),
            }

    optimizer = OptimizerConfig(learning_rate=settings.rate, final_fraction=0.0)
    history = fit(policy, batches(), loss_fn, optimizer=optimizer, steps=STEPS, hooks=[look], description=way)
    looked = [entry for entry in history if "step" in entry]
    return {name: [entry[name] for entry in looked] for name in MEASURES}


def drawn(world: ToyWorld, labels: str, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The numbers of the chosen and of the rejected texts, (N,) each: pairs of two draws from the reference."""
    texts = torch.multinomial(world.logp_ref.exp(), 2 * PAIRS, replacement=True, generator=generator)
    first, second = texts.view(2, PAIRS)
    chances = world.chances[first, second] if labels != "coin" else torch.tensor(0.5)
    wins = torch.rand(PAIRS, generator=generator, dtype=torch.float64) < chances
    chosen, rejected = torch.where(wins, first, second), torch.where(wins, second, first)
    return (chosen, chosen) if labels == "one answer" else (chosen, rejected)


def readings(pipeline: Pipeline) -> dict[str, float]:
    """Where every training ended, measured once, in flat names: `loss wrong`, `moved right` and so on."""
    runs = {way: pipeline.measured(symptoms, way=way) for way in WAYS}
    return ends_of(runs, MEASURES[1:])


def hunt(pipeline: Pipeline) -> dict[str, float]:
    """`readings`, and how far from the optimum all trainings `start`."""
    world = ToyWorld(pipeline.seed)
    start = kl_divergence(world.logp_ref, world.best(WAYS["right"].kl_weight))
    return {**readings(pipeline), "start": float(start)}


def told(found: Mapping[str, float]) -> str:
    """The four symptoms of each training as lines of one width, from `readings`."""
    lines = [f"{'':24}{'loss':>10}{'lead h':>10}{'gradient':>10}{'moved':>8}"]
    for way in WAYS:
        name = {"wrong": "the colleague's training", "right": "ours"}.get(way, way)
        loss, lead, gradient, moved = (
            found[f"{key} {way}"] for key in ("loss", "lead", "grad_norm", "moved")
        )
        lines.append(f"{name:24}{loss:10.6f}{lead:10.3f}{gradient:10.1e}{abs(moved):8.2f}".replace("-", "−"))
    return "\n".join(lines)


def symptom_figures(wrong: list[dict[str, Any]], right: list[dict[str, Any]]) -> Picture:
    """The loss and the distance from the optimum along training; one mapping of `symptoms` a seed."""
    panels = {
        "loss": ("loss", "loss (nats per pair)"),
        "distance": ("distance from the optimum", "KL(π ‖ π*) (nats per text)"),
    }
    return beside(
        *two_trainings(wrong, right, panels, names=("his", "ours"), training=f"{STEPS} steps of DPO")
    )


SUSPECT = Question(
    ask="A loss of log 2 to the last digit, a lead of 0, a gradient that is not 0, and a policy that moves. Who did it?",
    options=(
        (
            "The optimiser takes no steps.",
            "Then the policy would not move. It has moved further than ours.",
        ),
        (
            "Both answers of each pair are the same text.",
            "Then the gradient would be 0, too: what one answer gains the other gains. His is as large as ours was at first.",
        ),
        (
            "The labels are noise.",
            "Then the loss would be near log 2 on average, and not at it: on the pairs that were seen it falls, and the leads of single pairs grow.",
        ),
        (
            "β is far too small.",
            "Then the loss would stay near log 2 while the policy runs away, as here. But the log would show a lead of many nats.",
        ),
        (
            "The reference moves along with the policy.",
            "Yes. Policy less reference is 0 for every answer and at every step, and its gradient is not: only one of the two is differentiated.",
        ),
    ),
    right=4,
)

BUG_HUNT = BugHunt(
    title="The loss is log 2 before the first step, as it should be, and it still is after the last",
    wrong=frozen_wrong,
    right=frozen_right,
    explanation=(
        "detach() stops gradients and copies nothing: the result shares its memory with the parameter. An optimiser "
        "writes new numbers into that memory at each step, and so the reference changes whenever the policy does. Every "
        "log-ratio is then 0 for ever, every loss log 2, every lead 0. The gradient is not 0, since it flows through the "
        "policy's log-probabilities alone; its weight, β σ(−β h), is stuck at β/2, as if no pair had been learned yet. "
        "Nothing says that it is enough, and nothing holds the policy back. With Adam, which divides by the gradient's "
        "size, even β has no effect. clone() copies. (state_dict() does not: it, too, holds the parameters' own memory.) "
        "The library asks the reference once, before the first step, and keeps its answers as numbers."
    ),
    source="POVID issue 11, which reports a reference with the policy's own parameters, updated with them, and a loss that never changes",
    link="https://github.com/YiyangZhou/POVID/issues/11",
)
