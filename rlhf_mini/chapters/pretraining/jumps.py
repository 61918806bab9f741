"""How copying comes: in jumps, each at other places of the stories."""

from typing import Any

from rlhf_mini.chapters.pretraining.copying import (
    WATCHED,
    at_the_hero,
    draw_places,
    phase_change,
    watched_model,
)
from rlhf_mini.pipeline import Pipeline

SURE, GUESSED = 0.8, 0.2


def places(pipeline: Pipeline) -> dict[str, float]:
    """At which share of the places the trained model is sure of the title's hero, and at which it guesses.

    Sure is a probability above `SURE`, a guess one below `GUESSED`.
    """
    model, drawn = watched_model(pipeline), draw_places(pipeline, WATCHED, titled=True)
    drawn = drawn.to(model.device)
    right = drawn.tokens[drawn.response]
    own = at_the_hero(model, drawn).gather(1, right[:, None]).squeeze(1).exp()
    return {
        "sure_places": float((own > SURE).float().mean()),
        "guessed_places": float((own < GUESSED).float().mean()),
    }


def jumps(pipeline: Pipeline) -> dict[str, Any]:
    """`phase_change`, the step at which the mean probability first is a half, and the places at the end.

    `half_share` is the part of the training from the last look below a tenth to the first at a half; a model
    that never gets there has a `half_at` of twice the steps.
    """
    change = phase_change(pipeline)
    reached = (s for s, p in zip(change["steps"], change["copied"], strict=True) if p >= 0.5)
    half = min(reached, default=2 * change["steps"][-1])
    return {
        **change,
        "half_at": half,
        "half_share": (half - change["rise_from"]) / change["steps"][-1],
        **pipeline.measured(places),
    }
