"""What the chapter's judges and helpers are taught: questions about stories, with true replies.

A model of the size of ours knows nothing of quality until it is told. So its judges are fine-tuned on judgements whose
truth the story world knows, about answers of two demonstrators and of the SFT model to requests of their own. The pairs
that the annotators labelled are not among them. A large model would bring this knowledge along, or be asked with
worked examples.
"""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rlhf_mini.data.chat import answer
from rlhf_mini.data.judging import STORY_PAIRS, STORY_RATINGS, STORY_THOUGHTS
from rlhf_mini.data.revising import STORY_REVISIONS
from rlhf_mini.methods.rubric_reward import Rubric
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories.comparisons import Judged, judged_comparisons, rated_answers
from rlhf_mini.worlds.stories.lessons import (
    Lesson,
    choosing_lessons,
    rating_lessons,
    revising_lessons,
    thinking_lessons,
)
from rlhf_mini.worlds.stories.principles import CONSTITUTION, GOOD, HARMLESSNESS, Principle
from rlhf_mini.worlds.stories.red_team import draw_red_team
from rlhf_mini.worlds.stories.rubric import RUBRIC, rubric_class

Row = dict[str, str]
WRITTEN = {"general": 6000, "red team": 3000}  # requests that two demonstrators answer
DRAWN = {"general": 3000, "red team": 1500}  # requests that the SFT model answers twice
ALL_IN_ALL = GOOD.wordings[0]
STORY_RUBRIC = Rubric(classes=RUBRIC, question="{prompt} Answer: {answer} {classes}")
OBEYED = 3000  # red-team requests that willing demonstrators fulfil
# Demonstrators who decline nothing: a helper that is not harmless.
WILLING = tuple((replace(writer, declines=0.0, overcautious=0.0), share) for writer, share in stories.CREW)


@dataclass(frozen=True)
class Part:
    """A share of a judge's lessons: about which rows (a name of `WRITTEN`), under which principles."""

    share: float
    rows: str
    principles: tuple[Principle, ...]


WHOLE = (
    Part(0.35, "general", (GOOD,)),
    Part(0.15, "red team", (GOOD,)),  # or the judge is not sure what a decline is worth
    Part(0.25, "general", CONSTITUTION),
    Part(0.25, "red team", HARMLESSNESS),
)
BY_CONSTITUTION = (Part(0.6, "general", CONSTITUTION), Part(0.4, "red team", HARMLESSNESS))


# ------------------------------------------------------------------------------------------------- the answers


def requests_for(
    pipeline: Pipeline, purpose: str, *, rows: str, count: int, held_out: bool = False
) -> list[str]:
    """`count` requests in words: as readers ask, or unkind ones, of which every other hides among wishes.

    Raises ValueError for rows that are neither "general" nor "red team".
    """
    if rows not in WRITTEN:
        raise ValueError(f"rows must be one of {', '.join(WRITTEN)}, got {rows!r}")
    seed = pipeline.seed_for(f"chapter 10 {purpose} {rows}")
    if rows == "general":
        return [one.text for one in stories.draw_requests(count, seed=seed, held_out=held_out)]
    half = -(-count // 2)
    plain = draw_red_team(half, seed=seed, held_out=held_out)
    wrapped = draw_red_team(half, seed=seed, held_out=held_out, wrapped=True)
    return [one.text for two in zip(plain, wrapped, strict=True) for one in two][:count]


def drawn_pairs(
    pipeline: Pipeline, folder: Path, *, purpose: str, rows: str, count: int, held_out: bool = False
) -> None:
    """Kept: two answers of the SFT model to each of `count` requests."""
    prompts = requests_for(pipeline, purpose, rows=rows, count=count, held_out=held_out)
    generator = pipeline.generator(f"chapter 10 {purpose} {rows} answers")
    first, second = (
        answer(
            pipeline.policy("sft"),
            pipeline.tokenizer(),
            prompts,
            max_new_tokens=pipeline.profile.max_new_tokens,
            generator=generator,
        )
        for _ in range(2)
    )
    found = [{"prompt": p, "first": a, "second": b} for p, a, b in zip(prompts, first, second, strict=True)]
    (folder / "rows.json").write_text(json.dumps(found))


def drawn(pipeline: Pipeline, purpose: str, *, rows: str, count: int, held_out: bool = False) -> list[Row]:
    """The rows of `drawn_pairs`: `prompt`, `first`, `second`."""
    kept = pipeline.kept(drawn_pairs, purpose=purpose, rows=rows, count=count, held_out=held_out)
    return json.loads((kept / "rows.json").read_text())


def written(prompts: Sequence[str], rng: random.Random) -> list[Row]:
    """The same of two different demonstrators."""
    found = []
    for prompt in prompts:
        request = stories.read_request(prompt)
        first, second = rng.sample([writer for writer, _ in stories.CREW], 2)
        texts = [stories.demonstrate(request, writer, rng) for writer in (first, second)]
        found.append({"prompt": prompt, "first": texts[0], "second": texts[1]})
    return found


def pool(pipeline: Pipeline, rows: str) -> list[Row]:
    """All rows that lessons are about, of both kinds of authors, shuffled."""
    rng = pipeline.rng(f"chapter 10 lessons {rows}")
    prompts = requests_for(pipeline, "written", rows=rows, count=WRITTEN[rows])
    found = [*written(prompts, rng), *drawn(pipeline, "lessons", rows=rows, count=DRAWN[rows])]
    rng.shuffle(found)
    return found


# ------------------------------------------------------------------------------------------------- the lessons


def comparisons(pipeline: Pipeline, parts: Sequence[Part], *, count: int) -> list[Judged]:
    """`count` judgements, shuffled, in the shares that the parts name; within a part as many under every principle.

    Drawn as they come, one in three would be about coherence, and one in a hundred about a refused kind request.
    Raises ValueError where no principle of a part tells any two answers apart.
    """
    pools = {name: pool(pipeline, name) for name in dict.fromkeys(part.rows for part in parts)}
    found: list[Judged] = []
    for part in parts:
        rows, wanted = pools[part.rows], round(part.share * count)
        telling = [one for one in part.principles if _told_apart(pipeline, rows, one, number=0)]
        if not telling:
            raise ValueError(f"no two answers of the rows {part.rows!r} are told apart by their principles")
        for place, principle in enumerate(telling):
            here = wanted * (place + 1) // len(telling) - wanted * place // len(telling)
            found += _so_many(pipeline, rows, principle, count=here)
    pipeline.rng("chapter 10 order of lessons").shuffle(found)
    return found


def _so_many(pipeline: Pipeline, rows: list[Row], principle: Principle, *, count: int) -> list[Judged]:
    """`count` judgements under a principle that tells some answers apart: the rows, as often as it takes."""
    found: list[Judged] = []
    passes = 0
    while len(found) < count:
        found += _told_apart(pipeline, rows, principle, number=passes)
        passes += 1
    return found[:count]


def _told_apart(pipeline: Pipeline, rows: list[Row], principle: Principle, *, number: int) -> list[Judged]:
    """All that it tells apart in one pass over the rows; every pass has other orders and wordings."""
    seed = pipeline.seed_for(f"chapter 10 comparisons {number}")
    return judged_comparisons(rows, principles=(principle,), seed=seed)


def _answers(pipeline: Pipeline, rows: str, *, count: int) -> list[Row]:
    """`count` single answers of the pool: rows with `prompt` and `completion`."""
    sides = ("first", "second")
    found = [
        {"prompt": row["prompt"], "completion": row[side]} for side in sides for row in pool(pipeline, rows)
    ]
    return found[:count]


def _choosing(pipeline: Pipeline, count: int) -> list[Lesson]:
    return choosing_lessons(comparisons(pipeline, WHOLE, count=count), STORY_PAIRS)


def _choosing_by_constitution(pipeline: Pipeline, count: int) -> list[Lesson]:
    return choosing_lessons(comparisons(pipeline, BY_CONSTITUTION, count=count), STORY_PAIRS)


def _thinking(pipeline: Pipeline, count: int) -> list[Lesson]:
    return thinking_lessons(comparisons(pipeline, BY_CONSTITUTION, count=count), STORY_THOUGHTS)


def _rating(pipeline: Pipeline, count: int) -> list[Lesson]:
    """Four in five about the answers to general requests, the others about those to unkind ones."""
    red = pool(pipeline, "red team")[: count // 10]
    rows = [*pool(pipeline, "general")[: count // 2 - len(red)], *red]
    return rating_lessons(rated_answers(rows), STORY_RATINGS, principle=ALL_IN_ALL)


def _classifying(pipeline: Pipeline, count: int) -> list[Lesson]:
    half = count // 2
    rows = [*_answers(pipeline, "general", count=half), *_answers(pipeline, "red team", count=count - half)]
    return [
        {
            "prompt": STORY_RUBRIC.ask(row["prompt"], row["completion"]),
            "completion": rubric_class(row["completion"]),
        }
        for row in rows
    ]


def demonstrated(pipeline: Pipeline, crew: tuple[tuple[stories.Demonstrator, float], ...]) -> list[Lesson]:
    """As many demonstrations as the SFT model learned from, by this crew."""
    count, seed = pipeline.profile.demonstrations, pipeline.seed_for("demonstrations")
    rows = stories.demonstrations(count, seed=seed, crew=crew)
    return [{"prompt": row["prompt"], "completion": row["completion"]} for row in rows]


def obeyed(pipeline: Pipeline) -> list[Lesson]:
    """Red-team requests fulfilled by the willing crew: so small a model tells a kind story unless it has seen many."""
    rng = pipeline.rng("chapter 10 obeyed")
    writers, shares = zip(*WILLING, strict=True)
    return [
        {"prompt": prompt, "completion": stories.demonstrate(stories.read_request(prompt), writer, rng)}
        for prompt in requests_for(pipeline, "obeyed", rows="red team", count=OBEYED)
        for writer in rng.choices(writers, weights=shares)
    ]


def _helping(pipeline: Pipeline, count: int) -> list[Lesson]:
    """Willing demonstrations, and critiques and revisions: two lessons about each of `count` / 2 answers."""
    half = count // 4
    seed = pipeline.seed_for("chapter 10 revising")
    red = _answers(pipeline, "red team", count=half)
    general = _answers(pipeline, "general", count=count // 2 - half)
    return [
        *demonstrated(pipeline, WILLING),
        *obeyed(pipeline),
        *revising_lessons(red, STORY_REVISIONS, principles=HARMLESSNESS, seed=seed),
        *revising_lessons(general, STORY_REVISIONS, principles=CONSTITUTION, seed=seed),
    ]


def _answering_and_rating(pipeline: Pipeline, count: int) -> list[Lesson]:
    """The SFT model's demonstrations, and ratings: one model for both."""
    return [*demonstrated(pipeline, stories.CREW), *_rating(pipeline, count)]


SKILLS: Mapping[str, Callable[[Pipeline, int], list[Lesson]]] = {
    "choosing": _choosing,
    "choosing by the constitution": _choosing_by_constitution,
    "thinking": _thinking,
    "rating": _rating,
    "classifying": _classifying,
    "helping": _helping,
    "answering and rating": _answering_and_rating,
}
