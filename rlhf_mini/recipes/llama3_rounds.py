"""What a round of Llama 3 does: pairs, reward model, rejection sampling, SFT from the base model, DPO."""

import dataclasses
import random
from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel

from rlhf_mini.data.chat import answer, pack_texts
from rlhf_mini.methods.answers import Drawing, best_of_each, draw_answers
from rlhf_mini.methods.dpo import without_last_token
from rlhf_mini.methods.masked_dpo import every_token, masked_dpo
from rlhf_mini.methods.rejection_sampling import Chosen, pooled
from rlhf_mini.methods.reward_model import normalise, scores, train_reward_model
from rlhf_mini.methods.sft import sft
from rlhf_mini.methods.siblings import mean_of_siblings
from rlhf_mini.models import new_reward_model
from rlhf_mini.pipeline import Pipeline, pack_pairs
from rlhf_mini.recipes.direct_settings import RATE, direct_settings
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories.editing import edited

CLEAR = stories.RATINGS[2:]  # "better" and "significantly better"
RATES = (1.0, 0.5, 0.7, 0.35)  # what each sibling's learning rate is multiplied by
SAMPLES = 10  # K of rejection sampling, the least of "between 10 and 30"
KL_WEIGHT = 0.1

Row = Mapping[str, Any]  # of a preference: prompt, chosen, rejected, and a rating if people chose


class Campaign:
    """What goes from round to round: all pairs and all chosen answers so far, and the newest two models."""

    def __init__(self, pipeline: Pipeline, *, members: int, edited_share: float) -> None:
        self.pipeline, self.members, self.edited_share = pipeline, members, edited_share
        self.generator, self.rng = pipeline.generator("Llama 3"), pipeline.rng("Llama 3 edits")
        self.tuned = self.policy = pipeline.policy("sft")
        self.pairs: list[Row] = []
        self.newest: list[Row] = []
        self.chosen: list[Chosen] = []

    def requests(self, count: int, purpose: str) -> list[str]:
        """Fresh training prompts."""
        seed = self.pipeline.seed_for(f"Llama 3 {purpose}")
        return [request.text for request in stories.draw_requests(count, seed=seed)]

    def ask_people(self, number: int) -> None:
        """Two models' answers to fresh prompts, compared and in part edited; first the pipeline's pairs."""
        count = 4 * self.pipeline.profile.ppo.episodes
        if number == 1:
            shown: Sequence[Row] = list(self.pipeline.preferences("train"))[: 2 * count]
        else:
            prompts = self.requests(count, f"pairs {number}")
            first, second = (self._answers(model, prompts) for model in (self.policy, self.tuned))
            rows = [
                {"prompt": p, "first": a, "second": b} for p, a, b in zip(prompts, first, second, strict=True)
            ]
            shown = stories.annotate(rows, seed=self.pipeline.seed_for(f"Llama 3 judges {number}"))
        clear = clear_pairs(shown)
        self.newest = clear + edits(clear, share=self.edited_share, rng=self.rng)
        self.pairs += self.newest

    def _answers(self, model: PreTrainedModel, prompts: list[str]) -> list[str]:
        longest = self.pipeline.profile.max_new_tokens
        return answer(
            model, self.pipeline.tokenizer(), prompts, max_new_tokens=longest, generator=self.generator
        )

    def reward_model(self) -> PreTrainedModel:
        """From the base model, on all pairs so far, without margins; the mean of its siblings."""
        pipeline = self.pipeline
        start = new_reward_model(pipeline.policy("base"), seed=pipeline.seed)
        pairs = pack_pairs(pipeline.tokenizer(), Dataset.from_list([*map(texts_of, self.pairs)]))

        def one(model: PreTrainedModel, place: int) -> None:
            config = self._slower(pipeline.profile.reward_model, place)
            train_reward_model(model, pairs, config=config, generator=self.generator)

        model = mean_of_siblings(start, one, members=self.members)
        normalise(model, pairs.rejected)
        return model

    def sample(self, reward_model: PreTrainedModel, number: int) -> dict[str, float]:
        """The best of K answers of the newest policy to fresh prompts joins those of the rounds before."""
        profile = self.pipeline.profile
        drawn = draw_answers(
            self.policy,
            self.pipeline.tokenizer(),
            self.requests(3 * profile.ppo.episodes // 2, f"prompts {number}"),
            lambda sequences: scores(reward_model, sequences),
            config=Drawing(samples=SAMPLES, temperature=1.0, max_new_tokens=profile.max_new_tokens),
            generator=self.generator,
        )
        self.chosen.append(drawn.kept(best_of_each(drawn.rewards)))
        return {
            "pairs": float(len(self.pairs)),
            "newest": float(len(self.newest)),
            "score": float(drawn.rewards.mean()),
            "best": float(drawn.rewards.amax(1).mean()),
        }

    def fine_tune(self) -> None:
        """From the base model, on all chosen answers and as many demonstrations as fill up one epoch."""
        pipeline, sampled = self.pipeline, pooled(self.chosen)
        count, seed = pipeline.profile.demonstrations, pipeline.seed_for("demonstrations")
        shown = stories.demonstrations(count, seed=seed)[: max(0, count - len(sampled))]
        prompts = [*sampled.prompts, *(row["prompt"] for row in shown)]
        answers = [*sampled.answers, *(row["completion"] for row in shown)]
        packed = pack_texts(pipeline.tokenizer(), prompts, answers)

        def one(model: PreTrainedModel, place: int) -> None:
            config = dataclasses.replace(self._slower(pipeline.profile.sft, place), epochs=1)
            sft(model, packed, config=config, generator=self.generator)

        self.tuned = mean_of_siblings(pipeline.policy("base"), one, members=self.members)

    def prefer(self, *, masked: bool, nll_weight: float) -> None:
        """DPO from the fine-tuned model, which is its reference, on the newest pairs alone."""
        pairs = pack_pairs(self.pipeline.tokenizer(), Dataset.from_list([*map(texts_of, self.newest)]))

        def one(model: PreTrainedModel, place: int) -> None:
            masked_dpo(
                model,
                self.tuned,
                pairs,
                kl_weight=KL_WEIGHT,
                nll_weight=nll_weight,
                config=direct_settings(self.pipeline, rate=RATE * RATES[place], epochs=2, share=0.5),
                generator=self.generator,
                contrasted=without_last_token if masked else every_token,
            )

        self.policy = mean_of_siblings(self.tuned, one, members=self.members)

    @staticmethod
    def _slower(config: Any, place: int) -> Any:
        optimizer = config.optimizer
        rate = RATES[place] * optimizer.learning_rate
        return dataclasses.replace(config, optimizer=dataclasses.replace(optimizer, learning_rate=rate))


def clear_pairs(rows: Sequence[Row]) -> list[Row]:
    """The pairs rated "better" or "significantly better", of two different answers, neither of them empty."""
    return [
        row
        for row in rows
        if row["rating"] in CLEAR
        and row["chosen"] != row["rejected"]
        and all(row[side].strip() for side in ("chosen", "rejected"))
    ]


def edits(rows: Sequence[Row], *, share: float, rng: random.Random) -> list[Row]:
    """Of a share of the pairs the chosen answer, improved: edited > chosen, and edited > rejected."""
    found: list[Row] = []
    for row in rows:
        if rng.random() < share and (better := edited(row["prompt"], row["chosen"], rng)):
            others = row["chosen"], row["rejected"]
            found += [{"prompt": row["prompt"], "chosen": better, "rejected": other} for other in others]
    return found


def texts_of(row: Row) -> dict[str, str]:
    """A row's three texts, without what the annotators and gold say of them."""
    return {name: row[name] for name in ("prompt", "chosen", "rejected")}
