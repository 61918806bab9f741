"""The chapter's bug hunt: a GRPO step whose loss reads 0, as it should, and whose groups are hardly ever without spread."""

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
GROUP, STEPS = 8, 160
LOOKS = (1, *range(20, STEPS + 1, 20))
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
    rate: float = 0.05


WAYS: Mapping[str, Way] = {
    "wrong": Way(advantages=advantages_wrong),
    "right": Way(),
    "the verifier tosses a coin": Way(coin=True),
    "all prompts are even": Way(easy=True),
    "the rate is far too small": Way(rate=1e-5),
    "the rate is far too large": Way(rate=2.0),
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
    groups with an advantage that is not 0. What it does not know: `promised`, the share that should have one by the
    exact pass rates; `pass_rate`, these on average over prompts, and `hardest`, over the four hardest.
    """
    settings, method = WAYS[way], grpo_method()
    policy = Tables((0.5,) * len(PASS_RATES) if settings.easy else PASS_RATES)
    generator = torch.Generator().manual_seed(pipeline.seed)
    right = LANGUAGE.score(lambda text: float(text[0] == RIGHT_TOKEN))

    def draws() -> Iterator[tuple[Tensor, Tensor]]:
        """Rounds: every prompt once, then every prompt again; the numbers of prompts and of texts."""
        prompts = torch.arange(len(PASS_RATES)).repeat(GROUP)
        while True:
            chances = policy().detach().sum(2).exp()
            yield prompts, torch.multinomial(chances[prompts], 1, generator=generator)[:, 0]

    def loss_fn(drawn: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        prompts, texts = drawn
        rewards = right[texts]
        if settings.coin:
            rewards = torch.randint(2, rewards.shape, generator=generator).double()
        advantages = settings.advantages(rewards, group=GROUP)
        logp, response = policy()[prompts, texts], LANGUAGE.response[texts]
        loss = method.average(method.policy_term(logp, logp.detach(), advantages, response), response)
        teaching = (advantages.view(GROUP, -1) != 0).any(0).double().mean()
        return loss, {"teaching": teaching}

    @torch.no_grad()
    def look(step: int, entry: dict[str, Any]) -> None:
        if step in LOOKS:
            rates = policy().sum(2).exp() @ right
            promised = 1 - rates**GROUP - (1 - rates) ** GROUP
            entry |= {
                "step": step,
                "size": entry["grad_norm"],
                "promised": float(promised.mean()),
                "pass_rate": float(rates.mean()),
                "hardest": float(rates[:4].mean()),
            }

    optimizer = OptimizerConfig(learning_rate=settings.rate)
    history = fit(policy, draws(), loss_fn, optimizer=optimizer, steps=STEPS, hooks=[look], description=way)
    looked = [entry for entry in history if "step" in entry]
    return {name: [entry[name] for entry in looked] for name in MEASURES}
