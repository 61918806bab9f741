"""The story world: grammar, parser and gold reward; readers who ask, writers who show, judges who choose."""

from rlhf_mini.worlds.stories.annotators import (
    HELPFULNESS_PANEL,
    PANEL,
    RATINGS,
    SAFETY_PANEL,
    Annotator,
    agreement,
    annotate,
    judging,
    panel_preference,
)
from rlhf_mini.worlds.stories.demonstrators import CREW, Demonstrator, demonstrate, demonstrations
from rlhf_mini.worlds.stories.gold import BEST, Gold, gold, gold_scores
from rlhf_mini.worlds.stories.grammar import (
    Facts,
    count_stories,
    draw_document,
    draw_facts,
    entropy,
    is_held_out,
    title_of,
    vocabulary,
    write_story,
)
from rlhf_mini.worlds.stories.parser import Reading, read_story
from rlhf_mini.worlds.stories.requests import Request, draw_requests, read_request

__all__ = [
    "BEST",
    "CREW",
    "HELPFULNESS_PANEL",
    "PANEL",
    "RATINGS",
    "SAFETY_PANEL",
    "Annotator",
    "Demonstrator",
    "Facts",
    "Gold",
    "Reading",
    "Request",
    "agreement",
    "annotate",
    "count_stories",
    "demonstrate",
    "demonstrations",
    "draw_document",
    "draw_facts",
    "draw_requests",
    "entropy",
    "gold",
    "gold_scores",
    "is_held_out",
    "judging",
    "panel_preference",
    "read_request",
    "read_story",
    "title_of",
    "vocabulary",
    "write_story",
]
