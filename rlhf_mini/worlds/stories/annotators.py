"""Annotators: noisy, biased judges whose choices follow Bradley and Terry from the gold score.

P(first answer preferred) = σ((u₁ − u₂ + position bias) / temperature), with the utility of an answer
u = w_h · helpfulness + w_s · safety + length bias · sentences. The weights are 1 for a judge of the whole
(the first two terms are then gold); a judge of one side has weight 0 on the other. Strength ratings cut the
utility difference as felt, noise included, into the four grades of Llama 2 (Touvron et al. 2023, §3.2.1).
"""

import math
import random
from dataclasses import dataclass, replace

from rlhf_mini.worlds.stories.gold import gold
from rlhf_mini.worlds.stories.parser import split_sentences
from rlhf_mini.worlds.stories.requests import read_request

RATINGS = ("negligibly better", "slightly better", "better", "significantly better")
RATING_CUTS = (0.25, 1.2, 2.5)  # of the felt utility difference


@dataclass(frozen=True, kw_only=True)
class Annotator:
    """One judge. `temperature` > 0 scales the noise; the biases are in units of gold.

    The two weights say what the judge looks at: gold's helpfulness, its safety, or both. Neither is negative,
    and one of them is above 0.
    """

    name: str
    temperature: float
    length_bias: float = 0.0  # per sentence
    position_bias: float = 0.0  # for the answer shown first
    leniency: float = 0.0  # added to scalar ratings
    helpfulness_weight: float = 1.0
    safety_weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")
        weights = self.helpfulness_weight, self.safety_weight
        if not (all(weight >= 0 for weight in weights) and any(weights)):
            raise ValueError(
                f"the weights of helpfulness and safety must not be negative nor both 0, got {weights}"
            )

    def utility(self, prompt: str, answer: str) -> float:
        """What this judge feels about an answer, before any noise: weighted gold, and length bias."""
        judged = gold(prompt, answer)
        worth = self.helpfulness_weight * judged.helpfulness + self.safety_weight * judged.safety
        return worth + self.length_bias * len(split_sentences(answer))

    def first_preferred(self, prompt: str, first: str, second: str) -> float:
        """The probability that this judge prefers `first`."""
        difference = self.utility(prompt, first) - self.utility(prompt, second) + self.position_bias
        return 1 / (1 + math.exp(-difference / self.temperature))

    def compare(self, prompt: str, first: str, second: str, rng: random.Random) -> tuple[bool, str]:
        """(is `first` preferred, strength rating), from one draw of the felt difference with its noise."""
        noise = rng.random()
        felt = self.utility(prompt, first) - self.utility(prompt, second) + self.position_bias
        felt += self.temperature * math.log(noise / (1 - noise))
        return felt > 0, RATINGS[sum(abs(felt) > cut for cut in RATING_CUTS)]

    def rank(self, prompt: str, answers: list[str], rng: random.Random) -> list[int]:
        """Indices from best to worst, drawn from Plackett–Luce (Gumbel noise on the utilities)."""
        felt = [
            self.utility(prompt, a) - self.temperature * math.log(-math.log(rng.random())) for a in answers
        ]
        return sorted(range(len(answers)), key=lambda i: -felt[i])

    def rate(self, prompt: str, answer: str, rng: random.Random) -> int:
        """A scalar rating from 1 to 7: the utility with noise, shifted by leniency, rounded and clipped."""
        felt = self.utility(prompt, answer) + self.leniency + rng.gauss(0, self.temperature)
        return max(1, min(7, round(felt + 2)))


PANEL = (
    Annotator(name="Ada", temperature=0.5, length_bias=0.05),
    Annotator(name="Bo", temperature=0.7, length_bias=0.15, position_bias=0.2),
    Annotator(name="Cleo", temperature=0.7, length_bias=0.1, leniency=0.5),
    Annotator(name="Dev", temperature=1.0, length_bias=0.25, position_bias=0.3, leniency=-0.5),
)


def judging(panel: tuple[Annotator, ...], *, helpfulness: float, safety: float) -> tuple[Annotator, ...]:
    """The same judges, noise and biases included, looking at helpfulness and safety with these weights.

    >>> [judge.name for judge in judging(PANEL, helpfulness=0.0, safety=1.0)]
    ['Ada', 'Bo', 'Cleo', 'Dev']
    """
    return tuple(replace(judge, helpfulness_weight=helpfulness, safety_weight=safety) for judge in panel)


HELPFULNESS_PANEL = judging(PANEL, helpfulness=1.0, safety=0.0)
SAFETY_PANEL = judging(PANEL, helpfulness=0.0, safety=1.0)


def panel_preference(prompt: str, answer: str, other: str, *, panel: tuple[Annotator, ...] = PANEL) -> float:
    """The probability that a judge drawn from the panel prefers `answer` to `other`, shown in random order.

    All that a reward model could know: it is told neither who judged nor what was shown first. If p is this
    probability, no prediction of the choice is right more often than max(p, 1 − p), the Bayes ceiling.
    """
    chances = [
        (judge.first_preferred(prompt, answer, other) + 1 - judge.first_preferred(prompt, other, answer)) / 2
        for judge in panel
    ]
    return sum(chances) / len(chances)


def annotate(
    rows: list[dict[str, str]], *, seed: int, panel: tuple[Annotator, ...] = PANEL
) -> list[dict[str, object]]:
    """Preference rows from rows with `prompt`, `first`, `second`; one annotator judges each.

    Returns rows with `prompt`, `chosen`, `rejected`, `rating`, `annotator`, `first_won` (was the chosen one
    shown first), `ceiling`, the gold scores, whole and in their two parts whoever judged, and
    `safety_prompt`: whether the prompt asks for something unkind.
    The ceiling is the accuracy of the best prediction of this panel's choice from prompt and answers alone:
    see `panel_preference`.
    """
    rng = random.Random(f"annotators {seed}")
    judged: list[dict[str, object]] = []
    for row in rows:
        judge = rng.choice(panel)
        won, rating = judge.compare(row["prompt"], row["first"], row["second"], rng)
        chosen, rejected = (row["first"], row["second"]) if won else (row["second"], row["first"])
        chance = panel_preference(row["prompt"], row["first"], row["second"], panel=panel)
        better, worse = gold(row["prompt"], chosen), gold(row["prompt"], rejected)
        judged.append(
            {
                "prompt": row["prompt"],
                "chosen": chosen,
                "rejected": rejected,
                "rating": rating,
                "annotator": judge.name,
                "first_won": won,
                "ceiling": max(chance, 1 - chance),
                "gold_chosen": better.total,
                "gold_rejected": worse.total,
                "helpfulness_chosen": better.helpfulness,
                "helpfulness_rejected": worse.helpfulness,
                "safety_chosen": better.safety,
                "safety_rejected": worse.safety,
                "safety_prompt": read_request(row["prompt"]).unkind is not None,
            }
        )
    return judged


def agreement(rows: list[dict[str, str]], *, panel: tuple[Annotator, ...] = PANEL) -> float:
    """Probability that two different judges of the panel agree on a pair, averaged over rows; exact."""
    total, count = 0.0, 0
    for row in rows:
        chances = [judge.first_preferred(row["prompt"], row["first"], row["second"]) for judge in panel]
        for i, p in enumerate(chances):
            for q in chances[i + 1 :]:
                total += p * q + (1 - p) * (1 - q)
                count += 1
    return total / count
