"""Critiques and revisions of an answer under a principle: text in, text out, and true by the facts.

`critique` says in one sentence whether the answer keeps the principle, and if not, where it fails. `revise`
changes the answer so that it does, and as little else as it can: it puts another word, leaves a sentence out,
adds one, and tells the story anew only where nothing less will do. A revision tells no unkind deed that the
answer did not tell. Both stand for what a helpful model can be asked to do; a small one learns it from them.
"""

import random
import re
from collections.abc import Callable
from dataclasses import replace

from rlhf_mini.worlds.stories import plots
from rlhf_mini.worlds.stories.demonstrators import shapes_for
from rlhf_mini.worlds.stories.grammar import (
    KIND_DEEDS,
    UNKIND_DEEDS,
    Facts,
    draw_facts,
    length_name,
    write_sentences,
)
from rlhf_mini.worlds.stories.lexicon import HEROES, OBJECTS, with_article
from rlhf_mini.worlds.stories.parser import Reading, read_story, split_sentences
from rlhf_mini.worlds.stories.principles import CONSTITUTION, Principle, declined_rightly
from rlhf_mini.worlds.stories.requests import Request, read_request

Critic = Callable[[Request, Reading], str]
Reviser = Callable[[Request, str, random.Random], str]

ABOUT_STORIES = ("hero", "object", "feeling", "wishes", "ending", "coherence")
UNKINDNESS = {
    "steal": "steals",
    "break": "breaks things",
    "hide": "hides things",
    "push": "pushes a friend",
    "tease": "teases a friend",
    "trick": "tricks a friend",
}


def critique(principle: Principle, prompt: str, answer: str) -> str:
    """One sentence about the answer under a principle of the constitution.

    Raises ValueError for another principle.

    >>> from rlhf_mini.worlds.stories.principles import principle_named
    >>> story = "Once upon a time, a happy fox lived by the lake. The fox smiled all the way home."
    >>> critique(principle_named("object"), "Tell me a happy story about a fox and a kite.", story)
    'It has no kite.'
    """
    _require_known(principle)
    if declined_rightly(prompt, answer):
        return "It declines an unkind request, politely."
    reading = read_story(answer)
    if reading.declined and principle.name in ABOUT_STORIES:
        return "It tells no story."
    return _CRITICS[principle.name](read_request(prompt), reading)


def revise(principle: Principle, prompt: str, answer: str, rng: random.Random) -> str:
    """The answer, changed so that it keeps a principle of the constitution; unchanged if it does already.

    Raises ValueError for another principle.
    """
    _require_known(principle)
    if principle.kept(prompt, answer):
        return answer
    return _REVISERS[principle.name](read_request(prompt), answer, rng)


def _require_known(principle: Principle) -> None:
    if principle.name not in _CRITICS:
        raise ValueError(
            f"no critique is written for the principle {principle.name!r}: choose one of "
            f"{', '.join(known.name for known in CONSTITUTION)}"
        )


# ------------------------------------------------------------------------------------------------ critiques


def _on_kindness(request: Request, reading: Reading) -> str:
    deeds = [s.group for s in reading.sentences if s.role == "deed" and s.group in UNKIND_DEEDS]
    return f"Someone {UNKINDNESS[str(deeds[0])]}, which is unkind." if deeds else "Nobody is unkind."


def _on_declining(request: Request, reading: Reading) -> str:
    if request.unkind is None:
        return "There is nothing to decline."
    return "It declines, but not politely." if reading.declined else "It tells what should be declined."


def _on_willing(request: Request, reading: Reading) -> str:
    refused = reading.declined and request.unkind is None
    return "It refuses a kind request." if refused else "It does not refuse."


def _on_hero(request: Request, reading: Reading) -> str:
    return _on_noun(reading.hero, request.hero)


def _on_object(request: Request, reading: Reading) -> str:
    return _on_noun(reading.object, request.object)


def _on_noun(told: str | None, asked: str) -> str:
    if told is None:
        return f"It has no {asked}."
    return f"It has the {asked}." if told == asked else f"It has {with_article(told)} and no {asked}."


def _on_feeling(request: Request, reading: Reading) -> str:
    if reading.mood is None:
        return f"It is not {request.mood}."
    return f"It is {reading.mood}" + (
        ", as asked." if reading.mood == request.mood else f", not {request.mood}."
    )


def _on_wishes(request: Request, reading: Reading) -> str:
    failed = []
    if request.length is not None and length_name(len(reading.sentences)) != request.length:
        failed.append(f"It is not {request.length}.")
    if request.style == "talk" and not reading.talk:
        failed.append("Nobody speaks.")
    if request.style == "goodnight" and not reading.goodnight:
        failed.append("It is not for bedtime.")
    return " ".join(failed) or "It meets the other wishes."


def _on_ending(request: Request, reading: Reading) -> str:
    return "It has an ending." if reading.complete else "It stops before the end."


def _on_coherence(request: Request, reading: Reading) -> str:
    told = len(reading.sentences)
    if not told:
        return "It tells no story."
    misfits = round((1 - reading.coherence) * told)
    return f"{misfits} of {told} sentences do not fit." if misfits else "Every sentence fits."


def _on_repetition(request: Request, reading: Reading) -> str:
    return "It says something twice." if reading.repeats else "It says nothing twice."


_CRITICS: dict[str, Critic] = {
    "kindness": _on_kindness,
    "declining": _on_declining,
    "willing": _on_willing,
    "hero": _on_hero,
    "object": _on_object,
    "feeling": _on_feeling,
    "wishes": _on_wishes,
    "ending": _on_ending,
    "coherence": _on_coherence,
    "repetition": _on_repetition,
}


# ------------------------------------------------------------------------------------------------ revisions


def _facts(request: Request, answer: str, rng: random.Random) -> Facts:
    """What the answer tells; what it leaves open, or tells unkindly, as the request has it, or drawn."""
    reading = read_story(answer)
    places = [place for s in reading.sentences if (place := s.fact("place")) is not None]
    told = {
        "hero": reading.hero or request.hero,
        "object": reading.object or request.object,
        "mood": reading.mood or request.mood,
        "deed": reading.deed if reading.deed in KIND_DEEDS else rng.choice(KIND_DEEDS),
    }
    told |= {"friend": reading.friend} if reading.friend else {}
    told |= {"place": places[0]} if places else {}
    return draw_facts(rng, held_out=False, **told)


def _sentence(role: str, facts: Facts, rng: random.Random) -> str:
    return write_sentences(replace(facts, shape=(role,)), rng)[0]


def _decline(request: Request, answer: str, rng: random.Random) -> str:
    return rng.choice(plots.DECLINES)


def _be_kind(request: Request, answer: str, rng: random.Random) -> str:
    return _decline(request, answer, rng) if request.unkind else _tell_anew(request, answer, rng)


def _tell_anew(request: Request, answer: str, rng: random.Random) -> str:
    """A whole story with the answer's facts, in a shape that meets the wishes; its deed is kind."""
    shape = rng.choice(shapes_for(request))
    return " ".join(write_sentences(replace(_facts(request, answer, rng), shape=shape), rng))


def _right_hero(request: Request, answer: str, rng: random.Random) -> str:
    return _renamed(request, answer, rng, words=HEROES, asked=request.hero)


def _right_object(request: Request, answer: str, rng: random.Random) -> str:
    return _renamed(request, answer, rng, words=OBJECTS, asked=request.object)


def _renamed(request: Request, answer: str, rng: random.Random, *, words: tuple[str, ...], asked: str) -> str:
    """Every word of the list replaced by the one asked for; a story without any is told anew."""
    named = re.compile(rf"\b(?:(a)n? )?(?:{'|'.join(words)})\b", re.IGNORECASE)
    if read_story(answer).declined or not named.search(answer):
        return _tell_anew(request, "", rng)

    def put(match: re.Match[str]) -> str:
        if match[1] is None:
            return asked
        return match[1] + with_article(asked)[1:]

    return named.sub(put, answer)


def _right_feeling(request: Request, answer: str, rng: random.Random) -> str:
    """Twists and endings of the mood asked for; an ending is added, in the place of a broken-off sentence,
    if there is none.
    """
    if read_story(answer).declined:
        return _tell_anew(request, "", rng)
    facts = replace(_facts(request, answer, rng), mood=request.mood)
    sentences = list(read_story(answer).sentences)
    if sentences and not sentences[-1].text.endswith((".", "!", "?", '"')):
        sentences.pop()
    told = [_sentence(s.role, facts, rng) if s.role in ("twist", "ending") else s.text for s in sentences]
    if not any(s.role == "ending" for s in sentences):
        last = sentences[-1].role if sentences else None
        told.insert(len(told) - (last == "goodnight"), _sentence("ending", facts, rng))
    return " ".join(told)


def _with_ending(request: Request, answer: str, rng: random.Random) -> str:
    """What belongs to no story is cut off at the end, and an ending is put there if none is left."""
    sentences = list(read_story(answer).sentences)
    if read_story(answer).declined:
        return _tell_anew(request, "", rng)
    while sentences and sentences[-1].role is None:
        sentences.pop()
    told = [s.text for s in sentences]
    if not sentences or sentences[-1].role not in ("ending", "goodnight"):
        told.append(_sentence("ending", _facts(request, answer, rng), rng))
    return " ".join(told)


def _coherent(request: Request, answer: str, rng: random.Random) -> str:
    """The sentences that fit what is told before them; without an opening, one is put in front."""
    if read_story(answer).declined:
        return _tell_anew(request, "", rng)
    opening = _sentence("opening", _facts(request, answer, rng), rng)
    for told in ([], [opening]):
        for sentence in split_sentences(answer):
            if read_story(" ".join([*told, sentence])).coherence == 1:
                told.append(sentence)
        if told:
            break
    return " ".join(told)


def _said_once(request: Request, answer: str, rng: random.Random) -> str:
    return " ".join(dict.fromkeys(s.text for s in read_story(answer).sentences))


_REVISERS: dict[str, Reviser] = {
    "kindness": _be_kind,
    "declining": _decline,
    "willing": _tell_anew,
    "hero": _right_hero,
    "object": _right_object,
    "feeling": _right_feeling,
    "wishes": _tell_anew,
    "ending": _with_ending,
    "coherence": _coherent,
    "repetition": _said_once,
}
