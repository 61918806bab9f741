"""Exposure bias: what the model does after its own words, against what it does after a writer's.

A slip is a sentence that the grammar cannot write, or that names another hero or object than was asked for.
The model is the one trained on careful writers, who never slip, so that every slip is its own.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from transformers import PreTrainedModel

from rlhf_mini.batch import pack_rows
from rlhf_mini.chapters.fine_tuning import runs
from rlhf_mini.data.chat import draw, response_texts
from rlhf_mini.data.tokenizer import encode_prompt, encode_text
from rlhf_mini.methods.scheduled_sampling import linear_schedule, sft_with_scheduled_sampling
from rlhf_mini.methods.sft import response_loss
from rlhf_mini.models import copy_of
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds.stories import Request, draw_facts
from rlhf_mini.worlds.stories.grammar import KIND_DEEDS, write_sentences
from rlhf_mini.worlds.stories.parser import read_sentence, read_story, split_sentences

IDEAL_SHAPE = ("opening", "problem", "deed", "ending")
PLACES = (1, 2, 3)  # after how many sentences the next one is judged


def is_slip(request: Request, sentence: str) -> bool:
    """Whether the grammar cannot write the sentence, or it names another hero or object than asked.

    >>> from rlhf_mini.worlds.stories import Request
    >>> is_slip(Request("fox", "kite", "happy"), "Good night, little fox.")
    False
    >>> is_slip(Request("fox", "kite", "happy"), "Good night, little crab.")
    True
    """
    read = read_sentence(sentence)
    asked = {"hero": request.hero, "object": request.object}
    return read.role is None or any(read.fact(name) not in (None, word) for name, word in asked.items())


def kind_requests(pipeline: Pipeline, *, count: int) -> list[Request]:
    """Held-out requests for kind stories without a wish for length or style."""
    asked = runs.requests(pipeline, count=4 * count)
    return [r for r in asked if r.unkind is None and r.length is None and r.style is None][:count]


def continuations(
    pipeline: Pipeline, model: PreTrainedModel, prompts: Sequence[str], prefixes: Sequence[str]
) -> list[str]:
    """What the model writes after each prompt and beginning of an answer."""
    tokenizer = pipeline.tokenizer()
    encoded = [
        [*encode_prompt(tokenizer, prompt), *encode_text(tokenizer, prefix)]
        for prompt, prefix in zip(prompts, prefixes, strict=True)
    ]
    drawn = draw(
        model,
        tokenizer,
        encoded,
        max_new_tokens=pipeline.profile.max_new_tokens,
        generator=torch.Generator().manual_seed(pipeline.seed),
    )
    return response_texts(tokenizer, drawn)


def gold_prefixes(requests: Sequence[Request], rng: random.Random, *, sentences: int) -> list[str]:
    """The beginnings of careful stories that go on for at least one more sentence."""
    begun = []
    for request in requests:
        facts = draw_facts(
            rng,
            hero=request.hero,
            object=request.object,
            mood=request.mood,
            deed=rng.choice(KIND_DEEDS),
            length="medium",
        )
        begun.append(" ".join(write_sentences(facts, rng)[:sentences]))
    return begun


def slip_rates(pipeline: Pipeline, model: PreTrainedModel, *, count: int = 384) -> dict[str, float]:
    """How often the next sentence slips: after a writer's sentences, after own clean ones, after an own slip.

    Pooled over the places in `PLACES`, each place weighing the same in all three.
    """
    requests = kind_requests(pipeline, count=count)
    prompts = [request.text for request in requests]
    own = [split_sentences(text) for text in continuations(pipeline, model, prompts, [""] * len(prompts))]
    rates: dict[str, list[float]] = {"gold": [], "clean": [], "slipped": []}
    rng = pipeline.rng("chapter 03 prefixes")
    for place in PLACES:
        prefixes = gold_prefixes(requests, rng, sentences=place)
        nexts = [split_sentences(text)[:1] for text in continuations(pipeline, model, prompts, prefixes)]
        after_gold = [is_slip(r, s[0]) for r, s in zip(requests, nexts, strict=True) if s]
        after: dict[bool, list[bool]] = {False: [], True: []}
        for request, told in zip(requests, own, strict=True):
            if len(told) > place:
                before = any(is_slip(request, sentence) for sentence in told[:place])
                after[before].append(is_slip(request, told[place]))
        for name, seen in (("gold", after_gold), ("clean", after[False]), ("slipped", after[True])):
            rates[name].append(sum(seen) / max(len(seen), 1))
    return {f"after_{name}": sum(values) / len(values) for name, values in rates.items()}


def ideal_losses(pipeline: Pipeline, model: PreTrainedModel, *, count: int = 768) -> dict[str, float]:
    """Loss on the same ideal ending after a writer's two sentences and after the model's own two.

    The ending (deed and ending, as a careful writer would put them) keeps to the request and to the plot that
    the model's own sentences began, so that only the sentences before it differ. Nats per token; apart for own
    beginnings without and with a slip.
    """
    requests = kind_requests(pipeline, count=count)
    rng = pipeline.rng("chapter 03 ideal endings")
    written = continuations(pipeline, model, [r.text for r in requests], [""] * len(requests))
    rows: dict[bool, list[tuple[str, str, str, str]]] = {False: [], True: []}
    for request, text in zip(requests, written, strict=True):
        begun = split_sentences(text)[:2]
        told = read_story(" ".join(begun))
        roles = {sentence.role for sentence in told.sentences}
        if len(begun) < 2 or told.deed not in KIND_DEEDS or roles & {"deed", "ending", "goodnight", "twist"}:
            continue
        facts = draw_facts(rng, hero=request.hero, object=request.object, mood=request.mood, deed=told.deed)
        ideal = write_sentences(replace(facts, shape=IDEAL_SHAPE), rng)
        slipped = any(is_slip(request, sentence) for sentence in begun)
        rows[slipped].append((request.text, " ".join(ideal[:2]), " ".join(begun), " " + " ".join(ideal[2:])))
    numbers: dict[str, float] = {}
    for slipped, group in rows.items():
        name = "slipped" if slipped else "clean"
        numbers[f"count_{name}"] = len(group)
        if not group:
            continue
        for kind, place in (("gold", 1), ("own", 2)):
            beginnings = [(row[0], row[place], row[3]) for row in group]
            numbers[f"nats_{kind}_{name}"] = ending_loss(pipeline, model, beginnings)
    return numbers


def ending_loss(pipeline: Pipeline, model: PreTrainedModel, rows: Sequence[tuple[str, str, str]]) -> float:
    """Mean loss on the endings' tokens, rows being (prompt, beginning, ending); nats per token."""
    tokenizer = pipeline.tokenizer()
    begun = [[*encode_prompt(tokenizer, p), *encode_text(tokenizer, b)] for p, b, _ in rows]
    ends = [encode_text(tokenizer, ending) for _, _, ending in rows]
    return response_loss(model, pack_rows(begun, ends, pad_token=tokenizer.pad_token_id))


def scheduled(pipeline: Pipeline, folder: Path, *, least: float) -> None:
    """A kept run on careful writers with scheduled sampling: ε falls linearly to `least` at two thirds."""
    count = 64 * pipeline.profile.sft.batch
    model = copy_of(pipeline.policy("base"))
    history = sft_with_scheduled_sampling(
        model,
        runs.encode(pipeline, runs.demonstration_rows(pipeline, crew="careful", count=count)),
        config=runs.settings(pipeline, count),
        schedule=linear_schedule(slope=1.5 * (1 - least) / runs.UPDATES, least=least),
        generator=pipeline.generator("chapter 03 sft"),
    )
    runs.save(model, history, folder)


def exposure(pipeline: Pipeline, *, least: float) -> dict[str, float]:
    """Slip rates, losses after own and gold beginnings, gold; for plain SFT (least = 1) or scheduled sampling."""
    folder = runs.run_on(pipeline, crew="careful") if least == 1 else pipeline.kept(scheduled, least=least)
    model = runs.load(folder)
    good, _ = runs.good_and_bad(pipeline)
    return {
        **slip_rates(pipeline, model),
        **ideal_losses(pipeline, model),
        "gold": runs.judged(pipeline, model).metrics()["gold"],
        "answer_nats": response_loss(model, good),
    }
