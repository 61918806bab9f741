"""The ladder of chapter 08: what to test, from the exact to the real, when relabelling does not improve a model."""

from dataclasses import replace

import torch

from rlhf_mini.chapters.band import gold_rises, in_the_band
from rlhf_mini.chapters.hindsight import arithmetic, family, replay, sum_runs, toy
from rlhf_mini.data.chat import answer
from rlhf_mini.data.tokenizer import encode_prompt
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.losses import two_way_contrast_loss
from rlhf_mini.methods.hir import Hindsight, pack_hindsight, train_on_hindsight
from rlhf_mini.models import copy_of
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import Rung
from rlhf_mini.worlds import sums
from rlhf_mini.worlds.sums import RIGHT, WRONG

Seen = tuple[bool, str]
BAND = ("gold", "kl_k1", "fulfilled")  # what of the chapter's run must lie where good seeds have it


def exact(pipeline: Pipeline) -> Seen:
    """Where instructions are equally likely the contrast is log 2; its gradient is 0 at the resting lead."""
    level = torch.zeros(1, dtype=torch.float64)
    lead = torch.tensor([0.8 / 0.2], dtype=torch.float64).log().requires_grad_()
    (slope,) = torch.autograd.grad(two_way_contrast_loss(lead, level, label_smoothing=0.2).sum(), [lead])
    start = float(two_way_contrast_loss(level, level, label_smoothing=0.2))
    smoothed = pipeline.measured(toy.smoothing)
    errors = [abs(start - 0.6931471805599453), abs(float(slope)), smoothed["gradient 0.2"]]
    return max(
        errors
    ) < 1e-12, f"log 2 at the start; gradients at both resting points at most {max(errors[1:]):.0e}"


def script(pipeline: Pipeline) -> Seen:
    """The script finds right what is right, and wrong what one slip has spoilt."""
    problems = arithmetic.problems(pipeline)
    spoilt = sums.demonstrate(problems, error_rate=1.0, seed=0)
    found = [sum_runs.by_verdict(RIGHT, one.text, one.solution)[0].fulfilled for one in problems]
    slipped = [
        sum_runs.by_verdict(RIGHT, one.text, text)[0].fulfilled
        for one, text in zip(problems, spoilt, strict=True)
    ]
    held = set(found) == {RIGHT} and set(slipped) == {WRONG}
    return held, f"{len(found)} solutions called {found[0]}, as many with a slip {slipped[0]}"


def samples(pipeline: Pipeline) -> Seen:
    """What the script says of a round's samples is what the judge says of the policy that drew them."""
    start, tasks = arithmetic.start_of(pipeline), [(RIGHT, one.text) for one in arithmetic.problems(pipeline)]
    outputs = answer(
        start,
        arithmetic.tokenizer(),
        [sums.instructed(*task) for task in tasks],
        max_new_tokens=arithmetic.MAX_NEW_TOKENS,
        generator=pipeline.generator("chapter 08 ladder"),
    )
    labels = [
        sum_runs.by_verdict(*task, output)[0].fulfilled for task, output in zip(tasks, outputs, strict=True)
    ]
    here = labels.count(RIGHT) / len(labels)
    judge = arithmetic.share_right(pipeline, start, samples=arithmetic.SOLUTIONS)
    return abs(here - judge) < 0.15, f"{here:.0%} of the samples, {judge:.0%} of held-out problems"


def rows(pipeline: Pipeline) -> Seen:
    """A relabelled row is read under the instruction that it fulfils, and learned from its output on."""
    words = arithmetic.tokenizer()
    row = Hindsight("27+58", WRONG, "7+8=16 2+5+1=8 =86", RIGHT)
    packed = pack_hindsight(words, [row], ask=sums.instructed)
    prompt = encode_prompt(words, sums.instructed(WRONG, "27+58"))
    tokens, response = packed.tokens[0].tolist(), packed.response[0].tolist()
    held = tokens[: len(prompt)] == prompt and response == [False] * len(prompt) + [True] * (
        len(tokens) - len(prompt)
    )
    return held, f"{len(prompt)} tokens read, {sum(response)} learned, the end among them"


def one_pair(pipeline: Pipeline) -> Seen:
    """One right and one wrong solution, learned by heart: each far likelier under its own instruction."""
    words, text = arithmetic.tokenizer(), "27+58"
    pair = [
        Hindsight(text, RIGHT, "7+8=15 2+5+1=8 =85", WRONG),
        Hindsight(text, WRONG, "7+8=16 2+5+1=8 =86", RIGHT),
    ]
    config = replace(
        sum_runs.config_of(3e-3, family.CONTRAST),
        epochs=60,
        batch=2,
        optimizer=OptimizerConfig(learning_rate=3e-3, warmup_steps=5),
    )
    policy = copy_of(arithmetic.start_of(pipeline))
    history = train_on_hindsight(
        policy, words, pair, ask=sums.instructed, config=config, generator=torch.Generator().manual_seed(0)
    )
    first, last = history[0], history[-1]
    seen = (
        f"contrast from {first['contrast_loss']:.2f} to {last['contrast_loss']:.3f}, "
        f"likelihood to {last['likelihood_loss']:.3f} nats per token"
    )
    return last["contrast_loss"] < 0.4 and last["likelihood_loss"] < 0.1, seen


def known_end(pipeline: Pipeline) -> Seen:
    """In a table the likelihood on relabelled outputs goes the filter's way, step by step, to the filtered start."""
    found = pipeline.measured(toy.same_end)
    seen = f"gap {found['gap_on_the_way']:.0e} on the way; KL to the filtered start from {found['at_first']:.2f} to {found['to_filtered']:.3f} nats"
    return found["gap_on_the_way"] < 1e-12 and found["to_filtered"] < found["at_first"] / 10, seen


def grid(pipeline: Pipeline) -> Seen:
    """In the grid, where many cells are asked for, hindsight reaches more of them in as many walks."""
    found = pipeline.measured(replay.curves)
    shares = {k: sum(found[f"reached {k}"]) / len(found[f"reached {k}"]) for k in (0, 4)}
    return shares[4] > shares[
        0
    ] + 0.05, f"{shares[0]:.0%} of walks without, {shares[4]:.0%} with four relabels"


def band(pipeline: Pipeline) -> Seen:
    """Gold, KL and requests fulfilled of the usual run, each against where one more good seed should fall."""
    here, profile = family.run(family.OURS).measured(pipeline), pipeline.profile.name
    return in_the_band(here, BAND, chapter="08", experiment="stories", method=family.OURS, profile=profile)


def real(pipeline: Pipeline) -> Seen:
    """Gold on held-out requests, which nothing was relabelled by, before and after."""
    before, after = (family.run(name).measured(pipeline) for name in ("SFT", family.OURS))
    return gold_rises(before, after, by=0.5)


def rungs(pipeline: Pipeline) -> list[Rung]:
    """The nine rungs for one pipeline."""
    return [
        Rung("exact test", "log 2 where instructions are alike; gradients are 0 where contrast and smoothing rest", lambda: exact(pipeline)),
        Rung("script", "worked solutions are right, and those with one slip wrong", lambda: script(pipeline)),
        Rung("samples", "the script finds among the samples what the judge finds", lambda: samples(pipeline)),
        Rung("rows", "a row is read under its new instruction and learned from its output on", lambda: rows(pipeline)),
        Rung("one pair", "a right and a wrong solution of one problem are told apart", lambda: one_pair(pipeline)),
        Rung("known end", "in a table, the filtered start, and by the same way", lambda: known_end(pipeline)),
        Rung("grid", "hindsight comes to more of the cells that are asked for", lambda: grid(pipeline)),
        Rung("band of good seeds", "gold, KL and fulfilled requests are where one more good seed should fall", lambda: band(pipeline)),
        Rung("real run", "gold on held-out requests rises by at least 0.5", lambda: real(pipeline)),
    ]  # fmt: skip
