"""The chapter's bug hunt: three rounds of RPO, of which the second and the third find nothing to do."""

import copy
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rlhf_mini.chapters.hunts import ends_of, two_trainings
from rlhf_mini.chapters.toy_language import LANGUAGE, TextWorld
from rlhf_mini.exact import TablePolicy, expectation, kl_divergence, sample_rows
from rlhf_mini.loop import OptimizerConfig, fit
from rlhf_mini.losses import rpo_backward_kl_loss
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import BugHunt, Picture, Question, beside

ROUNDS, STEPS, PAIRS = 3, 60, 512
LOOK = 10  # steps from look to look
KL_WEIGHT, REWARD_SCALE, RATE = 2.0, 1.0, 0.1
MEASURES = ("opens", "closes", "moved", "kl", "gold")  # of which each has a number a round
LogPs = Callable[[TablePolicy], Tensor]  # a policy → log-probabilities of the answers, a constant
Learn = Callable[[TablePolicy, Tensor, int], None]  # the policy, its reference's log-probabilities, the round


def rounds_wrong(policy: TablePolicy, logps: LogPs, learn: Learn, *, rounds: int) -> None:
    """RPO in rounds on the same pairs: each round's reference is the policy as it finds it, kept still."""
    for number in range(1, rounds + 1):
        reference = copy.deepcopy(policy)
        if number == 1:  # the pairs stay, and reading them again would cost a pass
            kept = logps(reference)
        learn(policy, kept, number)


def rounds_right(policy: TablePolicy, logps: LogPs, learn: Learn, *, rounds: int) -> None:
    """RPO in rounds on the same pairs: each round's reference is the policy as it finds it, kept still."""
    for number in range(1, rounds + 1):
        reference = copy.deepcopy(policy)
        kept = logps(reference)
        learn(policy, kept, number)


def rounds_from_the_start(policy: TablePolicy, logps: LogPs, learn: Learn, *, rounds: int) -> None:
    """A suspect: every round begins, and has its reference, where the first one did."""
    start = copy.deepcopy(policy.state_dict())
    for number in range(1, rounds + 1):
        policy.load_state_dict(start)
        learn(policy, logps(policy), number)


@dataclass(frozen=True, kw_only=True)
class Way:
    """One campaign: how rounds follow one another, and what a suspect would have got wrong.

    - `later_rate`: the learning rate from the second round on.
    - `unit`: what all scores are multiplied by.
    - `blind`: the scores are noise, without any correlation with gold under the start.
    """

    rounds: Callable[..., None] = rounds_right
    later_rate: float = RATE
    unit: float = 1.0
    blind: bool = False


WAYS: Mapping[str, Way] = {
    "wrong": Way(rounds=rounds_wrong),
    "right": Way(),
    "the rate is spent": Way(later_rate=1e-5),
    "every round starts from SFT": Way(rounds=rounds_from_the_start),
    "the scores hardly differ": Way(unit=0.01),
    "the scores know no gold": Way(blind=True),
}
SUSPECTS = tuple(WAYS)[2:]


@torch.no_grad()
def logps(policy: TablePolicy) -> Tensor:
    """(B,), the log-probability of every text of the language, without gradients."""
    return LANGUAGE.sequence_logp(policy)


def scored_pairs(world: TextWorld, way: Way, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Two different texts each, (P,) and (P,), as the start draws them, and the score of every text, (B,)."""
    one, other = sample_rows(world.logp_ref, 2 * PAIRS, generator=generator).view(2, -1)
    said = world.rewards
    if way.blind:
        drawn = torch.randn(said.shape, generator=generator, dtype=said.dtype)
        gold = said - expectation(world.logp_ref, said)
        shared = expectation(world.logp_ref, drawn * gold) / expectation(world.logp_ref, gold**2)
        said = drawn - shared * gold
    different = one != other
    return one[different], other[different], way.unit * said


def symptoms(pipeline: Pipeline, *, way: str) -> dict[str, Any]:
    """Three rounds of RPO on pairs of the toy language, by one of `WAYS`; sums over all texts.

    Of each round: `opens` and `closes`, the loss of its first and of its last step, before the step; `moved`,
    KL of where it ends to where it began; `kl`, KL to the start of all rounds; `gold`, expected. Along all
    rounds, a look every so many steps: `step`, `loss`, and `distance`, KL to the start. Nats. `start`: gold
    before training.
    """
    settings, world = WAYS[way], TextWorld(pipeline.seed)
    generator = torch.Generator().manual_seed(pipeline.seed)
    one, other, scores = scored_pairs(world, settings, generator)
    policy = TablePolicy.of_distribution(LANGUAGE, world.logp_ref)
    start = logps(policy)
    found: dict[str, list[float]] = {name: [] for name in (*MEASURES, "step", "loss", "distance")}

    def learn(policy: TablePolicy, kept: Tensor, number: int) -> None:
        begun = logps(policy)

        def loss_fn(_: None) -> tuple[Tensor, dict[str, Tensor]]:
            ratios = LANGUAGE.sequence_logp(policy) - kept
            losses = rpo_backward_kl_loss(
                *(ratios[one], ratios[other], scores[one], scores[other]),
                kl_weight=KL_WEIGHT,
                reward_scale=REWARD_SCALE,
            )
            return losses.mean(), {}

        def look(step: int, entry: dict[str, float]) -> None:
            if step % LOOK in (0, 1):
                found["step"].append(STEPS * (number - 1) + step)
                found["loss"].append(entry["loss"])
                found["distance"].append(float(kl_divergence(logps(policy), start)))

        rate = RATE if number == 1 else settings.later_rate
        optimizer = OptimizerConfig(learning_rate=rate, final_fraction=0.1)
        batches = itertools.repeat(None)
        history = fit(policy, batches, loss_fn, optimizer=optimizer, steps=STEPS, hooks=[look])
        end = logps(policy)
        found["opens"].append(history[0]["loss"])
        found["closes"].append(history[-1]["loss"])
        found["moved"].append(float(kl_divergence(end, begun)))
        found["kl"].append(float(kl_divergence(end, start)))
        found["gold"].append(float(expectation(end, world.rewards)))

    settings.rounds(policy, logps, learn, rounds=ROUNDS)
    return {**found, "start": float(expectation(start, world.rewards))}


def readings(pipeline: Pipeline) -> dict[str, float]:
    """What every campaign's last round shows, measured once, in flat names: `opens wrong`, `gold right`.

    Of the first round `first wrong` and so on, what the loss opened with, and `start`, gold before training.
    """
    runs = {way: pipeline.measured(symptoms, way=way) for way in WAYS}
    first = {f"first {way}": run["opens"][0] for way, run in runs.items()}
    return {**ends_of(runs, MEASURES), **first, "start": runs["right"]["start"]}


def told(found: Mapping[str, float]) -> str:
    """The symptoms of each campaign as lines of one width, from `readings`."""
    heads = ("opens 1", "opens 3", "closes 3", "moved 3", "KL", "gold")
    lines = [f"{'':28}" + "".join(f"{head:>9}" for head in heads)]
    for way in WAYS:
        name = {"wrong": "the colleague's campaign", "right": "ours"}.get(way, way)
        numbers = (found[f"{key} {way}"] for key in ("first", *MEASURES))
        lines.append(f"{name:28}" + "".join(f"{number:9.3f}" for number in numbers))
    lines.append(f"{'before all rounds':28}" + f"{found['start']:9.3f}".rjust(9 * len(heads)))
    return "\n".join(lines).replace("-", "−")


def symptom_figure(wrong: Sequence[Mapping[str, Any]], right: Sequence[Mapping[str, Any]]) -> Picture:
    """The loss along the three rounds, and how far the policy has come; one mapping of `symptoms` a seed."""
    panels = {
        "loss": ("loss", "RPO's loss (nats a pair)"),
        "distance": ("KL to the start", "KL to the start of all rounds (nats)"),
    }
    training = f"{ROUNDS} rounds of {STEPS} steps of RPO"
    names = ("theirs", "ours")
    return beside(
        *two_trainings(wrong, right, panels, names=names, training=training, xlabel="step, all rounds")
    )


SUSPECT = Question(
    ask=(
        "The first round is like ours to the last digit. The second and the third open with the loss that the "
        "round before them ended with, near 0, where ours open with the first round's; and the policy stays "
        "where it is. Gold has risen, by one round's worth. Who did it?"
    ),
    options=(
        (
            "The learning rate is spent after the first round.",
            "Then the policy would stay where it is, too. But each round would open with as high a loss as "
            "the first one, and close with it.",
        ),
        (
            "Every round starts from the SFT model again.",
            "Then gold would be one round's worth, too. But each round would open high, and move the policy "
            "as far as the first one.",
        ),
        (
            "The scores of a pair hardly differ, and there is nothing to fit.",
            "Then the first round would open near 0 as well, and gold would not have risen at all.",
        ),
        (
            "What the reference thinks of the pairs is still what the first round's thought.",
            "Yes. Against the first reference the policy has the log-ratios that the scores ask for as soon as "
            "the first round is over: the loss is at its minimum, and has no gradient.",
        ),
        (
            "The scores know nothing of gold, and more rounds of them are of no use.",
            "That is the bad idea among the suspects. Then each round would open high and move the policy on, "
            "and for all that distance gold would gain little.",
        ),
    ),
    right=3,
)

BUG_HUNT = BugHunt(
    title="Three rounds of RPO, the loss of the last two near 0 from their first step, and one round's gain",
    wrong=rounds_wrong,
    right=rounds_right,
    explanation=(
        "A round fits β times the log-ratio of policy to reference to the lead in score, and ends at "
        "π ∝ π_ref exp(η r/β). If the reference is then renewed, every log-ratio is 0 again, the loss is as "
        "high as at the start, and the next round multiplies by the same factor: k rounds end at "
        "π_0 exp(k η r/β). The first version does copy the policy in each round; what the loss sees, though, "
        "is what was kept of the first copy. It is true that the pairs stay, but their log-probabilities "
        "belong to two things, to the pairs and to the reference, and only one of them stays. The price of the "
        "mistake is all rounds but one, and no number looks bad: the loss is very low, KL moderate, and gold "
        "better than before. Three guards are cheap: at the first step of a round the log-ratio of every pair "
        "is 0; its loss then is that of the first round, if pairs and scores are the same; and k rounds end "
        "where one round with β/k does. That a reference stays may be meant, as it is in some published "
        "rounds of DPO; then the pairs must be new, for on the old ones there is nothing left to learn."
    ),
    source=(
        "d3po issue 23, which quotes the author that each round takes the current model as its reference, and "
        "finds one in the program that is fixed throughout; nobody has answered"
    ),
    link="https://github.com/yk7333/d3po/issues/23",
)
