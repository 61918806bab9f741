"""What each script keeps of the solutions of the start that is rarely right, before anything is learned from them."""

from rlhf_mini.chapters.hindsight import arithmetic
from rlhf_mini.chapters.hindsight.sum_runs import SCRIPTS
from rlhf_mini.data.chat import answer
from rlhf_mini.pipeline import Pipeline

SOLUTIONS = 1000
KEPT = {
    "the answer is right": "right only",
    "every step is right": "right throughout",
    "it solves some sum": "problem",
    "some step is right": "right steps",
}


def kept(pipeline: Pipeline) -> dict[str, int]:
    """Of `SOLUTIONS` solutions, one to each problem, of how many at least a part is kept, by name of `KEPT`."""
    problems = [one.text for one in arithmetic.problems(pipeline)[:SOLUTIONS]]
    ask = SCRIPTS["problem"]
    drawn = answer(
        arithmetic.start_of(pipeline, arithmetic.RARELY),
        arithmetic.tokenizer(),
        [ask.prompt(problem) for problem in problems],
        max_new_tokens=arithmetic.MAX_NEW_TOKENS,
        generator=pipeline.generator("chapter 08 counted"),
    )
    found = {}
    for name, script in KEPT.items():
        relabelling = SCRIPTS[script]
        found[name] = sum(
            bool(relabelling.relabel(*relabelling.task(problem), solution))
            for problem, solution in zip(problems, drawn, strict=True)
        )
    return found
