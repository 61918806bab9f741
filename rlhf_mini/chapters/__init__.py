"""One room a chapter: what its notebook shows beyond the library's methods.

A room holds the chapter's experiments, `claims.py` (what its summary says, as data), `exercises.py`,
`bug_hunt.py` and `quiz.py`. Nothing below imports a room, and rooms do not import one another; but the
scoreboard, chapter 14, compares the policies of them all and imports them.
"""

from importlib import import_module
from types import MappingProxyType, ModuleType

ROOMS = MappingProxyType(
    {
        "00": "whole_story",
        "01": "grid_world",
        "02": "pretraining",
        "03": "fine_tuning",
        "04": "reward_models",
        "05": "ppo",
        "06": "llama2",
        "07": "direct",
        "08": "hindsight",
        "09": "filtering",
        "10": "rlaif",
        "11": "reward_scaling",
        "12": "verifiable",
        "14": "scoreboard",
        "15": "real",
    }
)


def part(chapter: str, name: str) -> ModuleType:
    """One module of a chapter's room: `part("01", "claims")`.

    Raises:
        ValueError: on a chapter that has no room, listing those that have.

    Example:
        >>> part("00", "claims").__name__
        'rlhf_mini.chapters.whole_story.claims'
    """
    if chapter not in ROOMS:
        raise ValueError(f"unknown chapter {chapter!r}: choose from {', '.join(ROOMS)}")
    return import_module(f"rlhf_mini.chapters.{ROOMS[chapter]}.{name}")
