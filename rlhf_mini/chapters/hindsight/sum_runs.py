"""Sums, method by method: hindsight relabelling, filtered behaviour cloning, PPO, and no relabelling at all.

Every run draws the same number of solutions, in rounds. All but PPO are one program: what differs is what the script makes
of a solution. It may be relabelled with the verdict on it, `right` or `wrong`, as in the paper; with the sum that it has
really solved; or step by step. Of the two verdicts the paper's contrast with all instructions of a batch, each taken
once, is the two-way one.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rlhf_mini.chapters.hindsight import arithmetic
from rlhf_mini.chapters.hindsight.script import Script
from rlhf_mini.data.tokenizer import encode_prompt
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.answers import Drawing, text_score
from rlhf_mini.methods.hir import Hindsight, HIRConfig, Relabel, Task, hir, relabel_whole, relabel_with_parts
from rlhf_mini.methods.ppo import PPOConfig, ppo, value_model_for
from rlhf_mini.models import copy_of, new_reward_model
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import sums
from rlhf_mini.worlds.sums import RIGHT, WRONG

ROUNDS, SAMPLES, EPOCHS, BATCH = 8, 1, 3, 32
RATE, PPO_RATE = 1e-3, 3e-4
PPO_EPISODES = 128


def opposite(asked: str, fulfilled: str) -> str:
    """The instruction that an output does not fulfil, if it fulfils `fulfilled`."""
    return WRONG if fulfilled == RIGHT else RIGHT


def as_asked(asked: str, query: str, output: str) -> list[Hindsight]:
    """No relabelling: every output is learned under the instruction that it was asked with."""
    return [Hindsight(query, asked, output)]


by_verdict: Relabel = relabel_whole(sums.relabel, opposite)
by_verdict_and_steps = relabel_with_parts(by_verdict, sums.steps_relabelled, opposite)


def only_right(asked: str, query: str, output: str) -> list[Hindsight]:
    """Filtered behaviour cloning as a script: what came out right is learned, and the rest is thrown away."""
    return [Hindsight(query, RIGHT, output)] if sums.relabel(query, output) == RIGHT else []


def right_steps(asked: str, query: str, output: str) -> list[Hindsight]:
    """The filter, and what is right of the rest: of a wrong solution its right steps, what was written before being given."""
    parts = by_verdict_and_steps(asked, query, output)[1:]
    return only_right(asked, query, output) or [
        replace(part, instead=None) for part in parts if part.fulfilled == RIGHT
    ]


def by_problem(asked: str, query: str, output: str) -> list[Hindsight]:
    """Hindsight: a solution under the sum that it really solves, whichever was asked; none if it is of no sum of the level.

    The sums that nobody is shown are not shown here either. The one that was asked is held against it if it differs.

    >>> by_problem("27+58", "", "7+7=14 2+5+1=8 =84")
    [Hindsight(query='', fulfilled='27+57', output='7+7=14 2+5+1=8 =84', instead='27+58', given='', ended=True)]
    """
    found = sums.solved_problem(output)
    if found is None or len(found.numbers) != arithmetic.LEVEL.numbers or sums.is_held_out(found):
        return []
    return [Hindsight(query, found.text, output, asked if asked != found.text else None)]


def right_throughout(asked: str, query: str, output: str) -> list[Hindsight]:
    """The filter that reads every step: what solves the sum that was asked, rightly from beginning to end."""
    return [row for row in by_problem(asked, query, output) if row.fulfilled == asked]


def _right(problem: str) -> Task:
    return RIGHT, problem


PROBLEM = Script(by_problem, ask=lambda instruction, query: sums.instructed(RIGHT, instruction))
SCRIPTS: Mapping[str, Script] = {
    "verdict": Script(by_verdict, _right, sums.instructed),
    "right only": Script(only_right, _right, sums.instructed),
    "right steps": Script(right_steps, _right, sums.instructed),
    "no script": Script(as_asked, _right, sums.instructed),
    "problem": PROBLEM,
    "right throughout": replace(PROBLEM, relabel=right_throughout),
}


def config_of(
    rate: float, terms: Mapping[str, float], *, rounds: int = ROUNDS, epochs: int = EPOCHS
) -> HIRConfig:
    """The settings that all runs share, and the three terms' numbers; a term that is not named is left out."""
    return HIRConfig(
        rounds=rounds,
        epochs=epochs,
        batch=BATCH,
        drawing=Drawing(samples=SAMPLES, temperature=1.0, max_new_tokens=arithmetic.MAX_NEW_TOKENS),
        optimizer=OptimizerConfig(learning_rate=rate, warmup_steps=5),
        **{"contrast_weight": 0.0, "entropy_weight": 0.0, "label_smoothing": 0.0, **terms},
    )


def relabelled(
    pipeline: Pipeline,
    *,
    script: str,
    start: str = arithmetic.RARELY,
    terms: Mapping[str, float] | None = None,
    rounds: int = ROUNDS,
    epochs: int = EPOCHS,
    rehearsal: bool = False,
) -> dict[str, Any]:
    """A run of rounds with one of `SCRIPTS`; numbers by round, and those of `arithmetic.judged` at the end.

    - `terms`: `contrast_weight`, `entropy_weight`, `label_smoothing`; what is not named is 0.
    - `epochs`: a script that keeps fewer rows makes fewer steps; more passes over them make up for it.
    """
    policy, relabelling = copy_of(arithmetic.start_of(pipeline, start)), SCRIPTS[script]
    asked = [relabelling.task(problem.text) for problem in arithmetic.problems(pipeline)]
    curve = [arithmetic.share_right(pipeline, policy, rehearsal=rehearsal)]

    def look(number: int, entry: dict[str, float]) -> None:
        curve.append(arithmetic.share_right(pipeline, policy, rehearsal=rehearsal))

    log = hir(
        policy,
        arithmetic.tokenizer(),
        lambda number: asked,
        relabelling.relabel,
        ask=relabelling.ask,
        config=config_of(RATE, terms or {}, rounds=rounds, epochs=epochs),
        generator=pipeline.generator("chapter 08 rounds"),
        on_round=look,
    )
    told = {name: [entry[name] for entry in log] for name in ("fulfilled", "rows")}
    return {"by_round": curve, **told, **arithmetic.judged(pipeline, policy, rehearsal=rehearsal)}


def by_ppo(
    pipeline: Pipeline,
    *,
    kl_weight: float,
    start: str = arithmetic.RARELY,
    rounds: int = ROUNDS,
    rehearsal: bool = False,
) -> dict[str, Any]:
    """PPO with the script as its reward, 1 for a right answer and 0 else, on as many solutions as in `rounds`."""
    words, reference = arithmetic.tokenizer(), arithmetic.start_of(pipeline, start)
    policy = copy_of(reference)
    value_model = value_model_for(new_reward_model(reference, seed=pipeline.seed))
    asked = [sums.instructed(RIGHT, problem.text) for problem in arithmetic.problems(pipeline)]
    iterations = max(1, rounds * SAMPLES * len(asked) // PPO_EPISODES)
    config = PPOConfig(
        iterations=iterations,
        episodes=PPO_EPISODES,
        minibatch=PPO_EPISODES // 2,
        epochs=2,
        max_new_tokens=arithmetic.MAX_NEW_TOKENS,
        optimizer=OptimizerConfig(learning_rate=PPO_RATE, warmup_steps=5),
        kl_weight=kl_weight,
        gae_lambda=1.0,
    )
    curve: list[float] = []
    looks = {round(number * iterations / rounds) for number in range(rounds)}

    def look(iteration: int, rollout: Any, metrics: dict[str, float]) -> None:
        if iteration in looks:
            curve.append(arithmetic.share_right(pipeline, policy, rehearsal=rehearsal))

    ppo(
        policy,
        value_model.requires_grad_(True),
        reference,
        text_score(words, lambda prompt, text: float(sums.relabel(prompt, text) == RIGHT)),
        words,
        [tuple(encode_prompt(words, prompt)) for prompt in asked],
        config=config,
        generator=pipeline.generator("chapter 08 PPO"),
        on_rollout=look,
    )
    curve.append(arithmetic.share_right(pipeline, policy, rehearsal=rehearsal))
    return {"by_round": curve, **arithmetic.judged(pipeline, policy, rehearsal=rehearsal)}


def untrained(
    pipeline: Pipeline, *, start: str = arithmetic.RARELY, rehearsal: bool = False
) -> dict[str, Any]:
    """The start itself."""
    return arithmetic.judged(pipeline, arithmetic.start_of(pipeline, start), rehearsal=rehearsal)
