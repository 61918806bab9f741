"""The chapter's bug hunt: a round of relabelling in which almost nothing is right, and after which nothing is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from rlhf_mini.chapters.hindsight import arithmetic, sum_runs
from rlhf_mini.chapters.hunts import ends_of
from rlhf_mini.data.chat import answer
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.hir import Hindsight, Relabel, Task, train_on_hindsight
from rlhf_mini.models import copy_of
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import BugHunt, Question
from rlhf_mini.worlds import sums
from rlhf_mini.worlds.sums import RIGHT, WRONG

PROBLEMS, SAMPLES, HUNT_EPOCHS = 280, 2, 2
MEASURES = ("judged", "sampled", "first_loss", "copied")


def rows_wrong(tasks: Sequence[Task], outputs: Sequence[str], relabel: Relabel) -> list[Hindsight]:
    """What is learned of `outputs`: the same number for each task, those of one task after one another."""
    samples = len(outputs) // len(tasks)
    asked = list(tasks) * samples
    found = [relabel(*task, output) for task, output in zip(asked, outputs, strict=True)]
    return [row for rows in found for row in rows]


def rows_right(tasks: Sequence[Task], outputs: Sequence[str], relabel: Relabel) -> list[Hindsight]:
    """What is learned of `outputs`: the same number for each task, those of one task after one another."""
    samples = len(outputs) // len(tasks)
    asked = [task for task in tasks for _ in range(samples)]
    found = [relabel(*task, output) for task, output in zip(asked, outputs, strict=True)]
    return [row for rows in found for row in rows]


def all_wrong(asked: str, query: str, output: str) -> list[Hindsight]:
    """A script that is never content."""
    return [Hindsight(query, WRONG, output, RIGHT)]


@dataclass(frozen=True, kw_only=True)
class Way:
    """One training: how outputs and tasks come together, and what a suspect would have got wrong."""

    rows: Callable[[Sequence[Task], Sequence[str], Relabel], list[Hindsight]] = rows_right
    relabel: Relabel = sum_runs.by_verdict
    label_smoothing: float = 0.0
    rate: float = sum_runs.RATE


WAYS: Mapping[str, Way] = {
    "wrong": Way(rows=rows_wrong),
    "right": Way(),
    "the script is never content": Way(relabel=all_wrong),
    "label smoothing of 0.2": Way(label_smoothing=0.2),
    "a rate 30 times as large": Way(rate=30 * sum_runs.RATE),
    "nothing is learned": Way(rate=1e-9),
}
SUSPECTS = tuple(WAYS)[2:]


def copies(problem: str, solution: str) -> bool:
    """Whether the first step adds up the problem's own last digits, rightly or wrongly.

    >>> copies("27+58", "7+8=16 2+5+1=8 =86"), copies("27+58", "7+9=16 2+5+1=8 =86")
    (True, False)
    """
    last = "+".join(map(str, sums.read_sum(problem).columns[0]))
    return solution.startswith(f"{last}=")


def symptoms(pipeline: Pipeline, *, way: str) -> dict[str, float]:
    """One round from the start that is often right, by one of `WAYS`.

    - `judged`: the share of right answers *before* the round, as the judge counts them.
    - `sampled`: the same share among the round's own samples, as the script that relabels counts them.
    - `first_loss`: the likelihood's loss on the first batch, in nats per token.
    - `copied`: after the round, how often a solution begins with the last digits of its problem's numbers.
    """
    settings, start = WAYS[way], arithmetic.start_of(pipeline)
    words, problems = arithmetic.tokenizer(), arithmetic.problems(pipeline)[:PROBLEMS]
    tasks = [(RIGHT, problem.text) for problem in problems]
    generator = pipeline.generator("chapter 08 hunt")
    outputs = answer(
        start,
        words,
        [sums.instructed(*task) for task in tasks for _ in range(SAMPLES)],
        max_new_tokens=arithmetic.MAX_NEW_TOKENS,
        generator=generator,
    )
    rows = settings.rows(tasks, outputs, settings.relabel)
    terms = {"label_smoothing": settings.label_smoothing}
    config = replace(
        sum_runs.config_of(settings.rate, terms, epochs=HUNT_EPOCHS),
        optimizer=OptimizerConfig(learning_rate=settings.rate, warmup_steps=5, final_fraction=0.05),
    )
    policy = copy_of(start)
    history = train_on_hindsight(policy, words, rows, ask=sums.instructed, config=config, generator=generator)
    policy.eval()
    held_out = [problem.text for problem in arithmetic.problems(pipeline, held_out=True)]
    after = answer(
        policy,
        words,
        [sums.instructed(RIGHT, problem) for problem in held_out],
        max_new_tokens=arithmetic.MAX_NEW_TOKENS,
        generator=generator,
    )
    copied = [copies(problem, solution) for problem, solution in zip(held_out, after, strict=True)]
    return {
        "judged": arithmetic.share_right(pipeline, start, samples=arithmetic.SOLUTIONS),
        "sampled": sum(row.fulfilled == RIGHT for row in rows) / len(rows),
        "first_loss": history[0]["likelihood_loss"],
        "copied": sum(copied) / len(copied),
    }


def readings(pipeline: Pipeline) -> dict[str, float]:
    """Every training's symptoms, measured once, in flat names: `judged wrong`, `sampled right` and so on."""
    runs = {way: pipeline.measured(symptoms, way=way) for way in WAYS}
    return ends_of(runs, MEASURES)


def told(found: Mapping[str, float]) -> str:
    """The symptoms of each training as lines of one width, from `readings`."""
    lines = [f"{'':29}{'judged':>8}{'sampled':>9}{'first loss':>12}{'copied':>8}"]
    for way in WAYS:
        name = {"wrong": "the colleague's training", "right": "ours"}.get(way, way)
        judged, sampled, loss, copied = (found[f"{key} {way}"] for key in MEASURES)
        lines.append(f"{name:29}{judged:8.0%}{sampled:9.0%}{loss:12.2f}{copied:8.0%}")
    return "\n".join(lines)


SUSPECT = Question(
    ask=(
        "The judge finds far more right answers than the relabelling script finds among the samples of the very same "
        "policy; the first batch's loss is many times what it should be; and after the round the model no longer copies "
        "the digits of its problem. Who did it?"
    ),
    options=(
        (
            "The script calls everything wrong.",
            "Then the samples would be right as seldom. But they would still be this policy's own solutions to their problems: the first loss would be small, and the numbers would still be copied.",
        ),
        (
            "Label smoothing of 0.2 spoils the policy.",
            "It raises the first loss, too, and spoils the policy. But the share among the samples is counted before anything is learned.",
        ),
        (
            "The learning rate is far too large.",
            "That too is seen afterwards only. Before the first step there is nothing wrong with the samples.",
        ),
        (
            "Solutions and problems are paired wrongly.",
            "Yes. Judged against another's problem a solution is right by luck only, its numbers are a surprise, and a model that learns from such pairs learns that a problem's numbers do not matter.",
        ),
        (
            "The optimiser takes no steps.",
            "Then the model would copy as well as before.",
        ),
    ),
    right=3,
)

BUG_HUNT = BugHunt(
    title="Three samples in ten were right when the judge looked, and of the samples that are to be relabelled hardly any is",
    wrong=rows_wrong,
    right=rows_right,
    explanation=(
        "The outputs come task by task: two to the first task, two to the second. A list times two is another order: all "
        "tasks, and then all tasks again. Both have the same length, so that nothing complains (strict=True compares "
        "lengths, and no more). Every solution but the first and the last stands beside a problem that it does not solve. The "
        "script, asked whether it does, truthfully says wrong; and the likelihood then teaches the model to write "
        "solutions of other problems. In torch the two orders are called repeat and repeat_interleave. The cheapest guard "
        "is the comparison that gave it away: what the script says of a round's samples, before anything is learned, must "
        "agree with what the judge says of the policy."
    ),
    source="VLM-R1 issue 129, in which prompts were repeated once more than the sampler had repeated them, and rewards were computed against the wrong ones",
    link="https://github.com/om-ai-lab/VLM-R1/issues/129",
)
