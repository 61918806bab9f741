"""The ladder of chapter 04: what to test, from the exact to the real, when a reward model disappoints."""

import math

import torch

from rlhf_mini.batch import Pairs, pack_rows
from rlhf_mini.chapters.reward_models import runs
from rlhf_mini.evaluation.records import read_records
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.reward_model import RewardModelConfig, raw_scores, scores, train_reward_model
from rlhf_mini.models import new_llama, new_reward_model
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import Rung

Seen = tuple[bool, str]


def exact(pipeline: Pipeline) -> Seen:
    """Scores against the model's own forward, one text at a time without padding; and a longer padding."""
    model = pipeline.reward_model()
    _, pairs = runs.held_out(pipeline, count=6)
    with torch.no_grad():
        alone = torch.cat(
            [
                model(tokens[mask][None]).logits[0]
                for tokens, mask in zip(pairs.chosen.tokens, pairs.chosen.mask, strict=True)
            ]
        )
        together = raw_scores(model, pairs.chosen)
    gap = float((alone - together).abs().max())
    return gap < 1e-4, f"largest difference {gap:.1e} between a padded batch and texts one by one"


def by_heart(pipeline: Pipeline) -> Seen:
    """Eight labels, trained on until the model knows them."""
    pairs = runs.pack_pairs(pipeline.tokenizer(), runs.labelled(pipeline).select(range(8)))
    model = runs.start_from(pipeline, "sft", seed=0)
    config = RewardModelConfig(
        epochs=30, batch=8, optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=3)
    )
    history = train_reward_model(model, pairs, config=config, generator=torch.Generator().manual_seed(0))
    last = history[-1]
    return last["loss"] < 0.05, f"loss {last['loss']:.3f}, {8 * last['accuracy']:.0f} of 8 labels known"


def known_optimum(pipeline: Pipeline) -> Seen:
    """Two answers, of which the first was preferred three times in four: their scores must differ by log 3."""
    language_model = new_llama(
        vocab_size=8, width=16, layers=1, heads=2, context=4, pad_token=0, eos_token=2, bos_token=1, seed=0
    )
    model = new_reward_model(language_model, seed=0)
    one, other = ([[1]] * 32, [[3, 2]] * 24 + [[4, 2]] * 8), ([[1]] * 32, [[4, 2]] * 24 + [[3, 2]] * 8)
    pairs = Pairs(pack_rows(*one, pad_token=0), pack_rows(*other, pad_token=0))
    optimizer = OptimizerConfig(learning_rate=1e-2, final_fraction=0.02)
    config = RewardModelConfig(epochs=120, batch=32, optimizer=optimizer)
    train_reward_model(model, pairs, config=config, generator=torch.Generator().manual_seed(0))
    found = scores(model, pack_rows([[1]] * 2, [[3, 2], [4, 2]], pad_token=0))
    lead = float(found[0] - found[1])
    return abs(lead - math.log(3)) < 0.02, f"log 3 = {math.log(3):.3f} wanted, {lead:.3f} learned"


def in_the_band(pipeline: Pipeline) -> Seen:
    """The held-out loss, against those of the seeds on record."""
    found = runs.judgement(pipeline, pipeline.reward_model()).loss
    records = read_records(
        "chapter_04", experiment="claims", method="accuracy", profile=pipeline.profile.name
    )
    good = [record.metrics["loss"] for record in records]
    low, high = min(good) - 0.03, max(good) + 0.03
    return (
        low < found < high,
        f"{found:.3f} nats here; {min(good):.3f} to {max(good):.3f} on {len(good)} seeds on record",
    )


def real(pipeline: Pipeline) -> Seen:
    """Held-out labels predicted, against the rule that takes the longer answer."""
    rows, _ = runs.held_out(pipeline)
    found = runs.judgement(pipeline, pipeline.reward_model()).accuracy
    longer = runs.sentences_of(rows["chosen"]) - runs.sentences_of(rows["rejected"])
    rule = float((longer > 0).double().mean() + 0.5 * (longer == 0).double().mean())
    return found > max(0.65, rule), f"{found:.1%} of the labels; taking the longer answer gives {rule:.1%}"


def rungs(pipeline: Pipeline) -> list[Rung]:
    """The five rungs for one pipeline."""
    return [
        Rung("exact test", "a text's score does not depend on the batch it is in", lambda: exact(pipeline)),
        Rung("learned by heart", "eight labels can be known", lambda: by_heart(pipeline)),
        Rung("known optimum", "three wins in four make a lead of log 3", lambda: known_optimum(pipeline)),
        Rung("band of good seeds", "the held-out loss is where it is on other seeds", lambda: in_the_band(pipeline)),
        Rung("real run", "more labels predicted than 65%, and than by length alone", lambda: real(pipeline)),
    ]  # fmt: skip
