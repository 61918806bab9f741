"""What the grid costs, before it is paid: the pieces that every cell needs, each counted once, and their seconds.

The seconds are those of one core at the quick profile and grow with the work, so that on another machine they are wrong by a
factor, the same for all. They are for planning and stand in no record.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rlhf_mini.chapters.kept import is_kept
from rlhf_mini.chapters.reward_scaling import drawing, optimisation, outcomes, pools, proxies
from rlhf_mini.chapters.reward_scaling.plan import Cell
from rlhf_mini.chapters.reward_scaling.sizes import sized
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.profiles import QUICK, Profile

# Seconds on one core for a model of the quick profile's size: a base model with its fine-tuning, a labelled pair in
# training, an answer drawn with its gold, an answer scored, an answer in PPO from drawing to updates.
START, PAIR, ANSWER, SCORE, EPISODE = 250.0, 0.011, 0.0055, 0.0019, 0.016
LEAST = 0.15  # what the smallest model takes of that


@dataclass(frozen=True)
class Piece:
    """Something kept that a cell needs: what makes it, with which settings, in how many seconds.

    `make` is None for a language model of another size, whose stage `sft` the pipeline keeps itself.
    """

    make: Callable[..., Any] | None
    settings: Mapping[str, Any]
    seconds: float

    @property
    def name(self) -> str:
        """The same for the same piece, whichever cell needs it."""
        made_by = "sft" if self.make is None else self.make.__qualname__
        return f"{made_by} {json.dumps(self.settings, sort_keys=True)}"

    def is_there(self, pipeline: Pipeline) -> bool:
        """Whether the pipeline has it."""
        if self.make is None:
            return sized(pipeline, self.settings).is_built("sft")
        return is_kept(pipeline, self.make, **self.settings)


def scale(profile: Profile, size: Mapping[str, int] | None) -> float:
    """What a model of this size takes, the quick profile's taking 1: with the weights of its layers, from `LEAST` on.

    >>> scale(QUICK, None)
    1.0
    """
    width, layers = (size or {}).get("width", profile.width), (size or {}).get("layers", profile.layers)
    return LEAST + (1 - LEAST) * (width / QUICK.width) ** 2 * layers / QUICK.layers


def pieces(profile: Profile, cell: Cell) -> list[Piece]:
    """All that a cell needs, in the order in which it is made.

    Raises ValueError for a cell that is measured by something unknown.
    """
    told = cell.settings
    if cell.measure is outcomes.proxy:
        return _proxy(profile, told)
    if cell.measure is outcomes.best_of_n:
        return [*_pool(profile, told["pool"]), *_scores(profile, told["pool"], told["proxies"])]
    if cell.measure is outcomes.ppo:
        needed = [*told["proxies"], *told.get("validators", ())]
        trained = [piece for one in needed for piece in _proxy(profile, one)]
        seconds = _ppo_seconds(profile, told["ppo"], told.get("size"), _sizes(told["proxies"]))
        return [*_start(profile, told.get("size")), *trained, Piece(optimisation.run, told, seconds)]
    if cell.measure is outcomes.iterated:
        seconds = _ppo_seconds(profile, told["ppo"], told.get("size"), [None])
        passes = (
            sum(range(1, told["rounds"] + 1)) / told["rounds"]
        )  # each proxy learns from all labels so far
        seconds += passes * told["labels"] * PAIR * scale(profile, None) + told["labels"] * 2 * ANSWER
        return [Piece(optimisation.iterated, told, seconds)]
    raise ValueError(f"nothing is known of what {cell.name!r} costs: {cell.measure}")


def _start(profile: Profile, size: Mapping[str, int] | None) -> list[Piece]:
    return [Piece(None, dict(size), START * scale(profile, size))] if size else []


def _proxy(profile: Profile, settings: Mapping[str, Any]) -> list[Piece]:
    if "orders" in settings:
        alike = {name: value for name, value in settings.items() if name != "orders"}
        members = [_proxy(profile, {**alike, "order": order}) for order in settings["orders"]]
        return [*(piece for member in members for piece in member), Piece(proxies.averaged, settings, 2.0)]
    config = proxies.config_for(profile.reward_model, settings["labels"])
    seconds = settings["labels"] * config.epochs * PAIR * scale(profile, settings.get("size")) + 2.0
    return [*_start(profile, settings.get("size")), Piece(proxies.trained, settings, seconds)]


def _pool(profile: Profile, pool: Mapping[str, Any]) -> list[Piece]:
    seconds = pool["prompts"] * pool["samples"] * ANSWER * scale(profile, pool.get("size"))
    return [*_start(profile, pool.get("size")), Piece(drawing.drawn, pool, seconds)]


def _scores(profile: Profile, pool: Mapping[str, Any], asked: Iterable[Mapping[str, Any]]) -> list[Piece]:
    found = []
    for settings in asked:
        seconds = pool["prompts"] * pool["samples"] * SCORE * scale(profile, settings.get("size"))
        by = {"pool": pool, "proxy_settings": settings}
        found += [*_proxy(profile, settings), Piece(pools.scored, by, seconds)]
    return found


def _sizes(settings: Iterable[Mapping[str, Any]]) -> list[Mapping[str, int] | None]:
    return [one.get("size") for one in settings]


def _ppo_seconds(
    profile: Profile,
    ppo: Mapping[str, Any],
    size: Mapping[str, int] | None,
    members: list[Mapping[str, int] | None],
) -> float:
    """The policy takes two thirds of a usual run, the value model a third; every further member its scores."""
    episodes = ppo["iterations"] * profile.ppo.episodes
    used = (2 * scale(profile, size) + scale(profile, members[0])) / 3
    return episodes * (EPISODE * used + SCORE * sum(scale(profile, member) for member in members[1:]))


def still_to_pay(pipeline: Pipeline, cell: Cell, paid: set[str]) -> float:
    """Seconds of a cell's pieces that are neither kept nor, by their names, in `paid`, to which they are added."""
    total = 0.0
    for piece in pieces(pipeline.profile, cell):
        if piece.name not in paid and not piece.is_there(pipeline):
            total += piece.seconds
        paid.add(piece.name)
    return total
