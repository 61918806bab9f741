"""The ladder of chapter 07: what to test, from the exact to the real, when DPO does not improve a model."""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rlhf_mini.batch import Pairs
from rlhf_mini.chapters.band import gold_rises, in_the_band
from rlhf_mini.chapters.direct import family, landing
from rlhf_mini.chapters.direct.toy import ToyWorld, expected_loss, pair_weights
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.losses import dpo_loss
from rlhf_mini.methods.dpo import (
    Compared,
    DPOConfig,
    KeptReference,
    answer_logps,
    kept_reference,
    train_on_pairs,
)
from rlhf_mini.models import copy_of
from rlhf_mini.pipeline import Pipeline, pack_pairs
from rlhf_mini.reader import Rung

Seen = tuple[bool, str]
KL_WEIGHT = 0.1
BAND = ("gold", "kl_k1", "pair_accuracy")  # what of the chapter's run must lie where good seeds have it


def some_pairs(pipeline: Pipeline, count: int = 32) -> Pairs:
    """The first held-out pairs whose two answers differ."""
    rows = pipeline.preferences("test")
    answers = enumerate(zip(rows["chosen"], rows["rejected"], strict=True))
    differ = [place for place, (chosen, rejected) in answers if chosen != rejected]
    return pack_pairs(pipeline.tokenizer(), rows.select(differ[:count]))


def some_steps(
    pipeline: Pipeline, pairs: Pairs, kept: KeptReference, *, steps: int, rate: float = 1e-3
) -> tuple[Any, list[dict[str, float]]]:
    """A copy of the SFT model after some steps of DPO, each on all of these pairs, and what the steps logged."""

    def objective(pair: Compared) -> Tensor:
        return dpo_loss(*pair.log_ratios, kl_weight=KL_WEIGHT)

    model, generator = copy_of(pipeline.policy("sft")), torch.Generator().manual_seed(0)
    optimizer = OptimizerConfig(learning_rate=rate, warmup_steps=min(3, steps - 1))
    config = DPOConfig(epochs=steps, batch=len(pairs), optimizer=optimizer)
    history = train_on_pairs(model, pairs, kept, objective, config=config, generator=generator)
    return model, history


def gradient_at(world: ToyWorld, logp: Tensor, *, kl_weight: float) -> float:
    """The largest entry of the expected DPO loss's gradient, over all pairs of texts, at a policy `logp`."""
    logits, weights = logp.clone().requires_grad_(), pair_weights(world.logp_ref, world.chances)
    ratios = logits.log_softmax(0) - world.logp_ref
    loss = expected_loss(partial(dpo_loss, kl_weight=kl_weight), ratios, weights)
    (gradient,) = torch.autograd.grad(loss, [logits])
    return float(gradient.abs().max())


def exact() -> Seen:
    """Where policy and reference are one, a pair costs log 2; at π*, and not before, the gradient is 0."""
    level = torch.zeros(1, dtype=torch.float64)
    errors, starts = [abs(float(dpo_loss(level, level, kl_weight=KL_WEIGHT)) - math.log(2))], []
    for world in map(ToyWorld, range(3)):
        errors.append(gradient_at(world, world.best(0.5), kl_weight=0.5))
        starts.append(gradient_at(world, world.logp_ref, kl_weight=0.5))
    held = max(errors) < 1e-12 and min(starts) > 1e-3
    return held, f"gradient {max(errors):.0e} at the optimum, {min(starts):.3f} at the reference"


def first_batch(pipeline: Pipeline) -> Seen:
    """Before the first step: log 2 per pair, and no answer has moved."""
    pairs = some_pairs(pipeline)
    kept = kept_reference(pipeline.policy("sft"), pairs)
    _, (entry, *_) = some_steps(pipeline, pairs, kept, steps=1)
    tolerance = (
        1e-3 if pipeline.device.type == "cpu" else 0.3
    )  # sums of some dozen tokens; bfloat16 is coarse
    moved = max(abs(entry[name]) for name in ("chosen", "rejected", "lead"))
    held = abs(entry["loss"] - math.log(2)) < KL_WEIGHT * tolerance and moved < tolerance
    return (
        held,
        f"loss {entry['loss']:.4f} nats, log 2 being {math.log(2):.4f}; shifts of at most {moved:.0e} nats",
    )


def frozen(pipeline: Pipeline) -> Seen:
    """The frozen stays frozen: after three steps the reference says what it said, and the policy does not."""
    pairs, reference = some_pairs(pipeline), pipeline.policy("sft")
    before = kept_reference(reference, pairs)
    model, _ = some_steps(pipeline, pairs, before, steps=3)
    after, own = kept_reference(reference, pairs), kept_reference(model, pairs)
    drift, moved = (float((now.chosen - before.chosen).abs().max()) for now in (after, own))
    still = not any(parameter.requires_grad for parameter in reference.parameters())
    return drift == 0 and still and moved > 0.01, f"reference {drift:.0e} nats, policy up to {moved:.2f} nats"


def padding(pipeline: Pipeline) -> Seen:
    """An answer is as likely alone as beside longer ones, for padding counts nothing."""
    rows, reference = some_pairs(pipeline).chosen, pipeline.policy("sft")
    together, alone = answer_logps(reference, rows), answer_logps(reference, rows, batch=1)
    moved = float((together - alone).abs().max())
    tolerance = 1e-2 if pipeline.device.type == "cpu" else 1.0
    padded = float((~rows.mask).float().mean())
    return (
        moved < tolerance,
        f"moved by at most {moved:.0e} nats an answer; {padded:.0%} of the batch is padding",
    )


def one_pair(pipeline: Pipeline) -> Seen:
    """One pair, learned by heart: nothing holds its lead back."""
    pair = some_pairs(pipeline, 1)
    kept = kept_reference(pipeline.policy("sft"), pair)
    _, history = some_steps(pipeline, pair, kept, steps=30)
    first, last = history[0], history[-1]
    seen = f"h from {first['lead']:.1f} to {last['lead']:.0f} nats in 30 steps, loss {last['loss']:.3f}"
    return last["lead"] > 20 and last["loss"] < 0.2, seen.replace("-", "−")


def known_optimum(pipeline: Pipeline) -> Seen:
    """The library's DPO on the toy language: nearer to the exact optimum than half the β would explain."""
    found = pipeline.measured(landing.landing)
    seen = (
        f"KL(π ‖ π*) {found['start']:.2f} nats at first, {found['end']:.3f} at the end; "
        f"with half the β it would be {found['half']:.2f}"
    )
    return found["end"] < min(0.02, found["half"] / 3), seen


def band(pipeline: Pipeline) -> Seen:
    """Gold, KL and accuracy of the usual run, each against where one more good seed should fall."""
    here, profile = family.run(family.OURS).measured(pipeline), pipeline.profile.name
    return in_the_band(here, BAND, chapter="07", experiment="runs", method=family.OURS, profile=profile)


def real(pipeline: Pipeline) -> Seen:
    """Gold on held-out requests, which nothing was trained on, before and after."""
    before, after = (family.run(name).measured(pipeline) for name in ("SFT", family.OURS))
    return gold_rises(before, after, by=0.3)


def rungs(pipeline: Pipeline) -> list[Rung]:
    """The eight rungs for one pipeline."""
    return [
        Rung("exact test", "log 2 at the reference; summed over all pairs, the gradient is 0 at the optimum", exact),
        Rung("first batch", "log 2 per pair, and no answer has moved, before the first step", lambda: first_batch(pipeline)),
        Rung("frozen", "what the reference says of an answer is the same after training", lambda: frozen(pipeline)),
        Rung("padding", "an answer is as likely alone as beside longer ones", lambda: padding(pipeline)),
        Rung("one pair", "the lead of a single pair grows by more than 20 nats", lambda: one_pair(pipeline)),
        Rung("known optimum", "on the toy language, within 0.02 nats of the optimum", lambda: known_optimum(pipeline)),
        Rung("band of good seeds", "gold, KL and accuracy are where one more good seed should fall", lambda: band(pipeline)),
        Rung("real run", "gold on held-out requests rises by at least 0.3", lambda: real(pipeline)),
    ]  # fmt: skip
