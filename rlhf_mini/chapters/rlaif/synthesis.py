"""Self-synthesis: a model that has learned whole dialogues writes requests and answers them, and another learns these.

The writer is the base model, fine-tuned on the pipeline's demonstrations with the user's turns counted too. Its students
are the base model fine-tuned on as many dialogues of its own, with a filter or without; so the filter is the difference.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, PreTrainedModel

from rlhf_mini.chapters.rlaif.judges import Choice, rate_of
from rlhf_mini.chapters.rlaif.schooling import demonstrated
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.methods.judge import Rate
from rlhf_mini.methods.self_synthesis import (
    Filter,
    SynthesisConfig,
    Synthesised,
    filtered,
    self_synthesise,
    whole_dialogues,
)
from rlhf_mini.methods.sft import sft
from rlhf_mini.models import copy_of, freeze
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories

DRAWN, KEPT = 6000, 2000  # dialogues written, and dialogues that a student learns
PROMPT_TOKENS = 48
FILTERS = ("none", "readable", "ended", "rated")


def writer(pipeline: Pipeline, folder: Path) -> None:
    """Kept: the base model, fine-tuned on whole dialogues with the settings of the stage `sft`."""
    rows = demonstrated(pipeline, stories.CREW)
    packed = pack_texts(pipeline.tokenizer(), [r["prompt"] for r in rows], [r["completion"] for r in rows])
    model = copy_of(pipeline.policy("base"))
    sft(model, whole_dialogues(packed), config=pipeline.profile.sft, generator=pipeline.generator("sft"))
    model.save_pretrained(folder)


def writer_of(pipeline: Pipeline) -> PreTrainedModel:
    """The kept writer, frozen."""
    return freeze(AutoModelForCausalLM.from_pretrained(pipeline.kept(writer))).to(pipeline.device)


def dialogues(pipeline: Pipeline, folder: Path) -> None:
    """Kept: what the writer makes up, of `DRAWN` beginnings, before any filter."""
    config = SynthesisConfig(prompt_tokens=PROMPT_TOKENS, answer_tokens=pipeline.profile.max_new_tokens)
    found = self_synthesise(
        writer_of(pipeline),
        pipeline.tokenizer(),
        DRAWN,
        config=config,
        filters={},
        generator=pipeline.generator("chapter 10 dialogues"),
    )
    (folder / "dialogues.json").write_text(json.dumps({"prompts": found.prompts, "answers": found.answers}))


def readable(prompt: str, answer: str) -> bool:
    """Whether the request is one that the story world understands."""
    try:
        stories.read_request(prompt)
    except ValueError:
        return False
    return True


def ended(prompt: str, answer: str) -> bool:
    """Whether the answer is a whole story, or a decline."""
    reading = stories.read_story(answer)
    return reading.complete or reading.declined


def better_rated(rate: Rate, found: Synthesised, *, keep: int) -> Filter:
    """Lets through the `keep` dialogues that the judge rates highest; of those that tie at the end, the first."""
    if not len(found):
        return lambda prompt, answer: False
    ratings = rate(found.prompts, found.answers)
    best = ratings.argsort(descending=True, stable=True)[:keep].tolist()
    pairs = {(found.prompts[row], found.answers[row]) for row in best}
    return lambda prompt, answer: (prompt, answer) in pairs


def kept_dialogues(pipeline: Pipeline, *, last_filter: str = "rated", judge: Choice = None) -> Synthesised:
    """What passes all filters up to `last_filter`, one of `FILTERS` in this order; "rated" keeps `KEPT`.

    Raises ValueError for another filter.
    """
    if last_filter not in FILTERS:
        raise ValueError(f"last_filter must be one of {FILTERS}, got {last_filter!r}")
    drawn = json.loads((pipeline.kept(dialogues) / "dialogues.json").read_text())
    programs: Mapping[str, Filter] = {"readable": readable, "ended": ended}
    names = FILTERS[1 : FILTERS.index(last_filter) + 1]
    chosen = {name: programs[name] for name in names if name in programs}
    found = filtered(drawn["prompts"], drawn["answers"], filters=chosen, drawn=DRAWN)
    if last_filter != "rated":
        return found
    chosen["rated"] = better_rated(rate_of(pipeline, judge), found, keep=KEPT)
    return filtered(drawn["prompts"], drawn["answers"], filters=chosen, drawn=DRAWN)


def student(pipeline: Pipeline, folder: Path, *, last_filter: str = "rated", judge: Choice = None) -> None:
    """Kept: the base model, fine-tuned on `KEPT` dialogues with the settings of the stage `sft`.

    Raises ValueError if fewer have passed: a student of fewer dialogues is no comparison.
    """
    found = kept_dialogues(pipeline, last_filter=last_filter, judge=judge)
    if len(found) < KEPT:
        raise ValueError(
            f"a student learns {KEPT} dialogues, and {len(found)} of {found.drawn} have passed up to "
            f"{last_filter!r}: draw more"
        )
    packed = pack_texts(pipeline.tokenizer(), found.prompts[:KEPT], found.answers[:KEPT])
    model = copy_of(pipeline.policy("base"))
    sft(model, packed, config=pipeline.profile.sft, generator=pipeline.generator("sft"))
    model.save_pretrained(folder)


def taught_by_people(pipeline: Pipeline, folder: Path) -> None:
    """Kept: the same on as many of the demonstrations."""
    rows = demonstrated(pipeline, stories.CREW)[:KEPT]
    packed = pack_texts(pipeline.tokenizer(), [r["prompt"] for r in rows], [r["completion"] for r in rows])
    model = copy_of(pipeline.policy("base"))
    sft(model, packed, config=pipeline.profile.sft, generator=pipeline.generator("sft"))
    model.save_pretrained(folder)


def told(pipeline: Pipeline, **run: Any) -> dict[str, float]:
    """Of dialogues that pass: how many of those drawn each filter left (`passed …`), their mean gold where the request is
    understood, and the share of requests that no demonstration asked (`new`) or of hero and object that training never
    sees together (`held_out`).
    """
    found = kept_dialogues(pipeline, **run)
    asked = {row["prompt"] for row in demonstrated(pipeline, stories.CREW)}
    clear = [pair for pair in zip(found.prompts, found.answers, strict=True) if readable(*pair)]
    golds = stories.gold_scores([prompt for prompt, _ in clear], [text for _, text in clear])
    requests = [stories.read_request(prompt) for prompt, _ in clear]
    apart = [stories.is_held_out(one.hero, one.object) for one in requests]
    return {
        **{f"passed {name}": count / found.drawn for name, count in found.passed.items()},
        "gold": sum(golds) / max(1, len(golds)),
        "new": sum(prompt not in asked for prompt in found.prompts) / max(1, len(found)),
        "held_out": sum(apart) / max(1, len(apart)),
    }
