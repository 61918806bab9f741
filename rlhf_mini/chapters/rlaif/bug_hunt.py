"""The chapter's bug hunt: labels of a judge that is mostly right, and a reward model that learns nothing."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rlhf_mini.chapters.rlaif.toy import KL_WEIGHT, TEXTS, World
from rlhf_mini.exact import expectation, kl_divergence, kl_optimum
from rlhf_mini.loop import OptimizerConfig, fit
from rlhf_mini.losses import soft_preference_loss
from rlhf_mini.methods.judge import clamped
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import BugHunt, Question

PAIRS, BATCH, STEPS = 4096, 64, 320
SHARP, NOISE = (
    2.0,
    1.0,
)  # the judge's logits: twice the lead in reward, and an error with this standard deviation
MEASURES = ("verdicts", "sure", "loss", "accuracy", "moved", "value")
Ask = Callable[[Tensor], Tensor]  # pairs (N, 2), as they are shown → P(the first shown is better), (N,)


def labels_wrong(ask: Ask, pairs: Tensor, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The pairs (N, 2) and their labels (N,), each asked in an order that a coin draws."""
    turned = torch.rand(len(pairs), generator=generator) < 0.5
    shown = torch.where(turned[:, None], pairs.flip(1), pairs)
    preference = ask(shown)
    return pairs, preference


def labels_right(ask: Ask, pairs: Tensor, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The pairs (N, 2) and their labels (N,), each asked in an order that a coin draws."""
    turned = torch.rand(len(pairs), generator=generator) < 0.5
    shown = torch.where(turned[:, None], pairs.flip(1), pairs)
    preference = ask(shown)
    return pairs, torch.where(turned, 1 - preference, preference)


@dataclass(frozen=True, kw_only=True)
class Way:
    """One training: how pairs are labelled, and what a suspect would have got wrong.

    The judge's logit for the text shown first is `sharpness` times its lead in reward, plus `place`, plus its error.
    """

    labels: Callable[..., tuple[Tensor, Tensor]] = labels_right
    sharpness: float = SHARP
    place: float = 0.0
    clamp: bool = False
    rate: float = 0.05


WAYS: Mapping[str, Way] = {
    "wrong": Way(labels=labels_wrong),
    "right": Way(),
    "the judge guesses": Way(sharpness=0.0),
    "the judge likes the first": Way(place=2.0),
    "labels clamped to 0.4 … 0.6": Way(clamp=True),
    "the rate is far too small": Way(rate=1e-5),
}
SUSPECTS = tuple(WAYS)[2:]


class RewardTable(nn.Module):
    """A reward model with a number for each text of the language, all 0 at first."""

    def __init__(self) -> None:
        """Start at 0."""
        super().__init__()
        self.rewards = nn.Parameter(torch.zeros(TEXTS, dtype=torch.float64))

    def forward(self, texts: Tensor) -> Tensor:
        """Rewards of the texts with these numbers, of their shape."""
        return self.rewards[texts]


def symptoms(pipeline: Pipeline, *, way: str) -> dict[str, float]:
    """A reward model of the toy language from a judge's labels, by one of `WAYS`, and the optimum for it.

    - `verdicts`: on how many questions the judge names the better of the two texts as they were shown.
    - `sure`: the mean of |label − ½|, doubled: 1 if all labels are 0 or 1.
    - `loss`, `accuracy`: of the last 40 steps, in nats per pair, and the share of pairs ranked as the labels have it.
    - `moved`: KL in nats of the optimum for the learned reward from the reference. `value`: its true reward.
    """
    world, settings = World(pipeline.seed), WAYS[way]
    generator = torch.Generator().manual_seed(pipeline.seed)
    drawn = torch.multinomial(world.pairs.flatten(), PAIRS, replacement=True, generator=generator)
    right: list[float] = []

    def ask(shown: Tensor) -> Tensor:
        ahead = world.rewards[shown[:, 0]] - world.rewards[shown[:, 1]]
        error = NOISE * torch.randn(len(shown), generator=generator, dtype=torch.float64)
        said = (settings.sharpness * ahead + settings.place + error).sigmoid()
        right.append(float(((said > 0.5) == (ahead > 0)).double().mean()))
        return clamped(said) if settings.clamp else said

    pairs = torch.stack([drawn // TEXTS, drawn % TEXTS], dim=1)
    learned_pairs, labels = settings.labels(ask, pairs, generator=generator)
    table, history = _train(learned_pairs, labels, rate=settings.rate, generator=generator)
    best = kl_optimum(world.logp_ref, table.rewards.detach(), kl_weight=KL_WEIGHT).logp
    return {
        "verdicts": right[0],
        "sure": float(2 * (labels - 0.5).abs().mean()),
        "loss": sum(entry["loss"] for entry in history[-40:]) / 40,
        "accuracy": sum(entry["accuracy"] for entry in history[-40:]) / 40,
        "moved": float(kl_divergence(best, world.logp_ref)),
        "value": float(expectation(best, world.rewards)),
    }


def _train(
    pairs: Tensor, labels: Tensor, *, rate: float, generator: torch.Generator
) -> tuple[RewardTable, list[dict[str, float]]]:
    """A reward table after `STEPS` batches of labelled pairs, and what the steps logged."""
    table = RewardTable()

    def batches() -> Iterator[Tensor]:
        while True:
            yield from torch.randperm(PAIRS, generator=generator).split(BATCH)

    def loss_fn(rows: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        first, second = table(pairs[rows]).unbind(1)
        losses = soft_preference_loss(first, second, preference=labels[rows])
        agreed = (first > second) == (labels[rows] > 0.5)
        return losses.mean(), {"accuracy": agreed.double().mean()}

    optimizer = OptimizerConfig(learning_rate=rate, final_fraction=0.0)
    return table, fit(table, batches(), loss_fn, optimizer=optimizer, steps=STEPS, description="rewards")


def readings(pipeline: Pipeline) -> dict[str, float]:
    """Every training's symptoms, measured once, in flat names, `verdicts wrong` and so on; and `value reference`."""
    runs = {way: pipeline.measured(symptoms, way=way) for way in WAYS}
    world = World(pipeline.seed)
    found = {f"{name} {way}": run[name] for way, run in runs.items() for name in MEASURES}
    return {**found, "value reference": float(expectation(world.logp_ref, world.rewards))}


def told(found: Mapping[str, float]) -> str:
    """The symptoms of each training as lines of one width, from `readings`."""
    lines = [f"{'':29}{'verdicts':>10}{'sure':>6}{'loss':>7}{'accuracy':>10}{'moved':>7}{'value':>7}"]
    for way in WAYS:
        name = {"wrong": "the colleague's training", "right": "ours"}.get(way, way)
        verdicts, sure, loss, accuracy, moved, value = (found[f"{key} {way}"] for key in MEASURES)
        lines.append(
            f"{name:29}{verdicts:10.0%}{sure:6.2f}{loss:7.3f}{accuracy:10.0%}{abs(moved):7.2f}{value:7.2f}"
        )
    return "\n".join(lines).replace("-", "−")


SUSPECT = Question(
    ask=(
        "The judge names the better text in most questions, and its labels are as sure as ours. The reward model has read "
        "them all, its loss is where it was, it ranks its own training pairs as a coin would, and the policy does not move. "
        "Who did it?"
    ),
    options=(
        (
            "The judge guesses.",
            "Then its verdicts, on the texts as they were shown, would be right half of the time.",
        ),
        (
            "The judge likes whatever is shown first.",
            "Then its verdicts would be wrong more often, and the order, drawn by a coin, would still leave something to learn: the reward model would rank most pairs rightly.",
        ),
        (
            "The labels are clamped.",
            "Then they would not be sure, and the loss would lie near log 2 for that reason. The pairs would be ranked rightly all the same.",
        ),
        (
            "Half of the labels belong to the other text.",
            "Yes. The judge is right about what it was shown. But a coin has turned half of the pairs round, and nobody has turned their labels back.",
        ),
        (
            "The learning rate is far too small.",
            "Then the loss would stay, and the policy too. But rewards of a thousandth rank pairs as well as great ones do: the accuracy on the training pairs would have risen all the same.",
        ),
    ),
    right=3,
)

BUG_HUNT = BugHunt(
    title="A judge that is mostly right, four thousand labels that are sure of themselves, and a reward model that has learned nothing",
    wrong=labels_wrong,
    right=labels_right,
    explanation=(
        "The judge was asked about the pair as it was shown, and its label was stored with the pair as it is listed. For the "
        "half that a coin had turned round, the label says the opposite of what the judge said. A pair that comes up twice is "
        "then often labelled once 0.9 and once 0.1, and the reward that fits both is a tie. Whoever draws an order, or asks "
        "in both, has to turn the answer back, in one place: the verdict belongs to a text, not to a letter. Two guards are "
        "cheap. Labels must agree with the truth, on some pairs where it is known, as often as the judge's verdicts do. "
        "And the two orders of one pair must mostly agree, once they are turned back. It also goes wrong the other way "
        "round: of one well-known benchmark, which shows every pair twice and turns the second verdict back, this very "
        "line was twice reported as a mistake."
    ),
    source="AutoArena pull request 81, which mends votes that were saved for the wrong answer when a judged pair came back in another order",
    link="https://github.com/kolenaIO/autoarena/pull/81",
)
