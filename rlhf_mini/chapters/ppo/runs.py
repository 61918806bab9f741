"""What the chapter's experiments share: one watched run of PPO, and what is said of it at its end.

Every run starts at the pipeline's SFT model, answers the same prompts with the same random numbers as the stage
`ppo`, and is judged on the same held-out requests. So two runs differ in what the experiment changes and in
nothing else, and a run in which nothing is changed is the stage itself.
"""

import dataclasses
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from rlhf_mini.batch import Rollout
from rlhf_mini.chapters.judging import held_out_requests, judged_on_requests
from rlhf_mini.data.chat import answer, pack_texts, response_texts
from rlhf_mini.estimators import discounted_returns, explained_variance
from rlhf_mini.evaluation.diversity import distinct_n
from rlhf_mini.evaluation.policy import Judged
from rlhf_mini.methods.ppo import Auxiliary, Estimate, OnRollout, PPOConfig, ppo, value_model_for
from rlhf_mini.methods.pretrain import document_loss
from rlhf_mini.methods.reward_model import scores
from rlhf_mini.methods.rollouts import Score
from rlhf_mini.models import copy_of, freeze, response_logp
from rlhf_mini.pipeline import Pipeline, prompts_for_ppo
from rlhf_mini.tensors import masked_mean
from rlhf_mini.worlds import stories

CURVES = (
    "score", "gold", "kl_k1", "kl_k3", "kl_weight", "length", "finished", "distinct_2", "entropy",
    "clip_fraction", "ratio_deviation", "first_ratio_deviation", "value_loss", "explained_variance",
    "grad_norm", "seconds",
)  # fmt: skip
TAIL = 5  # iterations at the end of a run over which what is only seen in training is averaged
DOCUMENTS = 500  # stories that the alignment tax is measured on
SHOWN = 6  # held-out requests whose answers are kept, to be read
MOMENTS = (0, 3, 6, 10, 15, 20, 30)  # iterations before which they are asked, besides the end


@dataclass(frozen=True, kw_only=True)
class Ingredients:
    """All that a run of PPO is made of; an experiment replaces one of them."""

    policy: PreTrainedModel
    value_model: PreTrainedModel
    score: Score
    config: PPOConfig
    estimate: Estimate | None = None
    auxiliary: Auxiliary | None = None
    ratio_tolerance: float | None = None
    on_rollout: Sequence[OnRollout] = ()


def usual(pipeline: Pipeline) -> Ingredients:
    """The ingredients of the stage `ppo`."""
    reward_model = pipeline.reward_model()
    return Ingredients(
        policy=copy_of(pipeline.policy("sft")),
        value_model=value_model_for(reward_model).requires_grad_(True),
        score=lambda sequences: scores(reward_model, sequences),
        config=pipeline.profile.ppo,
    )


def changed(config: PPOConfig, *, optimizer: dict[str, Any] | None = None, **fields: Any) -> PPOConfig:
    """The configuration with other fields, and its optimizer with others."""
    fields["optimizer"] = dataclasses.replace(config.optimizer, **(optimizer or {}))
    return dataclasses.replace(config, **fields)


def watched_run(pipeline: Pipeline, ingredients: Ingredients) -> dict[str, Any]:
    """Train, and say what came of it: see `outcome`. The ingredients' models are trained in place."""
    prompts, add_gold = prompts_for_ppo(pipeline)
    watch = Watch(pipeline, ingredients)
    callbacks = (add_gold, watch.on_rollout, *ingredients.on_rollout)

    def on_rollout(iteration: int, rollout: Rollout, metrics: dict[str, float]) -> None:
        for callback in callbacks:
            callback(iteration, rollout, metrics)

    log = ppo(
        ingredients.policy,
        ingredients.value_model,
        pipeline.policy("sft"),
        ingredients.score,
        pipeline.tokenizer(),
        prompts,
        config=ingredients.config,
        generator=pipeline.generator("ppo"),
        hooks=[watch.on_step],
        on_rollout=on_rollout,
        estimate=ingredients.estimate,
        auxiliary=ingredients.auxiliary,
        ratio_tolerance=ingredients.ratio_tolerance,
    )
    return outcome(pipeline, watch, log)


class Watch:
    """Looks at every rollout and at the first step on each, and asks the same few requests again and again.

    `temperature`: at which the policy answers, if it is not the configuration's.
    """

    def __init__(
        self, pipeline: Pipeline, ingredients: Ingredients, *, temperature: float | None = None
    ) -> None:
        config = ingredients.config
        self.pipeline, self.policy, self.config = pipeline, ingredients.policy, config
        self.temperature = config.temperature if temperature is None else temperature
        self.tokenizer = pipeline.tokenizer()
        self.steps = config.epochs * (config.episodes // config.minibatch)
        self.first_ratios: list[float] = []
        self.moments: list[int] = []
        self.texts: list[list[str]] = []
        self.started = time.process_time()

    def on_rollout(self, iteration: int, rollout: Rollout, metrics: dict[str, float]) -> None:
        """Add the rollout's diversity and what the value model had foreseen of it."""
        response = rollout.sequences.response
        # with λ < 1 the targets contain the values, and what really came is the sum of the rewards
        returns = rollout.returns
        if self.config.gae_lambda < 1:
            returns = discounted_returns(rollout.rewards, response, discount=1.0)
        metrics["explained_variance"] = explained_variance(rollout.values_old, returns, response)
        metrics["distinct_2"] = distinct_n(response_texts(self.tokenizer, rollout.sequences), n=2)
        if iteration in MOMENTS:
            self.read(iteration)

    def on_step(self, step: int, entry: dict[str, float]) -> None:
        """Keep how far the ratio was from 1 on a rollout's first minibatch."""
        if (step - 1) % self.steps == 0:
            self.first_ratios.append(entry["ratio_deviation"])

    def read(self, iteration: int) -> None:
        """Ask the policy as it is now; the same random numbers every time."""
        asked = held_out_requests(self.pipeline)[:SHOWN]
        self.moments.append(iteration)
        self.texts.append(
            answer(
                self.policy,
                self.tokenizer,
                [request.text for request in asked],
                max_new_tokens=self.config.max_new_tokens,
                generator=self.pipeline.generator("read"),
                temperature=self.temperature,
            )
        )


def outcome(pipeline: Pipeline, watch: Watch, log: Sequence[dict[str, float]]) -> dict[str, Any]:
    """What a run ends in. A policy that answered at another temperature than 1 is judged at that temperature.

    - `end`: the judge's numbers on held-out requests, those of `fluency` and, as `last_…`, the means of the last
      rollouts' own; the loss on held-out plain stories (nats a document); and what the training took, in
      seconds of the clock and of the processor, which other programs do not prolong.
    - `curves`: the log, one list a name.
    - `moments`, `texts`, `proxies`, `golds`: the answers to `SHOWN` held-out requests before some iterations and
      at the end, a list of lists each but the first.
    """
    spent = time.process_time() - watch.started
    policy, temperature = freeze(watch.policy), watch.temperature
    watch.read(len(log))
    served = policy if temperature == 1 else cooled(policy, temperature=temperature)
    judged = judged_on_requests(pipeline, served)
    curves = {name: [entry[name] for entry in log] for name in CURVES if name in log[0]}
    curves["first_ratio_deviation"] = watch.first_ratios
    end = {**judged.metrics(), **fluency(pipeline, judged), "document_nats": story_loss(pipeline, policy)}
    end |= {f"last_{name}": sum(values[-TAIL:]) / len(values[-TAIL:]) for name, values in curves.items()}
    end |= {"seconds": sum(curves["seconds"]), "processor_seconds": spent}
    return {"end": end, "curves": curves, "moments": watch.moments, **_judged_texts(pipeline, watch.texts)}


def story_loss(pipeline: Pipeline, model: PreTrainedModel) -> float:
    """The loss on held-out plain stories, the text that the base model was trained on; nats a document."""
    rng = random.Random(f"held-out documents {pipeline.seed}")
    return document_loss(model, pipeline.tokenizer(), [stories.draw_document(rng) for _ in range(DOCUMENTS)])


@torch.no_grad()
def fluency(pipeline: Pipeline, judged: Judged) -> dict[str, float]:
    """How much a judged policy's answers read like stories.

    - `coherence`: the mean share of sentences that fit the story, a decline counting as coherent.
    - `sft_nats`: the SFT model's surprise at them, in nats a token.
    """
    sequences = pack_texts(
        pipeline.tokenizer(), [request.text for request in judged.requests], judged.answers
    ).to(pipeline.device)
    logp = response_logp(pipeline.policy("sft"), sequences.tokens, sequences.mask, sequences.response)
    coherence = [gold.parts.get("coherence", 1.0) for gold in judged.golds]
    return {
        "coherence": sum(coherence) / len(coherence),
        "sft_nats": -float(masked_mean(logp, sequences.response)),
    }


def _judged_texts(pipeline: Pipeline, texts: Sequence[list[str]]) -> dict[str, Any]:
    """The answers kept, with what the proxy and gold say of each."""
    reward_model, tokenizer = pipeline.reward_model(), pipeline.tokenizer()
    asked = [request.text for request in held_out_requests(pipeline)[:SHOWN]]
    return {
        "texts": list(texts),
        "proxies": [scores(reward_model, pack_texts(tokenizer, asked, row)).tolist() for row in texts],
        "golds": [stories.gold_scores(asked, row) for row in texts],
    }


def cooled(policy: PreTrainedModel, *, temperature: float) -> PreTrainedModel:
    """A frozen copy whose distribution at temperature 1 is the policy's at `temperature`."""
    copy = copy_of(policy)
    projection = copy.get_output_embeddings()  # untied from the embedding, which is not divided
    projection.weight = nn.Parameter(projection.weight.detach() / temperature)
    return freeze(copy)
