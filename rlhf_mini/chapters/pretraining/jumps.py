"""How copying comes: late, in jumps, and each time after other words."""

from collections import defaultdict
from typing import Any

from rlhf_mini.chapters.pretraining.copying import at_the_hero, draw_places, seen, watched_model
from rlhf_mini.pipeline import Pipeline

PLACES = 400
SURE, GUESSED = 0.8, 0.2
JUMP = 0.05  # of the training


def places(pipeline: Pipeline) -> dict[str, Any]:
    """Where the trained model is sure of the title's hero (p > `SURE`), and where it guesses (p < `GUESSED`).

    Gives the shares of both kinds of places, and the last tokens before the hero after which the mean
    probability is of either kind, as one text each; tokens met only once are left out.
    """
    model, drawn = watched_model(pipeline), draw_places(pipeline, PLACES, titled=True)
    drawn = drawn.to(model.device)
    right = drawn.tokens[drawn.response]
    own = at_the_hero(model, drawn).gather(1, right[:, None]).squeeze(1).exp()
    after: dict[int, list[float]] = defaultdict(list)
    for row, length, p in zip(drawn.tokens.tolist(), drawn.lengths.tolist(), own.tolist(), strict=True):
        after[row[length - 2]].append(p)
    means = {token: sum(ps) / len(ps) for token, ps in after.items() if len(ps) > 1}
    decode = pipeline.tokenizer().decode

    def named(low: float, high: float) -> str:
        return " ".join(sorted(decode(token).strip() for token, mean in means.items() if low < mean < high))

    return {
        "sure_places": float((own > SURE).float().mean()),
        "guessed_places": float((own < GUESSED).float().mean()),
        "sure_after": named(SURE, 1.0),
        "guessed_after": named(0.0, GUESSED),
    }


def jumps(pipeline: Pipeline) -> dict[str, Any]:
    """The curve of copying over training, its start, its largest jump, and the `places` at its end.

    `rise_from` is the last look at which the mean probability is below a tenth, in steps; `largest_jump` the
    most that it gains within `JUMP` of the training, as a share of where it ends.
    """
    log = seen(pipeline)
    steps, copied = [look["step"] for look in log], [look["probability"] for look in log]
    gains = [
        after - before
        for s, before in zip(steps, copied, strict=True)
        for t, after in zip(steps, copied, strict=True)
        if 0 < t - s <= JUMP * steps[-1]
    ]
    return {
        "rise_from": max((s for s, p in zip(steps, copied, strict=True) if p < 0.1), default=1.0),
        "largest_jump": max(gains) / copied[-1],
        "copied_at_end": copied[-1],
        "control_at_end": log[-1]["control"],
        "steps": steps,
        "copied": copied,
        "control": [look["control"] for look in log],
        "nats_per_document": [look["nats_per_document"] for look in log],
        **pipeline.measured(places),
    }
