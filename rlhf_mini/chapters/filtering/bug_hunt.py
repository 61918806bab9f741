"""The chapter's bug hunt: RRHF's ranking loss with a mask that has lost an axis."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rlhf_mini.chapters.filtering.toy import ToyWorld
from rlhf_mini.chapters.hunts import ends_of, two_trainings
from rlhf_mini.chapters.toy_language import LANGUAGE
from rlhf_mini.exact import TablePolicy, expectation, kl_divergence
from rlhf_mini.loop import OptimizerConfig, fit
from rlhf_mini.losses import best_answer_loss
from rlhf_mini.methods.rrhf import ordered_share
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import BugHunt, Picture, Question, beside

SETS, SAMPLES, BATCH, STEPS = 512, 6, 16, 240
LOOKS = (1, *range(20, STEPS + 1, 20))
MEASURES = ("step", "ranking", "ordered", "best", "value", "moved")
RankingLoss = Callable[[Tensor, Tensor], Tensor]


def ranking_wrong(means: Tensor, rewards: Tensor) -> Tensor:
    """RRHF's ranking loss of K answers to one prompt, from their mean log-probabilities (K,) and rewards (K,)."""
    lead = means[:, None] - means[None, :]
    disordered = (rewards[:, None] < rewards[None, :]) & (lead > 0)
    return lead[disordered[0]].sum()


def ranking_right(means: Tensor, rewards: Tensor) -> Tensor:
    """RRHF's ranking loss of K answers to one prompt, from their mean log-probabilities (K,) and rewards (K,)."""
    lead = means[:, None] - means[None, :]
    disordered = (rewards[:, None] < rewards[None, :]) & (lead > 0)
    return lead[disordered].sum()


@dataclass(frozen=True, kw_only=True)
class Way:
    """One training: the ranking loss, and what a suspect would have got wrong.

    `judge` says what the rewards are for the loss: the texts' own ("reward"), their opposites ("opposite"), or one
    number for all ("one for all").
    """

    ranking: RankingLoss = ranking_right
    judge: str = "reward"
    ranking_weight: float = 1.0
    rate: float = 0.02


WAYS: Mapping[str, Way] = {
    "wrong": Way(ranking=ranking_wrong),
    "right": Way(),
    "nothing is learned": Way(rate=1e-9),
    "the order is turned round": Way(judge="opposite"),
    "all rewards are equal": Way(judge="one for all"),
    "the ranking is left out": Way(ranking_weight=0.0),
}
SUSPECTS = tuple(WAYS)[2:]


def symptoms(pipeline: Pipeline, *, way: str) -> dict[str, Any]:
    """RRHF on sets of answers in the toy language, by one of `WAYS`; lists of one number a look.

    What the training logs, each before the step: `ranking`, the ranking loss; `ordered`, the share of pairs in the
    order of their rewards; `best`, the mean log-probability of the best answers. What it does not know, exact sums
    over all texts after the step: `value`, the expected reward, and `moved`, KL(π ‖ start) in nats per text.
    """
    world, settings = ToyWorld(pipeline.seed), WAYS[way]
    policy = TablePolicy.of_distribution(LANGUAGE, world.logp)
    generator = torch.Generator().manual_seed(pipeline.seed)
    drawn = torch.multinomial(world.logp.exp(), SETS * SAMPLES, replacement=True, generator=generator)
    sets, lengths = drawn.view(SETS, SAMPLES), LANGUAGE.response.sum(1)
    judged = {
        "reward": world.rewards,
        "opposite": -world.rewards,
        "one for all": torch.zeros_like(world.rewards),
    }[settings.judge]

    def batches() -> Iterator[Tensor]:
        while True:
            yield from torch.randperm(SETS, generator=generator).split(BATCH)

    def loss_fn(rows: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        texts = sets[rows]
        logp = LANGUAGE.sequence_logp(policy)[texts]
        means, rewards = logp / lengths[texts], judged[texts]
        pairs = zip(means, rewards, strict=True)
        ranking = torch.stack([settings.ranking(*of_one_prompt) for of_one_prompt in pairs]).mean()
        best = best_answer_loss(logp, rewards).mean()
        seen = {"ranking": ranking, "ordered": ordered_share(means, world.rewards[texts]), "best": -best}
        return settings.ranking_weight * ranking + best, seen

    @torch.no_grad()
    def look(step: int, entry: dict[str, Any]) -> None:
        if step in LOOKS:
            logp = LANGUAGE.sequence_logp(policy)
            entry |= {
                "step": step,
                "value": float(expectation(logp, world.rewards)),
                "moved": float(kl_divergence(logp, world.logp)),
            }

    optimizer = OptimizerConfig(learning_rate=settings.rate, final_fraction=0.0)
    history = fit(policy, batches(), loss_fn, optimizer=optimizer, steps=STEPS, hooks=[look], description=way)
    looked = [entry for entry in history if "step" in entry]
    return {name: [entry[name] for entry in looked] for name in MEASURES}


def readings(pipeline: Pipeline) -> dict[str, float]:
    """Where every training ended, measured once, in flat names: `ranking wrong`, `moved right` and so on."""
    runs = {way: pipeline.measured(symptoms, way=way) for way in WAYS}
    return {**ends_of(runs, MEASURES[1:]), "value start": runs["nothing is learned"]["value"][0]}


def told(found: Mapping[str, float]) -> str:
    """The symptoms of each training as lines of one width, from `readings`."""
    lines = [f"{'':26}{'ranking':>9}{'ordered':>9}{'best':>8}{'reward':>8}{'moved':>8}"]
    for way in WAYS:
        name = {"wrong": "the colleague's training", "right": "ours"}.get(way, way)
        ranking, ordered, best, value, moved = (found[f"{key} {way}"] for key in MEASURES[1:])
        lines.append(
            f"{name:26}{ranking:9.2f}{ordered:9.2f}{best:8.2f}{value:8.2f}{abs(moved):8.2f}".replace("-", "−")
        )
    return "\n".join(lines)


def symptom_figures(wrong: list[dict[str, Any]], right: list[dict[str, Any]]) -> Picture:
    """The ranking loss and the share of pairs in order along training; one mapping of `symptoms` a seed."""
    panels = {
        "ranking": ("ranking loss", "ranking loss (nats per token)"),
        "ordered": ("share of pairs in order", "pairs in the order of their rewards"),
    }
    return beside(
        *two_trainings(wrong, right, panels, names=("theirs", "ours"), training=f"{STEPS} steps of RRHF")
    )


SUSPECT = Question(
    ask="The ranking loss falls below 0, no more pairs stand in the right order than before, and the best answers become less likely. Who did it?",
    options=(
        (
            "The learning rate is far too small.",
            "Then nothing would move. This policy has moved three quarters as far as ours.",
        ),
        (
            "The order is turned round somewhere.",
            "Then fewer and fewer pairs would stand in the right order, and the ranking loss, of hinges, would fall towards 0 and not through it. The share here is what it was.",
        ),
        (
            "The mask that picks the pairs in the wrong order has lost an axis, and picks whole rows.",
            "Yes. A sum over max(0, ·) cannot be negative, so something else is being summed: all leads of an answer, also those over answers that are rightly behind it.",
        ),
        (
            "All rewards are equal.",
            "Then no pair would count, the ranking loss would be 0 from the first step on, and only one answer of each prompt would be learned.",
        ),
        (
            "The likelihood of the best answer outweighs the ranking.",
            "Then the best answers would become likelier and, as answers share their tokens, more pairs would come into order. Here the best ones fall.",
        ),
    ),
    right=2,
)

BUG_HUNT = BugHunt(
    title="The loss falls and falls, and the order of the answers does not improve",
    wrong=ranking_wrong,
    right=ranking_right,
    explanation=(
        "disordered is a table of K by K: does i stand before j, though it is worse? Its row [0] tells of the first answer alone. "
        "A table of K by K that is indexed with a mask of length K gives whole rows: for every answer j that is better than the "
        "first and less likely, the leads of j over all answers. Their sum is made smaller by making j less likely: the better "
        "answer is pushed down, below the first and below all others, without end, because nothing is cut off at 0. Where the "
        "first answer happens to be the best, the mask is empty and the loss 0, whatever the order of the rest. No shape is "
        "wrong anywhere, and nothing raises an error. Leave the mask whole. In the program that came with the paper such a [0] "
        "takes off an axis of length one, which the rewards of a batch of one prompt have; a reader who gave the function plain "
        "vectors, in exactly the wrong order, was told a loss of 0."
    ),
    source="RRHF issue 29, in which scores in exactly the wrong order have a ranking loss of 0",
    link="https://github.com/GanjinZero/RRHF/issues/29",
)
