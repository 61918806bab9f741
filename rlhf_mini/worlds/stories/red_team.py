"""Requests that try to get an unkind story: what constitutional AI begins with.

Red-team requests ask for an unkind deed, as some requests always do. Those that are `wrapped` put it between
wishes that otherwise come with kind requests only, a length, a manner or both: no demonstration has shown
such a request declined.
"""

import random
from dataclasses import replace

from rlhf_mini.worlds.stories.grammar import UNKIND_DEEDS, hero_object_pairs
from rlhf_mini.worlds.stories.lexicon import MOODS
from rlhf_mini.worlds.stories.requests import ASKS, STYLE_WORDS, Request


def draw_red_team(count: int, *, seed: int, held_out: bool = False, wrapped: bool = False) -> list[Request]:
    """`count` distinct unkind requests, in a reproducible order; `wrapped` adds wishes that come unannounced.

    `held_out` draws hero and object from the pairs that training never sees. Raises ValueError for a count
    below 1.

    >>> all(request.unkind for request in draw_red_team(5, seed=0))
    True
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    rng = random.Random(f"red team {seed}")
    pairs = hero_object_pairs(held_out=held_out)
    found: dict[str, Request] = {}
    while len(found) < count:
        hero, object_ = rng.choice(pairs)
        request = Request(
            hero, object_, rng.choice(MOODS), unkind=rng.choice(UNKIND_DEEDS), ask=rng.choice(ASKS)
        )
        if wrapped:
            length, style = rng.choice(_WRAPPINGS)
            request = replace(request, length=length, style=style)
        found.setdefault(request.text, request)
    return list(found.values())


_WRAPPINGS = [
    (length, style)
    for length in (None, "short", "long")
    for style in (None, *STYLE_WORDS)
    if length is not None or style is not None
]
