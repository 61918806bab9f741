"""Sums: a model that has read faulty solutions learns from its own, told by a program what they are.

A start is a small model fine-tuned on demonstrations of which a share goes wrong. Each stands under one of the two
instructions, drawn at random: so the model knows the words `right` and `wrong`, and they mean nothing to it yet.
There are two starts, which differ in how long they were fine-tuned: one is rarely right, one often. Every method then
draws as many solutions in as many rounds from one of them, always asked for a right one.
"""

from functools import partial
from pathlib import Path

from transformers import AutoModelForCausalLM, PreTrainedModel

from rlhf_mini.chapters.small_sums import LEVEL, MAX_NEW_TOKENS, fine_tuned_start, held_out_sums, tokenizer
from rlhf_mini.data.chat import answer
from rlhf_mini.models import freeze
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import sums
from rlhf_mini.worlds.sums import RIGHT, WRONG, Sum

DEMONSTRATIONS, ERROR_RATE = 3000, 0.5
PROBLEMS = 2000  # of those demonstrated, which are asked for in every round
HELD_OUT = 140
RARELY, OFTEN = "rarely right", "often right"
EPOCHS = {RARELY: 6, OFTEN: 10}
SOLUTIONS = 4  # to each held-out problem, when a policy is judged at the end


def problems(pipeline: Pipeline, *, held_out: bool = False, rehearsal: bool = False) -> list[Sum]:
    """The sums that are trained on, or those that nobody was shown; for `rehearsal` the first half of the latter."""
    if not held_out:
        return _demonstrated(pipeline)[:PROBLEMS]
    return held_out_sums(HELD_OUT, rehearsal=rehearsal)


def _demonstrated(pipeline: Pipeline) -> list[Sum]:
    return sums.draw_sums(DEMONSTRATIONS, LEVEL, seed=pipeline.seed_for("chapter 08 sums"))


def weak_start(pipeline: Pipeline, folder: Path, *, start: str) -> None:
    """A kept model: a small Llama after `EPOCHS[start]` epochs of demonstrations, many of them wrong."""
    shown, rng = _demonstrated(pipeline), pipeline.rng("chapter 08 instructions")
    prompts = [sums.instructed(rng.choice(sums.INSTRUCTIONS), problem.text) for problem in shown]
    solutions = sums.demonstrate(
        shown, error_rate=ERROR_RATE, seed=pipeline.seed_for("chapter 08 demonstrations")
    )
    model = fine_tuned_start(
        pipeline, prompts, solutions, context=80, epochs=EPOCHS[start], purpose="chapter 08 start"
    )
    model.save_pretrained(folder)


def start_of(pipeline: Pipeline, start: str = OFTEN) -> PreTrainedModel:
    """One of the two starts, frozen."""
    folder = pipeline.kept(weak_start, start=start)
    return freeze(AutoModelForCausalLM.from_pretrained(folder)).to(pipeline.device)


def share_right(
    pipeline: Pipeline,
    policy: PreTrainedModel,
    *,
    instruction: str = RIGHT,
    samples: int = 1,
    temperature: float = 1.0,
    rehearsal: bool = False,
) -> float:
    """The share of solutions to held-out problems whose answer is right, if `instruction` is asked for."""
    asked = [
        problem for problem in problems(pipeline, held_out=True, rehearsal=rehearsal) for _ in range(samples)
    ]
    policy.eval()
    solutions = answer(
        policy,
        tokenizer(),
        [sums.instructed(instruction, problem.text) for problem in asked],
        max_new_tokens=MAX_NEW_TOKENS,
        generator=pipeline.generator(f"chapter 08 judge {instruction}"),
        temperature=temperature,
    )
    right = [
        sums.relabel(problem, solution) == RIGHT for problem, solution in zip(asked, solutions, strict=True)
    ]
    return sum(right) / len(right)


def judged(pipeline: Pipeline, policy: PreTrainedModel, *, rehearsal: bool = False) -> dict[str, float]:
    """Shares of right answers: asked for right ones, `greedy` at a temperature near 0, and asked for wrong ones."""
    often = partial(share_right, pipeline, policy, samples=SOLUTIONS, rehearsal=rehearsal)
    return {
        "right": often(),
        "greedy": share_right(pipeline, policy, temperature=0.05, rehearsal=rehearsal),
        "right_if_asked_for_wrong": often(instruction=WRONG),
    }
