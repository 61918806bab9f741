"""Gemini: reward model and policy in alternation, each round's pairs written by the policy as it is then.

The report gives the shape, a loop of people's feedback, reward model and reinforcement learning, and no
number of it. The variant draws as many pairs, to the same prompts and at the same moments, from the start
alone.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel

from rlhf_mini.batch import Sequences
from rlhf_mini.data.chat import answer, pack_texts
from rlhf_mini.methods.iterated_rlhf import Row, alternate
from rlhf_mini.methods.ppo import ppo, value_model_for
from rlhf_mini.methods.reward_model import normalise, scores, train_reward_model
from rlhf_mini.models import copy_of, freeze, new_reward_model
from rlhf_mini.pipeline import Pipeline, pack_pairs, prompts_for_ppo
from rlhf_mini.recipes.recipe import Recipe
from rlhf_mini.worlds import stories

ROUNDS = 4


def purpose(name: str, number: int) -> str:
    """Whose random numbers a round draws: the first the pipeline's, so that one round is the pipeline's run.

    >>> purpose("ppo", 1), purpose("ppo", 2)
    ('ppo', 'Gemini ppo 2')
    """
    return name if number == 1 else f"Gemini {name} {number}"


class Loop:
    """The three functions of `alternate` on the pipeline's stages, for so many rounds."""

    def __init__(self, pipeline: Pipeline, *, rounds: int, renewed: bool) -> None:
        self.pipeline, self.rounds, self.renewed = pipeline, rounds, renewed
        self.of_start = list(pipeline.preferences("train"))
        self.prompts, self.add_gold = prompts_for_ppo(pipeline)

    def share(self, number: int) -> list[dict[str, Any]]:
        """The pairs of the start that fall to a round: every round has as many, but for a last few."""
        places = [len(self.of_start) * done // self.rounds for done in (number - 1, number)]
        return self.of_start[places[0] : places[1]]

    def pairs_of(self, policy: PreTrainedModel, number: int) -> list[Row]:
        """Two answers of the policy to each prompt of the round's share, judged by the panel.

        In the first round the policy is the start, whose pairs are there; not
        `renewed`, they are the start's in every round.
        """
        share = self.share(number)
        if number == 1 or not self.renewed:
            return list(share)
        prompts = [row["prompt"] for row in share]
        generator = self.pipeline.generator(purpose("pairs", number))
        length = self.pipeline.profile.max_new_tokens
        first, second = (
            answer(policy, self.pipeline.tokenizer(), prompts, max_new_tokens=length, generator=generator)
            for _ in range(2)
        )
        rows = [
            {"prompt": p, "first": a, "second": b} for p, a, b in zip(prompts, first, second, strict=True)
        ]
        return list(stories.annotate(rows, seed=self.pipeline.seed_for(purpose("pairs", number))))

    def reward_model_on(self, rows: list[Row], number: int) -> PreTrainedModel:
        """A reward model anew, from the SFT model, its zero and unit set on the same answers each time."""
        model = new_reward_model(self.pipeline.policy("sft"), seed=self.pipeline.seed).requires_grad_(True)
        texts = [{name: row[name] for name in ("prompt", "chosen", "rejected")} for row in rows]
        train_reward_model(
            model,
            pack_pairs(self.pipeline.tokenizer(), Dataset.from_list(texts)),
            config=self.pipeline.profile.reward_model,
            generator=self.pipeline.generator(purpose("reward_model", number)),
        )
        normalise(model, self.reference_answers())
        return freeze(model)

    def reference_answers(self) -> Sequences:
        """The start's answers that people liked less in the first round."""
        share = self.share(1)
        prompts = [row["prompt"] for row in share]
        return pack_texts(self.pipeline.tokenizer(), prompts, [row["rejected"] for row in share])

    def improve(
        self, policy: PreTrainedModel, reward_model: PreTrainedModel, number: int
    ) -> list[dict[str, float]]:
        """PPO from the policy as it is, for a round's share of the iterations; KL to the SFT model always."""
        usual = self.pipeline.profile.ppo
        return ppo(
            policy,
            value_model_for(reward_model).requires_grad_(True),
            self.pipeline.policy("sft"),
            lambda sequences: scores(reward_model, sequences),
            self.pipeline.tokenizer(),
            self.prompts,
            config=replace(usual, iterations=max(1, usual.iterations // self.rounds)),
            generator=self.pipeline.generator(purpose("ppo", number)),
            on_rollout=self.add_gold,
        )


def step_of(number: int) -> str:
    """The subfolder of a round's policy.

    >>> step_of(1)
    'round 1'
    """
    return f"round {number}"


def train(pipeline: Pipeline, folder: Path, *, rounds: int = ROUNDS, renewed: bool = True) -> None:
    """The policy after each round; beside it `reward model K` and the round's pairs in `pairs K.json`.

    `renewed`: each round's pairs are the current policy's; otherwise they are all the start's, and as many.
    """
    loop, policy = Loop(pipeline, rounds=rounds, renewed=renewed), copy_of(pipeline.policy("sft"))

    def save(number: int, fresh: list[Row], reward_model: PreTrainedModel) -> None:
        policy.save_pretrained(folder / step_of(number))
        reward_model.save_pretrained(folder / f"reward model {number}")
        told = [{name: row[name] for name in ("prompt", "chosen", "rejected", "first_won")} for row in fresh]
        (folder / f"pairs {number}.json").write_text(json.dumps(told))

    logs = alternate(
        policy,
        rounds=rounds,
        pairs_of=loop.pairs_of,
        reward_model_on=loop.reward_model_on,
        improve=loop.improve,
        on_round=save,
    )
    told = [{**entry, "round": number} for number, log in enumerate(logs, start=1) for entry in log]
    (folder / "log.json").write_text(json.dumps(told))


RECIPE = Recipe(
    name="gemini",
    title="Gemini",
    year=2023,
    report="Gemini Team, Gemini: A Family of Highly Capable Multimodal Models, §6.3 of the later version",
    address="https://arxiv.org/abs/2312.11805",
    data=(
        "Prompts from vendors, licences and synthesis, the same sets for demonstrations, feedback and RL; "
        "sizes not stated"
    ),
    reward=(
        "Reward models on relative preferences and on feedback on single responses; loss, form and number "
        "not stated"
    ),
    optimiser="'RLHF', citing Bai et al. 2022; algorithm and hyperparameters not stated",
    anchor="Not stated",
    rounds=(
        "An iterative process: RL pushes the boundaries of the reward model, which is improved with new "
        "data; number not stated"
    ),
    reported=(
        (
            "SFT and RLHF against SFT alone, image understanding: +0.223 ± 0.06 on a scale from −1.5 to 1.5 "
            "(§6.5.4)"
        ),
        (
            "All instructions of a complex prompt followed: 54.1% with Ultra, 25.5% by post-trained PaLM 2 "
            "(Table 14)"
        ),
    ),
    left_out=(
        "Every size: prompts, demonstrations, comparisons, reward models",
        "Algorithm, KL, learning rates, and what restarts from where after a round",
        "How many rounds there were, and how the rewards of several models are combined",
    ),
    set_right=(
        (
            "The text names vendors, licences and synthesis as sources, not end users, as descriptions of "
            "Figure 7 often say"
        ),
        "Policy and reward model alternate with new data; nothing says that they are trained jointly",
        "No algorithm is named, neither PPO nor direct preference optimisation",
    ),
    train=train,
    steps=tuple(step_of(number) for number in range(1, ROUNDS + 1)),
    settings={"rounds": ROUNDS, "renewed": True},
    variants={"all pairs from the start": {"renewed": False}},
    departures=(
        "Everything but the loop is ours: PPO, the KL to the SFT model, the policy that goes on where it was",
        (
            "The profile's pairs and iterations are divided among four rounds; each reward model learns "
            "from all pairs so far"
        ),
        "Pairs alone, where the report has feedback on single responses too",
    ),
)
