"""What a policy learns from its own samples, chosen at random, when batches hold answers of mixed lengths.

The gradient of a policy's log-likelihood on its own samples is zero on average, but only if every answer counts with
its *whole* log-probability. The library's fine-tuning averages over the tokens of a batch, and to save padding a
batch holds answers of similar length; so an answer's tokens count about in inverse proportion to its length, and the
campaign that learns from a random choice drifts towards short answers. Here the same campaign has batches of mixed
lengths, and nothing else is different.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_mini.batch import Sequences
from rlhf_mini.chapters.llama2 import rounds
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.loop import fit
from rlhf_mini.losses import next_token_loss
from rlhf_mini.methods.rejection_sampling import Chosen, draw_candidates, keep, pooled, random_of
from rlhf_mini.methods.sft import SFTConfig
from rlhf_mini.models import copy_of, response_logp
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.tensors import masked_mean


def fine_tune_mixed(
    model: PreTrainedModel, sequences: Sequences, *, config: SFTConfig, generator: torch.Generator
) -> None:
    """Supervised fine-tuning in batches that are drawn whatever the answers' lengths."""

    def batches() -> Iterator[Sequences]:
        for _ in range(config.epochs):
            order = torch.randperm(len(sequences), generator=generator)
            for rows in order[: len(order) // config.batch * config.batch].split(config.batch):
                yield sequences.rows(rows).to(model.device)

    def loss_fn(batch: Sequences) -> tuple[Tensor, dict[str, Tensor]]:
        logp = response_logp(model, batch.tokens, batch.mask, batch.response)
        return masked_mean(next_token_loss(logp), batch.response), {}

    model.train()
    steps = config.epochs * (len(sequences) // config.batch)
    fit(model, batches(), loss_fn, optimizer=config.optimizer, steps=steps, description="fine-tuning")


def along(pipeline: Pipeline) -> dict[str, list[float]]:
    """The random campaign of all rounds with batches of mixed lengths: a list a measure, as `rounds.along`."""
    config, generator = rounds.config_of(pipeline), pipeline.generator("chapter 06 campaign")
    policy, tokenizer = copy_of(pipeline.policy("sft")), pipeline.tokenizer()
    kept: list[Chosen] = []
    history = [rounds.look(pipeline, policy)]
    for round_ in range(1, rounds.ROUNDS + 1):
        requests = rounds.fresh_requests(pipeline, rounds.PROMPTS, round_=round_, purpose="prompts")
        prompts = [request.text for request in requests]
        answers = draw_candidates(policy, tokenizer, prompts, config=config, generator=generator)
        picked = random_of(torch.zeros(len(answers), config.samples), generator=generator)
        kept.append(keep(prompts, answers, picked))
        learned = pooled(kept)
        sequences = pack_texts(tokenizer, learned.prompts, learned.answers)
        fine_tune_mixed(policy, sequences, config=config.sft, generator=generator)
        history.append(rounds.look(pipeline, policy))
    return {name: [float(look[name]) for look in history] for name in history[0]}
