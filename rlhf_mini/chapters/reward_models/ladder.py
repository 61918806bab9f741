"""*Bug or bad idea?* for reward models: what to test, from the exact to the real."""

import math

import torch
from torch import Tensor

from rlhf_mini.batch import Pairs, Sequences, pack_rows
from rlhf_mini.chapters.reward_models.comparing_exercises import strengths
from rlhf_mini.evaluation.intervals import student_interval
from rlhf_mini.evaluation.records import read_records
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.losses import all_pairs_loss, pairwise_loss
from rlhf_mini.methods.reward_model import (
    RewardModelConfig,
    pair_accuracy,
    raw_scores,
    scores,
    train_reward_model,
)
from rlhf_mini.models import new_llama, new_reward_model
from rlhf_mini.pipeline import Pipeline, pack_pairs
from rlhf_mini.reader import Rung

Seen = tuple[bool, str]

KNOWN_SCORES = (1.5, 0.5, 0.0, -0.5, -1.5)  # of five answers, in the world whose truth is known


def _test_pairs(pipeline: Pipeline, count: int) -> Pairs:
    rows = pipeline.preferences("test")
    return pack_pairs(pipeline.tokenizer(), rows.select(range(min(count, len(rows)))))


def exact() -> Seen:
    """Equal scores cost log 2; what is pushed up on one side is pushed down on the other; shifts change nothing."""
    pair = torch.tensor([[0.8, -0.3], [2.0, 2.0]], dtype=torch.float64, requires_grad=True)
    losses = pairwise_loss(pair[:, 0], pair[:, 1])
    (slopes,) = torch.autograd.grad(losses.sum(), [pair])
    shifted = pairwise_loss(pair[:, 0] + 7, pair[:, 1] + 7)
    ranked = all_pairs_loss(torch.zeros(1, 9, dtype=torch.float64))
    errors = (losses[1] - math.log(2), slopes.sum(1), shifted - losses, ranked - math.log(2))
    worst = max(float(error.detach().abs().max()) for error in errors)
    return worst < 1e-12, f"largest error {worst:.0e}"


@torch.no_grad()
def padding(pipeline: Pipeline) -> Seen:
    """A text scores the same alone and beside longer ones; and exchanged labels turn the accuracy round."""
    model, pairs = pipeline.reward_model(), _test_pairs(pipeline, 32)
    together = raw_scores(model, pairs.chosen.to(model.device))
    alone = torch.cat(
        [raw_scores(model, pairs.chosen.rows([row]).to(model.device)) for row in range(len(pairs))]
    )
    moved = float((together - alone).abs().max() / alone.std())
    accuracy, exchanged = (
        pair_accuracy(model, pairs),
        pair_accuracy(model, Pairs(pairs.rejected, pairs.chosen)),
    )
    seen = f"moved by {moved:.0e} deviations; {accuracy:.1%} and, exchanged, {exchanged:.1%}"
    return moved < 1e-3 and abs(accuracy + exchanged - 1) < 1e-6, seen


def by_heart(pipeline: Pipeline) -> Seen:
    """Four pairs, trained on until no doubt is left."""
    pairs = _test_pairs(pipeline, 4)
    model = new_reward_model(pipeline.policy("sft"), seed=0).requires_grad_(True)
    optimizer = OptimizerConfig(learning_rate=2e-3, warmup_steps=5)
    config = RewardModelConfig(epochs=40, batch=4, optimizer=optimizer)
    history = train_reward_model(model, pairs, config=config, generator=torch.Generator().manual_seed(0))
    loss = history[-1]["loss"]
    return loss < 0.05, f"{loss:.3f} nats per pair after 40 steps, {history[0]['loss']:.2f} at first"


def _judged(truth: Tensor, count: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The better and the worse answer of up to `count` comparisons, drawn by Bradley and Terry's model."""
    first, second = torch.randint(len(truth), (2, count), generator=generator)
    first, second = first[first != second], second[first != second]
    won = torch.rand(len(first), generator=generator) < torch.sigmoid(truth[first] - truth[second])
    return torch.where(won, first, second), torch.where(won, second, first)


def _texts(answers: Tensor) -> Sequences:
    """Each answer as a text: begin, one token of its own, end."""
    return pack_rows([[1]] * len(answers), [[3 + int(answer), 2] for answer in answers], pad_token=0)


def known_truth() -> Seen:
    """Five answers, compared by a judge whose scores are known: the model finds what the table of wins holds.

    A finite table is not the truth. What the model must come to is the likeliest scores of the table, which
    an independent method finds.
    """
    draw, truth = torch.Generator().manual_seed(0), torch.tensor(KNOWN_SCORES)
    better, worse = _judged(truth, 4096, generator=draw)
    wins = torch.zeros(len(truth), len(truth), dtype=torch.float64)
    wins.index_put_((better, worse), torch.ones(len(better), dtype=torch.float64), accumulate=True)
    backbone = new_llama(
        vocab_size=8, width=16, layers=1, heads=2, context=4, pad_token=0, eos_token=2, bos_token=1, seed=0
    )
    model = new_reward_model(backbone, seed=0)
    optimizer = OptimizerConfig(learning_rate=1e-2, warmup_steps=5, final_fraction=0.01)
    config = RewardModelConfig(epochs=40, batch=1024, optimizer=optimizer)
    train_reward_model(model, Pairs(_texts(better), _texts(worse)), config=config, generator=draw)
    found = scores(model, _texts(torch.arange(len(truth))))
    likeliest = strengths(wins).float()
    error = float((found - found.mean() - likeliest).abs().max())
    noise = float((likeliest - truth).abs().max())
    return error < 0.1, f"{error:.3f} from the table's likeliest scores, which are {noise:.3f} from the truth"


def held_out_accuracy(pipeline: Pipeline) -> float:
    """The share of all held-out pairs whose chosen answer the chapter's reward model prefers."""
    return pair_accuracy(pipeline.reward_model(), _test_pairs(pipeline, pipeline.profile.test_pairs))


def in_the_band(pipeline: Pipeline) -> Seen:
    """Held-out accuracy, against where one more good seed should fall with 95% probability."""
    found = pipeline.measured(held_out_accuracy)
    try:
        records = read_records(
            "chapter_00", experiment="claims", method="reward model", profile=pipeline.profile.name
        )
    except (ValueError, FileNotFoundError):
        return True, f"{found:.1%}; no seeds of the profile {pipeline.profile.name} on record"
    interval = student_interval([record.metrics["accuracy"] for record in records])
    width = interval.half_width * (len(records) + 1) ** 0.5  # of one value, not of the mean
    low, high = interval.mean - width, interval.mean + width
    return (
        low <= found <= high,
        f"{found:.1%} here; {low:.1%} to {high:.1%} by {len(records)} seeds on record",
    )


def real(pipeline: Pipeline) -> Seen:
    """Held-out accuracy above 65% and below the Bayes ceiling of the same pairs."""
    found = pipeline.measured(held_out_accuracy)
    ceilings = pipeline.preferences("test")["ceiling"]
    ceiling = sum(ceilings) / len(ceilings)
    return 0.65 < found < ceiling, f"{found:.1%} of the held-out choices; the ceiling is {ceiling:.1%}"


def rungs(pipeline: Pipeline) -> list[Rung]:
    """The six rungs for one pipeline."""
    return [
        Rung("exact test", "equal scores cost log 2; gradients are opposite; a shift changes nothing", exact),
        Rung("padding and labels", "a text scores the same alone; exchanged labels give 1 − accuracy", lambda: padding(pipeline)),
        Rung("learned by heart", "four pairs can be told apart without doubt", lambda: by_heart(pipeline)),
        Rung("known truth", "the scores of a known judge are found, as well as the table tells them", known_truth),
        Rung("band of good seeds", "held-out accuracy lies where one more good seed should fall", lambda: in_the_band(pipeline)),
        Rung("real run", "more than 65% of the held-out choices, and fewer than the Bayes ceiling", lambda: real(pipeline)),
    ]  # fmt: skip
