"""The ladder of chapter 09: what to test, from the exact to the real, when filtering does not improve a model."""

from typing import Any

import torch
from torch import Tensor

from rlhf_mini.batch import Sequences
from rlhf_mini.chapters.band import gold_rises, in_the_band
from rlhf_mini.chapters.filtering import data, family, landing, toy
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.answers import Answers
from rlhf_mini.methods.dpo import answer_logps
from rlhf_mini.methods.mixed_batches import fine_tune_mixed
from rlhf_mini.methods.sft import SFTConfig
from rlhf_mini.models import copy_of
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import Rung

Seen = tuple[bool, str]
EXACT = (
    "conditional",
    "price",
    "last_threshold",
    "grow_again",
    "rounds_of_two",
    "advantage",
    "advantage_twice",
)
BAND = ("gold", "kl_k1", "entropy")  # what of the chapter's run must lie where good seeds have it
LOOKED_AT = 32  # answers of the chapter's samples that the rungs look at


def some_answers(pipeline: Pipeline) -> tuple[Sequences, Tensor]:
    """A few of the SFT model's answers as sequences, different ones, and the rewards that they were drawn with."""
    answers = data.answers_of_sft(pipeline)
    found: dict[tuple[str, str], float] = {}
    for prompt, texts, rewards in zip(answers.prompts, answers.texts, answers.rewards.tolist(), strict=True):
        for text, reward in zip(texts, rewards, strict=True):
            found.setdefault((prompt, text), reward)
    kept = list(found.items())[:LOOKED_AT]
    prompts, texts = [prompt for (prompt, _), _ in kept], [text for (_, text), _ in kept]
    return pack_texts(pipeline.tokenizer(), prompts, texts), torch.tensor([reward for _, reward in kept])


def some_steps(pipeline: Pipeline, rows: Sequences, *, steps: int, rate: float = 3e-3) -> tuple[Any, float]:
    """A copy of the SFT model after some steps on all of these answers, and the last loss (nats per token)."""
    model = copy_of(pipeline.policy("sft"))
    optimizer = OptimizerConfig(learning_rate=rate, warmup_steps=min(3, steps - 1))
    config = SFTConfig(epochs=steps, batch=len(rows), optimizer=optimizer)
    history = fine_tune_mixed(model, rows, config=config, generator=torch.Generator().manual_seed(0))
    return model, history[-1]["loss"]


def exact() -> Seen:
    """Filtering, several Improves, rounds of two and advantage weights lead where the algebra says."""
    found = [toy.identities(seed=seed) for seed in range(3)]
    worst = max(numbers[name] for numbers in found for name in EXACT)
    elsewhere = min(numbers["capped"] for numbers in found)
    return (
        worst < 1e-12 and elsewhere > 0.05,
        f"errors of at most {worst:.0e}; a cap of 2 leads {elsewhere:.2f} nats away",
    )


def rewards_fit(pipeline: Pipeline) -> Seen:
    """An answer's kept reward is the reward model's of that very text behind that very prompt, alone or in a batch."""
    rows, rewards = some_answers(pipeline)
    score = data.reward_of(pipeline)
    alone = torch.cat([score(rows.rows(slice(place, place + 1))) for place in range(len(rows))])
    off, spread = float((alone - rewards).abs().max()), float(rewards.std())
    tolerance = 1e-3 if pipeline.device.type == "cpu" else 0.1
    return off < tolerance and spread > 10 * off, f"off by at most {off:.0e}; rewards differ by {spread:.2f}"


def filter_keeps(pipeline: Pipeline) -> Seen:
    """Higher thresholds keep fewer answers, each keeps better ones on average, and one of −∞ would keep all."""
    answers, scale = data.answers_of_sft(pipeline), data.reward_scale(pipeline)
    shares, means = [1.0], [float(answers.rewards.mean())]
    for threshold in family.THRESHOLDS:
        mask = scale(answers.rewards) > threshold
        if mask.any():
            shares.append(float(mask.float().mean()))
            means.append(float(answers.rewards[mask].mean()))
    held = shares == sorted(shares, reverse=True) and means == sorted(means) and fits(answers, scale)
    told = ", ".join(f"{share:.0%}" for share in shares)
    return held and len(shares) > 1, f"kept {told}; mean reward {means[0]:.2f} to {means[-1]:.2f}".replace(
        "-", "−"
    )


def fits(answers: Answers, scale: data.RewardScale) -> bool:
    """Whether the scale leaves most rewards between its ends, so that a threshold can tell them apart."""
    inside = (answers.rewards > scale.low) & (answers.rewards < scale.high)
    return float(inside.float().mean()) > 0.8


def frozen(pipeline: Pipeline) -> Seen:
    """The judge stays as it is: after three steps the reward model says what it said, and the policy does not."""
    rows, _ = some_answers(pipeline)
    score, reference = data.reward_of(pipeline), pipeline.policy("sft")
    before, was = score(rows), answer_logps(reference, rows)
    model, _ = some_steps(pipeline, rows, steps=3)
    drifted = float((score(rows) - before).abs().max())
    moved = float((answer_logps(model, rows) - was).abs().max())
    still = float((answer_logps(reference, rows) - was).abs().max())
    return drifted == 0 == still and moved > 0.01, f"rewards {drifted:.0e}, policy up to {moved:.2f} nats"


def by_heart(pipeline: Pipeline) -> Seen:
    """One kept answer, learned by heart: of what surprises most in it, much is gone after some steps."""
    rows, _ = some_answers(pipeline)
    surprise = -answer_logps(pipeline.policy("sft"), rows)
    hardest = int(surprise.argmax())
    row = rows.rows(slice(hardest, hardest + 1))
    model, _ = some_steps(pipeline, row, steps=60)
    before, after = float(surprise[hardest]), -float(answer_logps(model, row)[0])
    return before - after > 10, f"surprise {before:.1f} nats at first, {after:.2f} after 60 steps"


def known_optimum(pipeline: Pipeline) -> Seen:
    """An Improve on the toy language: nearer to the exact filter than a mean over tokens would end."""
    found = pipeline.measured(landing.landing)
    seen = (
        f"KL(filter ‖ π) {found['start']:.2f} nats at first, {found['end']:.0e} at the end; "
        f"with means over tokens it would be {found['per_token']:.2f}"
    )
    return found["end"] < min(0.001, found["per_token"] / 5), seen


def band(pipeline: Pipeline) -> Seen:
    """Gold, KL and entropy of the usual run, each against where one more good seed should fall."""
    here, profile = family.run(family.OURS).measured(pipeline), pipeline.profile.name
    return in_the_band(here, BAND, chapter="09", experiment="runs", method=family.OURS, profile=profile)


def real(pipeline: Pipeline) -> Seen:
    """Gold on held-out requests, which nothing was trained on, before and after."""
    before, after = (family.run(name).measured(pipeline) for name in ("SFT", family.OURS))
    return gold_rises(before, after, by=0.2)


def rungs(pipeline: Pipeline) -> list[Rung]:
    """The eight rungs for one pipeline."""
    return [
        Rung("exact test", "a filter's policy is the old one, given that the reward is high enough", exact),
        Rung("rewards fit", "every reward belongs to its text and prompt, alone or in a batch", lambda: rewards_fit(pipeline)),
        Rung("filter", "higher thresholds keep fewer and better answers", lambda: filter_keeps(pipeline)),
        Rung("frozen", "the reward model says of an answer what it said before", lambda: frozen(pipeline)),
        Rung("by heart", "the surprise at one kept answer falls by more than 10 nats", lambda: by_heart(pipeline)),
        Rung("known optimum", "on the toy language, within 0.001 nats of the exact filter", lambda: known_optimum(pipeline)),
        Rung("band of good seeds", "gold, KL and entropy are where one more good seed should fall", lambda: band(pipeline)),
        Rung("real run", "gold on held-out requests rises by at least 0.2", lambda: real(pipeline)),
    ]  # fmt: skip
