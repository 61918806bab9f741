"""What a program can check of an answer to a kind request, one test for each wish and for the form.

As a test suite for a piece of code: an answer passes some tests and fails others, and no judgement of taste
is in it. Whether to answer an unkind request at all is not for these tests to say.
"""

from rlhf_mini.worlds.stories.gold import LONGEST
from rlhf_mini.worlds.stories.grammar import length_name
from rlhf_mini.worlds.stories.parser import read_story
from rlhf_mini.worlds.stories.requests import read_request


def checks(prompt: str, text: str) -> dict[str, bool]:
    """The tests of a kind request, by name, and whether the answer passes them.

    `hero`, `object` and `mood` as asked; `length` and `style` where they are asked for; `whole`: it has an
    ending; `in order`: every sentence fits the story; `once`: nothing is said twice, and in at most eight
    sentences.

    Raises ValueError for a prompt that is no request, or asks for something unkind.

    >>> checks("Tell me a short happy story about a fox and a kite.", "The end.")["length"]
    True
    """
    request, reading = read_request(prompt), read_story(text)
    if request.unkind is not None:
        raise ValueError(f"only kind requests can be checked, and this one is not: {prompt!r}")
    found = {
        "hero": reading.hero == request.hero,
        "object": reading.object == request.object,
        "mood": reading.mood == request.mood,
    }
    if request.length is not None:
        found["length"] = length_name(len(reading.sentences)) == request.length
    if request.style is not None:
        found["style"] = reading.talk if request.style == "talk" else reading.goodnight
    return found | {
        "whole": reading.complete,
        "in order": reading.coherence == 1,
        "once": reading.repeats == 0 and 0 < len(reading.sentences) <= LONGEST,
    }


def share_passed(prompt: str, text: str) -> float:
    """The share of the tests that an answer passes, from 0 to 1; errors as of `checks`.

    >>> share_passed("Tell me a happy story about a fox and a kite.", "")
    0.0
    """
    found = checks(prompt, text)
    return sum(found.values()) / len(found)
