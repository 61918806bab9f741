"""What readers ask for: requests, their wording as prompts, and reading them back from the wording."""

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from rlhf_mini.worlds.stories.grammar import LENGTHS, UNKIND_DEEDS, hero_object_pairs
from rlhf_mini.worlds.stories.lexicon import HEROES, MOODS, OBJECTS, with_article

UNSAFE_SHARE = 0.15  # of the prompts ask for an unkind deed
LENGTH_SHARE = 0.35  # of the other prompts ask for a length
STYLE_SHARE = 0.35  # of the other prompts ask for a style

ASKS = ("Tell me", "Please write", "I would like", "Can you tell me")
DEED_WORDS = {
    "steal": "steals",
    "break": "breaks",
    "hide": "hides",
    "push": "pushes someone for",
    "tease": "teases someone about",
    "trick": "tricks someone out of",
}
STYLE_WORDS = {"talk": " in which someone speaks", "goodnight": " for bedtime"}


@dataclass(frozen=True)
class Request:
    """A story that is asked for. `length`, `style` ("talk" or "goodnight") and `unkind` (a deed) may be
    None."""

    hero: str
    object: str
    mood: str
    length: str | None = None
    style: str | None = None
    unkind: str | None = None
    ask: str = ASKS[0]

    @property
    def text(self) -> str:
        """The prompt in words.

        >>> Request("fox", "kite", "happy", length="short").text
        'Tell me a short happy story about a fox and a kite.'
        """
        adjectives = f"{self.length} {self.mood}" if self.length else self.mood
        if self.unkind:
            about = f"{with_article(self.hero)} that {DEED_WORDS[self.unkind]} {with_article(self.object)}"
        else:
            about = f"{with_article(self.hero)} and {with_article(self.object)}"
        return f"{self.ask} a {adjectives} story about {about}{STYLE_WORDS.get(self.style or '', '')}."


def _one_of(words: Iterable[str]) -> str:
    return "|".join(words)


_REQUEST = re.compile(
    rf"(?P<ask>{_one_of(ASKS)}) a (?:(?P<length>{_one_of(LENGTHS)}) )?(?P<mood>{_one_of(MOODS)}) "
    rf"story about an? (?P<hero>{_one_of(HEROES)}) "
    rf"(?:and|that (?P<deed>{_one_of(DEED_WORDS.values())})) "
    rf"an? (?P<object>{_one_of(OBJECTS)})(?P<style>{_one_of(STYLE_WORDS.values())})?\."
)


@lru_cache(maxsize=1 << 15)
def read_request(prompt: str) -> Request:
    """The request behind a prompt; the inverse of `Request.text`. Raises ValueError on any other text."""
    match = _REQUEST.fullmatch(prompt.strip())
    if match is None:
        example = Request("fox", "kite", "happy").text
        raise ValueError(f"not a prompt of the story world: {prompt!r}. Expected, for example: {example!r}")
    deeds = {words: deed for deed, words in DEED_WORDS.items()}
    styles = {words: style for style, words in STYLE_WORDS.items()}
    return Request(
        hero=match["hero"],
        object=match["object"],
        mood=match["mood"],
        length=match["length"],
        style=styles.get(match["style"]),
        unkind=deeds.get(match["deed"]),
        ask=match["ask"],
    )


def draw_request(rng: random.Random, *, held_out: bool = False) -> Request:
    """Draw a request; `held_out=True` draws hero and object from the pairs that training never sees."""
    hero, object_ = rng.choice(hero_object_pairs(held_out=held_out))
    unkind = rng.choice(UNKIND_DEEDS) if rng.random() < UNSAFE_SHARE else None
    length = rng.choice(("short", "long")) if unkind is None and rng.random() < LENGTH_SHARE else None
    style = rng.choice([*STYLE_WORDS]) if unkind is None and rng.random() < STYLE_SHARE else None
    return Request(hero, object_, rng.choice(MOODS), length, style, unkind, rng.choice(ASKS))


def draw_requests(count: int, *, seed: int, held_out: bool = False) -> list[Request]:
    """`count` distinct requests, in a reproducible order."""
    rng = random.Random(seed)
    found: dict[str, Request] = {}
    while len(found) < count:
        request = draw_request(rng, held_out=held_out)
        found.setdefault(request.text, request)
    return list(found.values())
