"""The ladder of chapter 10: what to test, from the exact to the real, when labels of a judge do not improve a model.

The rungs here need no judge that was trained: they test how a judge is read, how its orders are put together, and what
is learned from its labels. The chapter adds the rungs of its own judges and runs above them (`rungs`).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_mini.chapters.band import in_the_band
from rlhf_mini.chapters.rlaif import family, toy, toy_labels
from rlhf_mini.data.judging import STORY_PAIRS, Comparison
from rlhf_mini.data.tokenizer import encode_prompt, encode_text
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.losses import soft_preference_loss
from rlhf_mini.methods.judge import LanguageJudge, agreement, both_orders, choose, clamped, with_context
from rlhf_mini.methods.reward_model import RewardModelConfig, raw_scores
from rlhf_mini.methods.soft_labels import Labelled, label, pack_soft_pairs, train_on_soft_labels
from rlhf_mini.models import new_reward_model
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import Rung
from rlhf_mini.worlds.stories.comparisons import judge_by, judged_comparisons, writer_pairs
from rlhf_mini.worlds.stories.principles import CONSTITUTION

Seen = tuple[bool, str]
QUESTIONS, CONTEXT = 24, 448  # a question holds two answers
TAUGHT, BAND = family.OURS, ("right", "right_one_order", "same_place", "gold_right")
SURE = 0.8  # the label of the one pair that is learned by heart
PRINCIPLE_OF = {words: principle for principle in CONSTITUTION for words in principle.wordings}


def exact(pipeline: Pipeline) -> Seen:
    """log 2 at equal scores, no gradient at the log-odds; calibrated labels give the true reward back."""
    equal, label_ = torch.zeros(1, dtype=torch.float64), torch.tensor([SURE], dtype=torch.float64)
    lead = label_.logit().requires_grad_()
    (slope,) = torch.autograd.grad(soft_preference_loss(lead, equal, preference=label_).sum(), [lead])
    start = soft_preference_loss(equal, equal, preference=label_)
    learned = pipeline.measured(toy_labels.calibrated)["error soft"]
    errors = (abs(float(start) - math.log(2)), abs(float(slope)))
    seen = f"errors of at most {max(errors):.0e}; the reward of calibrated labels is off by {learned:.0e}"
    return max(errors) < 1e-12 and learned < 1e-8, seen.replace("-", "−")


def some_questions(pipeline: Pipeline) -> list[str]:
    """Comparisons of different lengths as a judge of the story world is asked them."""
    rows = writer_pairs(QUESTIONS, seed=pipeline.seed_for("chapter 10 ladder"))
    wordings = [principle.wordings[0] for principle in CONSTITUTION]
    asked = [
        Comparison(wordings[place % len(wordings)], row["prompt"], row["first"], row["second"])
        for place, row in enumerate(rows)
    ]
    return [STORY_PAIRS.ask(comparison) for comparison in asked]


def letters(pipeline: Pipeline) -> Seen:
    """What is read of many questions at once is what the model says of each alone, without padding, token by token."""
    model, words = with_context(pipeline.policy("sft"), context=CONTEXT).eval(), pipeline.tokenizer()
    asked = [one for one in some_questions(pipeline) if len(encode_prompt(words, one)) < CONTEXT]
    together = choose(LanguageJudge(model, words, batch=8), asked, choices=STORY_PAIRS.choices)
    alone = torch.stack([_plainly(model, words, question) for question in asked])
    moved = float((together.logp.exp() - alone / alone.sum(1, keepdim=True)).abs().max())
    mass = float((together.mass - alone.sum(1)).abs().max())
    lengths = [len(encode_prompt(words, question)) for question in asked]
    tolerance = 1e-4 if pipeline.device.type == "cpu" else 0.02
    seen = f"{len(asked)} questions of {min(lengths)} to {max(lengths)} tokens; off by {max(moved, mass):.0e}"
    return max(moved, mass) < tolerance and max(lengths) > min(lengths), seen.replace("-", "−")


@torch.no_grad()
def _plainly(model: PreTrainedModel, words: PreTrainedTokenizerBase, question: str) -> Tensor:
    """(2,): the probabilities of both letters, by the model's own forward pass over one question."""
    tokens = torch.tensor([encode_prompt(words, question)], device=model.device)
    said = model(tokens).logits[0, -1].float().softmax(0).cpu()
    return said[[encode_text(words, letter)[0] for letter in STORY_PAIRS.choices]]


def knowing(comparisons: Sequence[Comparison]) -> Tensor:
    """A judge that reads: P(the first shown is better), from the truth about the principle, and never quite sure."""
    return torch.tensor([0.1 + 0.8 * _truth(one) for one in comparisons])


def _truth(one: Comparison) -> float:
    return judge_by(PRINCIPLE_OF[one.principle], one.prompt, one.first, one.second)


def placed(comparisons: Sequence[Comparison]) -> Tensor:
    """A judge that does not: whatever is shown first is better."""
    return torch.full((len(comparisons),), 0.9)


def orders(pipeline: Pipeline) -> Seen:
    """A judge that knows agrees with the truth and with itself; one that likes a place ends at ½, and is found out."""
    judged = judged_comparisons(
        writer_pairs(QUESTIONS, seed=pipeline.seed_for("chapter 10 ladder")), seed=pipeline.seed
    )
    asked, better = [one.comparison for one in judged], torch.tensor([one.first_better for one in judged])
    knows, likes = both_orders(knowing, asked), both_orders(placed, asked)
    right = agreement(knows.preference, better)
    doubt = float((likes.preference - 0.5).abs().max())
    held = right == 1 and knows.same_position == 0 and likes.same_position == 1 and doubt < 1e-6
    seen = (
        f"{len(asked)} comparisons: the one agrees on {right:.0%} and names one place in {knows.same_position:.0%}, the "
        f"other in {likes.same_position:.0%}, and its labels are {likes.preference.mean():.2f}"
    )
    return held, seen


def labels(pipeline: Pipeline) -> Seen:
    """Labels stand with the pairs that they are about: those of a judge that knows prefer the better answer."""
    rows = writer_pairs(4 * QUESTIONS, seed=pipeline.seed_for("chapter 10 ladder"))
    columns = [[row[name] for row in rows] for name in ("prompt", "first", "second")]
    right = told = 0
    for principle in CONSTITUTION:
        found = label(knowing, *columns, principles=principle.wordings, rng=pipeline.rng("chapter 10 ladder"))
        sides = [judge_by(principle, row.prompt, row.first, row.second) for row in found]
        told += len(sides) - sides.count(0.5)
        right += sum(
            (row.preference > 0.5) == (side == 1)
            for row, side in zip(found, sides, strict=True)
            if side != 0.5
        )
    return right == told > 0, f"{right} of {told} labels that a principle decides prefer what keeps it"


def one_pair(pipeline: Pipeline) -> Seen:
    """One pair with a soft label, learned by heart: the lead ends at the label's log-odds, and does not go on."""
    row = next(row for row in writer_pairs(8, seed=0) if row["first"] != row["second"])
    pairs = pack_soft_pairs(
        pipeline.tokenizer(), [Labelled(row["prompt"], row["first"], row["second"], SURE)]
    )
    model = new_reward_model(pipeline.policy("sft"), seed=0).requires_grad_(True)
    optimizer = OptimizerConfig(learning_rate=1e-3, warmup_steps=5, final_fraction=0.0)
    config = RewardModelConfig(epochs=60, batch=1, optimizer=optimizer)
    train_on_soft_labels(model, pairs, config=config, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        first, second = (raw_scores(model, side.to(model.device)) for side in (pairs.first, pairs.second))
    lead, odds = float(first - second), math.log(SURE / (1 - SURE))
    return abs(lead - odds) < 0.2, f"lead {lead:.2f}".replace(
        "-", "−"
    ) + f"; log-odds of the label {odds:.2f}"


def known_end(pipeline: Pipeline) -> Seen:
    """In the toy language: a favourite place is gone where logits are averaged, and on the right side in any case."""
    found = pipeline.measured(toy.cures)
    listed, both, logits = (found[f"distance place {cure}"] for cure in toy.CURES)
    seen = f"KL to π*: one order {listed:.2f} nats, mean of probabilities {both:.2f}, of logits {abs(logits):.0e}"
    held = abs(logits) < 1e-8 and both < listed and found["wrong place both"] < 1e-12
    return held, seen.replace("-", "−")


def clamp(pipeline: Pipeline) -> Seen:
    """A clamp changes no side; labels that are always sure ask for endless rewards, and clamped ones do not."""
    labels_ = torch.tensor([0.001, 0.3, 0.45, 0.5, 0.55, 0.9, 1.0])
    kept = bool(((clamped(labels_) > 0.5) == (labels_ > 0.5)).all())
    found = pipeline.measured(toy_labels.calibrated)
    before, after = (found[f"lead likelier {steps}"] for steps in toy_labels.STEPS)
    seen = f"sure labels: largest lead {before:.0f}, later {after:.0f}; clamped: {found['lead clamped']:.1f}, for good"
    return kept and after > 1.3 * before > found["lead clamped"], seen


def band(pipeline: Pipeline) -> Seen:
    """The chapter's judge, against where one more good seed should fall."""
    here, profile = family.judge(TAUGHT).measured(pipeline), pipeline.profile.name
    return in_the_band(here, BAND, chapter="10", experiment="judges", method=TAUGHT, profile=profile)


def real(pipeline: Pipeline) -> Seen:
    """That judge on answers to held-out requests, and on pairs that the annotators labelled: better than a coin in both."""
    told = family.judge(TAUGHT).measured(pipeline)
    seen = f"right by the principles on {told['right']:.0%}, by gold on {told['gold_right']:.0%}"
    return told["right"] > 0.6 < told["gold_right"], seen


def rungs(pipeline: Pipeline) -> list[Rung]:
    """The nine rungs for one pipeline; the last two teach a judge, if none is in the cache."""
    return [
        Rung("exact test", "log 2 at equal scores, no pull at the log-odds, calibrated labels give the reward back", lambda: exact(pipeline)),
        Rung("letters", "letters read in a batch are what the model says of each question alone", lambda: letters(pipeline)),
        Rung("orders", "a judge that knows agrees with itself; one that likes a place is found out", lambda: orders(pipeline)),
        Rung("labels", "labels stand with the pairs that they are about", lambda: labels(pipeline)),
        Rung("one pair", "a label of 0.8, learned by heart, ends at a lead of log 4", lambda: one_pair(pipeline)),
        Rung("clamp", "no label changes its side, and rewards stay finite", lambda: clamp(pipeline)),
        Rung("known end", "a favourite place in the toy language, and its cure", lambda: known_end(pipeline)),
        Rung("band of good seeds", "the chapter's judge is as good as that of one more seed should be", lambda: band(pipeline)),
        Rung("real run", "it is right on more than 60% of held-out pairs, by the principles and by gold", lambda: real(pipeline)),
    ]  # fmt: skip
