"""Annotators: noisy, biased judges whose choices follow Bradley and Terry from the gold score.

P(first answer preferred) = σ((u₁ − u₂ + position bias) / temperature), with the utility of an answer
u = gold + length bias · sentences. Strength ratings cut the utility difference as felt, noise included, into
the four grades of Llama 2 (Touvron et al. 2023, §3.2.1).
"""

import math
import random
from dataclasses import dataclass

from rlhf_mini.worlds.stories.gold import gold
from rlhf_mini.worlds.stories.parser import split_sentences

RATINGS = ("negligibly better", "slightly better", "better", "significantly better")
RATING_CUTS = (0.25, 1.2, 2.5)  # of the felt utility difference


@dataclass(frozen=True, kw_only=True)
class Annotator:
    """One judge. `temperature` > 0 scales the noise; the biases are in units of gold."""

    name: str
    temperature: float
    length_bias: float = 0.0  # per sentence
    position_bias: float = 0.0  # for the answer shown first
    leniency: float = 0.0  # added to scalar ratings

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")

    def utility(self, prompt: str, answer: str) -> float:
        """Gold and length bias: what this judge feels about an answer, before any noise."""
        return gold(prompt, answer).total + self.length_bias * len(split_sentences(answer))

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

    Returns rows with `prompt`, `chosen`, `rejected`, `rating`, `annotator`, `ceiling` and the gold scores.
    The ceiling is the accuracy of the best prediction of the choice from prompt and answers alone: see
    `panel_preference`.
    """
    rng = random.Random(f"annotators {seed}")
    judged: list[dict[str, object]] = []
    for row in rows:
        judge = rng.choice(panel)
        won, rating = judge.compare(row["prompt"], row["first"], row["second"], rng)
        chosen, rejected = (row["first"], row["second"]) if won else (row["second"], row["first"])
        chance = panel_preference(row["prompt"], row["first"], row["second"], panel=panel)
        judged.append(
            {
                "prompt": row["prompt"],
                "chosen": chosen,
                "rejected": rejected,
                "rating": rating,
                "annotator": judge.name,
                "ceiling": max(chance, 1 - chance),
                "gold_chosen": gold(row["prompt"], chosen).total,
                "gold_rejected": gold(row["prompt"], rejected).total,
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
