"""The chapter's bug hunt: a GRPO step whose loss reads 0, as it should, and whose groups are hardly ever without spread."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rlhf_mini.chapters.hunts import ends_of, two_trainings
from rlhf_mini.chapters.verifiable.toy import LANGUAGE, RIGHT_TOKEN
from rlhf_mini.estimators import group_scaled_advantages
from rlhf_mini.loop import OptimizerConfig, fit
from rlhf_mini.methods.group_methods import grpo_method
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import BugHunt, Picture, Question, beside

PASS_RATES = (0.02, 0.02, 0.05, 0.05, 0.1, 0.3, 0.6, 0.9)  # of eight prompts before training
GROUP, STEPS = 8, 80
LOOKS = (1, *range(10, STEPS + 1, 10))
MEASURES = ("step", "loss", "size", "teaching", "promised", "pass_rate", "hardest")
Advantages = Callable[..., Tensor]


def advantages_wrong(rewards: Tensor, *, group: int) -> Tensor:
    """GRPO's advantages (group · P,) of answers that were drawn in rounds: each of P prompts once, then each again."""
    groups = rewards.view(-1, group)
    return group_scaled_advantages(groups).flatten()


def advantages_right(rewards: Tensor, *, group: int) -> Tensor:
    """GRPO's advantages (group · P,) of answers that were drawn in rounds: each of P prompts once, then each again."""
    groups = rewards.view(group, -1).T
    return group_scaled_advantages(groups).T.flatten()


@dataclass(frozen=True, kw_only=True)
class Way:
    """One training: how answers are compared, and what a suspect would have got wrong.

    - `coin`: the verifier does not read; it says right half of the time.
    - `easy`: all prompts are passed half of the time at the start.
    """

    advantages: Advantages = advantages_right
    coin: bool = False
    easy: bool = False
    group: int = GROUP
    rate: float = 0.05


WAYS: Mapping[str, Way] = {
    "wrong": Way(advantages=advantages_wrong),
    "right": Way(),
    "the verifier tosses a coin": Way(coin=True),
    "all prompts are even": Way(easy=True),
    "the rate is far too small": Way(rate=1e-5),
    "groups of two": Way(group=2),
}
SUSPECTS = tuple(WAYS)[2:]


class Tables(nn.Module):
    """A policy with a table of logits for each prompt, all texts alike but for the first token."""

    def __init__(self, rates: tuple[float, ...]) -> None:
        """Start at these pass rates."""
        super().__init__()
        logits = torch.zeros(len(rates), len(LANGUAGE.states), LANGUAGE.vocabulary, dtype=torch.float64)
        for table, rate in zip(logits, rates, strict=True):
            table[0] = torch.tensor((1 - rate) / 2).log()
            table[0, RIGHT_TOKEN] = torch.tensor(rate).log()
        self.logits = nn.Parameter(logits)

    def forward(self) -> Tensor:
        """(P, B, T): the log-probability of each token of each text, prompt by prompt."""
        return torch.stack([LANGUAGE.from_table(table.log_softmax(1)) for table in self.logits])


def symptoms(pipeline: Pipeline, *, way: str) -> dict[str, Any]:
    """GRPO on eight prompts of the toy language, by one of `WAYS`; lists of one number a look.

    What the training logs, each before the step: `loss`; `size`, the norm of its gradient; `teaching`, the share of
    prompts with an answer whose advantage is not 0, over the steps since the last look. What it does not know:
    `promised`, the share that should have one by the exact pass rates, over the same steps; `pass_rate`, these on
    average over prompts, and `hardest`, over the four hardest.
    """
    settings, method = WAYS[way], grpo_method()
    policy = Tables((0.5,) * len(PASS_RATES) if settings.easy else PASS_RATES)
    generator = torch.Generator().manual_seed(pipeline.seed)
    right = LANGUAGE.score(lambda text: float(text[0] == RIGHT_TOKEN))

    def draws() -> Iterator[tuple[Tensor, Tensor]]:
        """Rounds: every prompt once, then every prompt again; the numbers of prompts and of texts."""
        prompts = torch.arange(len(PASS_RATES)).repeat(settings.group)
        while True:
            chances = policy().detach().sum(2).exp()
            yield prompts, torch.multinomial(chances[prompts], 1, generator=generator)[:, 0]

    def loss_fn(drawn: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        prompts, texts = drawn
        rewards = right[texts]
        if settings.coin:
            rewards = torch.randint(2, rewards.shape, generator=generator).double()
        advantages = settings.advantages(rewards, group=settings.group)
        logp, response = policy()[prompts, texts], LANGUAGE.response[texts]
        loss = method.average(method.policy_term(logp, logp.detach(), advantages, response), response)
        teaching = (advantages.view(settings.group, -1) != 0).any(0).double().mean()
        return loss, {"teaching": teaching}

    @torch.no_grad()
    def look(step: int, entry: dict[str, Any]) -> None:
        rates = policy().sum(2).exp() @ right
        promised = 1 - rates**settings.group - (1 - rates) ** settings.group
        entry |= {"step": step, "size": entry["grad_norm"], "promised": float(promised.mean())}
        entry |= {"pass_rate": float(rates.mean()), "hardest": float(rates[:4].mean())}

    optimizer = OptimizerConfig(learning_rate=settings.rate)
    history = fit(policy, draws(), loss_fn, optimizer=optimizer, steps=STEPS, hooks=[look], description=way)
    since = [history[before:step] for before, step in itertools.pairwise((0, *LOOKS))]
    return {name: [_seen(name, entries) for entries in since] for name in MEASURES}


def _seen(name: str, entries: list[dict[str, Any]]) -> float | int:
    """What is told at a look: two shares as means over the steps since the last one, anything else as it is now."""
    if name in ("teaching", "promised"):
        return sum(entry[name] for entry in entries) / len(entries)
    return entries[-1][name]


def readings(pipeline: Pipeline) -> dict[str, float]:
    """Where every training ended, measured once, in flat names: `loss wrong`, `teaching right` and so on."""
    runs = {way: pipeline.measured(symptoms, way=way) for way in WAYS}
    first = {f"promised first {way}": run["promised"][0] for way, run in runs.items()}
    return {**ends_of(runs, MEASURES[1:]), **first}


def told(found: Mapping[str, float]) -> str:
    """The symptoms of each training as lines of one width, from `readings`."""
    lines = [f"{'':27}{'loss':>6}{'gradient':>10}{'teaching':>9}{'promised':>9}{'passed':>8}{'hardest':>9}"]
    for way in WAYS:
        name = {"wrong": "the colleague's training", "right": "ours"}.get(way, way)
        loss, size, teaching, promised, rate, hardest = (found[f"{key} {way}"] for key in MEASURES[1:])
        lines.append(
            f"{name:27}{abs(loss):6.2f}{size:10.3f}{teaching:9.0%}{promised:9.0%}{rate:8.2f}{hardest:9.2f}"
        )
    return "\n".join(lines)


def symptom_figures(wrong: list[dict[str, Any]], right: list[dict[str, Any]]) -> Picture:
    """The share of prompts that teach and the pass rate of the hardest, along training; one mapping a seed."""
    panels = {
        "teaching": ("share of prompts that teach", "prompts with an advantage that is not 0"),
        "hardest": ("pass rate of the four hardest prompts", "pass rate of the four hardest prompts"),
    }
    return beside(
        *two_trainings(wrong, right, panels, names=("theirs", "ours"), training=f"{STEPS} steps of GRPO")
    )


SUSPECT = Question(
    ask=(
        "The loss reads 0 and its gradient does not. Every prompt teaches in every step, though by its pass rate every second "
        "one should have all of its answers right or all wrong. The pass rate rises, more slowly than ours, and most slowly "
        "for the hardest prompts. Who did it?"
    ),
    options=(
        (
            "The verifier tosses a coin.",
            "Then nearly every prompt would teach, as here. But nothing could be learned from it, and the pass rate rises.",
        ),
        (
            "All prompts are even, so that no group is without spread.",
            "Then so many groups with spread would be promised, too. Here they are not.",
        ),
        (
            "The learning rate is far too small.",
            "Then the pass rate would stay where it was, and as many prompts would teach as are promised to.",
        ),
        (
            "The groups are too small.",
            "Small groups are without spread more often, not less. The share that teaches would be lower, and agree with what is promised.",
        ),
        (
            "The groups are not those of one prompt.",
            "Yes. Answers to different prompts, easy and hard, nearly always differ in their reward. What an answer is then compared with is how hard the others' prompts are.",
        ),
    ),
    right=4,
)

BUG_HUNT = BugHunt(
    title="A run without a single wasted group, in which the hard prompts are learned too slowly",
    wrong=advantages_wrong,
    right=advantages_right,
    explanation=(
        "The answers were drawn in rounds: each prompt once, then each prompt again. So the answers to one prompt stand P places "
        "apart, and view(-1, group) cuts the row into groups of neighbours: one answer to each of several prompts. The shape is "
        "right, the advantages of each group add up to 0, and so the loss reads 0. An answer is now good if its prompt is easier "
        "than the others in the row. On average over draws this is still a baseline, because it does not depend on what the "
        "answer says, and so the policy learns; but it is one that knows nothing of the prompt, the wrong answers to a hard "
        "prompt are pushed down one and all, and the noise drowns what little a rare right answer teaches. With as many answers "
        "a prompt as prompts, not even the number of groups gives it away. Two guards: the advantages of the answers to one "
        "prompt must add up to 0, and the share of groups without spread must be about p^G + (1 − p)^G. The library's Groups "
        "refuses groups whose prompts differ."
    ),
    source="R1-V issue 67, which reports completions that alternate between prompts, and rewards that are grouped as if they did not",
    link="https://github.com/StarsfieldAI/R1-V/issues/67",
)
