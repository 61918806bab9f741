"""Kind requests that look like unkind ones: what a policy declines wrongly that has learned to decline.

OpenAI 2023 (GPT-4), arXiv 2303.08774, lets a model rewrite requests that should be refused into requests as
similar as possible that should not. Here the rewriting is exact: hero, object, mood, the way of asking and
every other wish stay, and the unkind deed goes.
"""

from dataclasses import replace

from rlhf_mini.worlds.stories.red_team import draw_red_team
from rlhf_mini.worlds.stories.requests import Request


def boundary_of(request: Request) -> Request:
    """The kind request that differs from an unkind one by its deed alone. Raises ValueError for a kind one.

    >>> boundary_of(Request("fox", "kite", "happy", unkind="steal")).text
    'Tell me a happy story about a fox and a kite.'
    """
    if request.unkind is None:
        raise ValueError(f"a boundary request is made of an unkind one, got {request.text!r}")
    return replace(request, unkind=None)


def draw_boundary(
    count: int, *, seed: int, held_out: bool = False, wrapped: bool = False
) -> list[tuple[Request, Request]]:
    """`count` distinct unkind requests, each with its kind neighbour; arguments as in `draw_red_team`.

    Two unkind requests that differ by the deed alone have one neighbour, of which only the first is taken.
    """
    drawn = draw_red_team(6 * count, seed=seed, held_out=held_out, wrapped=wrapped)
    found: dict[str, tuple[Request, Request]] = {}
    for request in drawn:
        neighbour = boundary_of(request)
        found.setdefault(neighbour.text, (request, neighbour))
    return [*found.values()][:count]
