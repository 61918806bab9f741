"""*Bug or bad idea?* for pretraining: the rungs from an exact value to the real run."""

import math
from collections.abc import Iterator

import torch
from transformers import LlamaForCausalLM

from rlhf_mini.batch import Sequences
from rlhf_mini.chapters.pretraining.floor import from_start_to_floor
from rlhf_mini.chapters.pretraining.setting import draw_documents
from rlhf_mini.evaluation.records import read_records
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.pretrain import PretrainConfig, pack_documents, pretrain
from rlhf_mini.models import new_llama
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import Rung

OUTCOMES = 4  # of the process with a known entropy: as many words, all equally likely


def _tiny(vocabulary: int) -> LlamaForCausalLM:
    return new_llama(
        vocab_size=vocabulary, width=32, layers=1, heads=2, context=256, pad_token=0, eos_token=2, bos_token=1, seed=0
    )  # fmt: skip


def _config(steps: int) -> PretrainConfig:
    return PretrainConfig(
        steps=steps, batch=1, block=2, optimizer=OptimizerConfig(learning_rate=1e-2, warmup_steps=5)
    )


def untrained(pipeline: Pipeline) -> tuple[bool, str]:
    """The loss of an untrained model is log V."""
    measured = pipeline.measured(from_start_to_floor)
    start, expected = measured["loss_at_start"], measured["log_vocabulary"]
    return abs(start - expected) < 0.02 * expected, f"{start:.3f} nats; log V = {expected:.3f}"


def one_document(pipeline: Pipeline, *, steps: int = 80) -> tuple[bool, str]:
    """A single document can be learned by heart."""
    tokenizer = pipeline.tokenizer()
    packed = pack_documents(tokenizer, draw_documents(pipeline, 1, purpose="one document"))
    model = _tiny(len(tokenizer))

    def again() -> Iterator[Sequences]:
        while True:
            yield packed

    loss = pretrain(model, again(), config=_config(steps))[-1]["loss"]
    return loss < 0.1, f"{loss:.3f} nats per token after {steps} steps"


def fair_dice(pipeline: Pipeline, *, steps: int = 80) -> tuple[bool, str]:
    """On rows of fair dice the loss goes to the logarithm of their sides, and no lower."""
    generator, first = pipeline.generator("chapter 02, dice"), 3

    def rolls() -> Iterator[Sequences]:
        while True:
            tokens = torch.randint(first, first + OUTCOMES, (32, 16), generator=generator)
            tokens[:, 0] = 1
            real = torch.ones_like(tokens, dtype=torch.bool)
            counted = real.clone()
            counted[:, 0] = False
            yield Sequences(tokens, real, counted)

    history = pretrain(_tiny(first + OUTCOMES), rolls(), config=_config(steps))
    loss, entropy = sum(entry["loss"] for entry in history[-20:]) / 20, math.log(OUTCOMES)
    return abs(loss - entropy) < 0.02 * entropy, f"{loss:.3f} nats; log {OUTCOMES} = {entropy:.3f}"


def band_of_seeds(pipeline: Pipeline) -> tuple[bool, str]:
    """The held-out loss lies in the band that other seeds gave, widened by a tenth of the loss."""
    loss = pipeline.measured(from_start_to_floor)["loss"]
    rows = read_records("chapter_02", experiment="claims", method="loss", profile=pipeline.profile.name)
    others = [row.metrics["loss"] for row in rows if row.seed != pipeline.seed]
    if not others:
        return True, f"{loss:.3f} nats; no other seed of this profile is on record, so nothing is compared"
    low, high = min(others), max(others)
    return 0.9 * low <= loss <= 1.1 * high, f"{loss:.3f} nats; {len(others)} others: {low:.3f} to {high:.3f}"


def real_run(pipeline: Pipeline) -> tuple[bool, str]:
    """The held-out loss comes to within 20% of the entropy, and stays above it."""
    measured = pipeline.measured(from_start_to_floor)
    reached, least = measured["loss"], measured["entropy"]
    return least <= reached < 1.2 * least, f"{reached:.3f} nats per token; entropy {least:.3f}"


def rungs(pipeline: Pipeline) -> list[Rung]:
    """The ladder of the chapter."""
    return [
        Rung("Exact value", "an untrained model's loss is log V", lambda: untrained(pipeline)),
        Rung("One document", "it can be learned by heart", lambda: one_document(pipeline)),
        Rung("Known optimum", "on fair dice the loss is the dice's entropy", lambda: fair_dice(pipeline)),
        Rung("Band of seeds", "its loss is within a tenth of other seeds'", lambda: band_of_seeds(pipeline)),
        Rung("Real run", "the loss is within 20% of the entropy", lambda: real_run(pipeline)),
    ]
