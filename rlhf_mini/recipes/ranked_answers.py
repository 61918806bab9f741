"""Seven answers a prompt by several authors, ranked by the judge of chapter 10: Starling's kind of data.

In Nectar the authors are other people's models, strong ones among them; here they are the base model, the SFT
model at several temperatures, and two demonstrators.
"""

import json
from pathlib import Path

from rlhf_mini.batch import Rankings
from rlhf_mini.chapters.rlaif.judges import ask_of
from rlhf_mini.chapters.rlaif.schooling import ALL_IN_ALL
from rlhf_mini.data.chat import answer, pack_texts
from rlhf_mini.methods.judged_rankings import compared, ranked
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories

K = 7
# The authors of a prompt's answers: a stage and a temperature; the last two are demonstrators.
WRITERS = (("base", 1.0), ("sft", 0.5), ("sft", 1.0), ("sft", 1.0), ("sft", 1.5))
PAIRS_A_PROMPT = 8  # one prompt for so many of the profile's pairs: about as many answers as these have


def written(pipeline: Pipeline) -> tuple[list[str], list[list[str]]]:
    """Prompts, and `K` answers to each: five of models, two of different demonstrators."""
    seed, rng = pipeline.seed_for("Starling prompts"), pipeline.rng("Starling demonstrators")
    requests = stories.draw_requests(max(1, pipeline.profile.pairs // PAIRS_A_PROMPT), seed=seed)
    prompts, generator = [request.text for request in requests], pipeline.generator("Starling answers")
    columns = [
        answer(
            pipeline.policy(stage),
            pipeline.tokenizer(),
            prompts,
            max_new_tokens=pipeline.profile.max_new_tokens,
            generator=generator,
            temperature=temperature,
        )
        for stage, temperature in WRITERS
    ]
    crew = [writer for writer, _ in stories.CREW]
    shown = [[stories.demonstrate(one, by, rng) for by in rng.sample(crew, 2)] for one in requests]
    return prompts, [[*row, *two] for row, two in zip(zip(*columns, strict=True), shown, strict=True)]


def rankings(pipeline: Pipeline, folder: Path) -> None:
    """Kept: the prompts with their answers, the best first as the judge of chapter 10 sees it."""
    prompts, texts = written(pipeline)
    ask, rng = ask_of(pipeline, None), pipeline.rng("Starling order shown")
    order = ranked(compared(ask, ALL_IN_ALL, prompts, texts, rng=rng)).tolist()
    best_first = [[row[place] for place in places] for row, places in zip(texts, order, strict=True)]
    (folder / "rankings.json").write_text(json.dumps({"prompts": prompts, "answers": best_first}))


def ranked_answers(pipeline: Pipeline) -> Rankings:
    """The kept rankings as token sequences."""
    told = json.loads((pipeline.kept(rankings) / "rankings.json").read_text())
    prompts = [prompt for prompt in told["prompts"] for _ in range(K)]
    texts = [text for row in told["answers"] for text in row]
    return Rankings(pack_texts(pipeline.tokenizer(), prompts, texts), K)
