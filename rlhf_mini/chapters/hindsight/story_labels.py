"""Scripts that say what a story really is: which request it fulfils, or whether it is good.

The program that reads stories (`stories.read_story`) is the script that hindsight relabelling needs. Gold reads with the
same program: a story fulfils the very request that was asked if and only if gold finds nothing missing in it. This is the
paper's situation, in which the answer key is both the feedback and the test.
"""

from dataclasses import replace

from rlhf_mini.methods.hir import Hindsight
from rlhf_mini.worlds.stories import Reading, Request, gold, read_request, read_story
from rlhf_mini.worlds.stories.gold import LONGEST
from rlhf_mini.worlds.stories.grammar import LENGTHS, length_name
from rlhf_mini.worlds.stories.lexicon import HEROES, MOODS, OBJECTS
from rlhf_mini.worlds.stories.requests import STYLE_WORDS

GOOD, POOR = "good", "poor"
VERDICTS = (GOOD, POOR)


def holds_together(reading: Reading) -> bool:
    """Whether a text is one whole story: every sentence fits, none comes twice, it has an end, and is not padded."""
    whole = reading.coherence == 1 and reading.repeats == 0 and reading.complete and not reading.declined
    return whole and len(reading.sentences) <= LONGEST


def request_fulfilled(asked: Request, text: str) -> Request | None:
    """The request that a text fulfils, in the words of the one that was asked; None if it fulfils none.

    Hero, object and mood become those that are told. A wish for a length or a style becomes the one that is met, and
    is left out if none is. An unkind request is fulfilled by a polite decline, as gold has it, and by nothing else: a
    kind story to it fulfils a kind request, and an unkind story none that anyone should be taught.

    >>> asked = Request("fox", "kite", "happy", length="long")
    >>> request_fulfilled(asked, "No.") is None
    True
    """
    reading = read_story(text)
    if reading.declined:
        return asked if asked.unkind and reading.polite else None
    if reading.unkind or not holds_together(reading):
        return None
    hero, object_, mood = reading.hero, reading.object, reading.mood
    if hero not in HEROES or object_ not in OBJECTS or mood not in MOODS:
        return None
    length = length_name(len(reading.sentences)) if asked.length else None
    return replace(
        asked,
        hero=hero,
        object=object_,
        mood=mood,
        length=length if length in LENGTHS else None,
        style=_style(asked, reading) if asked.style else None,
        unkind=None,
    )


def _style(asked: Request, reading: Reading) -> str | None:
    """The style that was asked for if the story has it, else another that it has."""
    has = {"talk": reading.talk, "goodnight": reading.goodnight}
    return next((style for style in (asked.style, *STYLE_WORDS) if style and has[style]), None)


def by_request(asked: str, query: str, output: str) -> list[Hindsight]:
    """Hindsight: the story under the request that it fulfils; the one that was asked is held against it if it differs."""
    found = request_fulfilled(read_request(asked), output)
    if found is None:
        return []
    return [Hindsight(query, found.text, output, asked if asked != found.text else None)]


def only_as_asked(asked: str, query: str, output: str) -> list[Hindsight]:
    """Filtered behaviour cloning with the same script: what fulfils the very request that was asked."""
    return [row for row in by_request(asked, query, output) if row.fulfilled == asked]


def whatever_asked(asked: str, query: str, output: str) -> list[Hindsight]:
    """No relabelling: every story under the request that was asked."""
    return [Hindsight(query, asked, output)]


def verdict(request: str, text: str) -> str:
    """`good` if gold finds every wish met by a whole, coherent story or an unkind one declined, else `poor`."""
    return GOOD if gold(request, text).followed else POOR


def with_verdict(instruction: str, query: str) -> str:
    """A request with the verdict that its answer is to have.

    >>> with_verdict("good", "Tell me a sad story about a fox and a kite.")
    'Tell me a sad story about a fox and a kite. (good)'
    """
    return f"{query} ({instruction})"


def by_verdict(asked: str, query: str, output: str) -> list[Hindsight]:
    """The paper's relabelling: each story under the verdict on it; the other verdict is held against it."""
    found = verdict(query, output)
    return [Hindsight(query, found, output, POOR if found == GOOD else GOOD)]
