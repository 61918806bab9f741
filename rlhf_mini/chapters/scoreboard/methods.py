"""What a row of the board is made of: a method's points, and how points come from the other chapters' families of runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rlhf_mini.chapters.direct import family as direct
from rlhf_mini.chapters.direct.runs import KINDS as DIRECT_KINDS
from rlhf_mini.chapters.filtering import family as filtering
from rlhf_mini.chapters.filtering.training import trained as filtered
from rlhf_mini.chapters.hindsight import family as hindsight
from rlhf_mini.chapters.hindsight import story_runs
from rlhf_mini.chapters.llama2 import rounds as llama2
from rlhf_mini.chapters.rlaif import family as rlaif
from rlhf_mini.chapters.rlaif import self_rewarded
from rlhf_mini.chapters.rlaif.outcomes import KINDS as RLAIF_KINDS
from rlhf_mini.chapters.scoreboard import counts, runs
from rlhf_mini.chapters.scoreboard.policies import Cooled, Kept, Policy, Weights
from rlhf_mini.evaluation.intervals import Number

GROUP_RATE, KL_WEIGHT = 1e-3, 0.05
PAIRS = direct.PAIRS
COLD = 0.5  # the temperature of the table of colder answers


@dataclass(frozen=True)
class Point:
    """One policy of a method: its label (the dial's value, or the budget), where it comes from, and its own counts."""

    label: str
    policy: Policy
    own: counts.Count = counts.nothing


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One method.

    - `main`: the row of the board; `dials`: other values of `dial`, its main hyperparameter; `budgets`: the same with less.
    - `before`: the work that must be done before, from the SFT model on.
    - `trained`, `frozen`: how many models training holds, with optimizer and without.
    """

    name: str
    family: str
    chapter: str
    main: Point
    dial: str = ""
    dials: tuple[Point, ...] = ()
    budgets: tuple[Point, ...] = ()
    before: counts.Count = counts.nothing
    trained: int = 1
    frozen: int = 0

    def points(self) -> Mapping[str, tuple[Point, ...]]:
        """All points by experiment; what is trained is also asked at a lower temperature."""
        policy = self.main.policy
        cold = (
            (Point(f"{COLD:g}", Cooled(policy, COLD), self.main.own),) if isinstance(policy, Weights) else ()
        )
        return {"methods": (self.main,), "colder": cold, "dials": self.dials, "budgets": self.budgets}


def by_filter(name: str, label: str = "", own: counts.Count = counts.by_rest, **changes: Any) -> Point:
    """A run of chapter 09 by its name there, with some of its settings changed."""
    return Point(label, Kept(filtered, {**filtering.run(name).settings, **changes}), own)


def by_direct(name: str, label: str = "", own: counts.Count | None = None, **numbers: Number) -> Point:
    """A run of chapter 07 by its name there, with some numbers of its loss changed."""
    settings = dict(direct.run(name).settings)
    kind = settings.pop("kind", "direct")
    if numbers:
        settings["numbers"] = {**settings["numbers"], **numbers}
    count = counts.by_pairs(settings.get("count", 8000), both=settings.get("method") == "KTO")
    return Point(label, Kept(DIRECT_KINDS[kind], settings), own or count)


def by_rlaif(name: str, own: counts.Count, label: str = "") -> Point:
    """A run of chapter 10 by its name there."""
    settings = dict(rlaif.run(name).settings)
    return Point(label, Kept(RLAIF_KINDS[settings.pop("kind")], settings), own)


def by_itself(after: int, label: str = "") -> Point:
    """Self-rewarding after a round."""
    kept = Kept(self_rewarded.trained, {"judge": "itself"}, f"round {after}")
    return Point(label, kept, counts.self_rewarding(after))


def on_stories(name: str, label: str = "", after: int = story_runs.ROUNDS) -> Point:
    """A run of chapter 08 on stories by its name there, after a round."""
    settings = hindsight.run(name).settings
    own = counts.by_hindsight(after, epochs=settings.get("epochs", 1))
    return Point(label, Kept(story_runs.trained, settings, f"round {after}"), own)


def in_rounds(make: Callable[[int, str], Point], last: int) -> tuple[Point, ...]:
    """A point for every round but the last."""
    return tuple(make(number, f"{number} of {last} rounds") for number in range(1, last))


def by_llama(after: int, label: str = "", memory: str = "all") -> Point:
    """Llama 2's rejection sampling after a round."""
    kept = Kept(llama2.campaign, {"choose": "best", "memory": memory}, f"v{after}")
    return Point(label, kept, counts.in_rounds(after))


def by_ppo(label: str, share: Number = 1, **changes: Any) -> Point:
    """PPO with other settings, or with a share of the profile's iterations."""
    settings = {**changes, **({"share": share} if share != 1 else {})}
    return Point(label, Kept(runs.by_ppo, settings, runs.saved_after(4)), counts.by_ppo(share))


def by_group(method: str, label: str = "", *, kl_weight: float = KL_WEIGHT, quarter: int = 4) -> Point:
    """A critic-free method after a quarter of its iterations."""
    settings = {"method": method, "kl_weight": kl_weight, "rate": GROUP_RATE}
    return Point(
        label, Kept(runs.by_groups, settings, runs.saved_after(quarter)), counts.by_groups(quarter / 4)
    )


def critic_free(method: str) -> Entry:
    """A method of chapter 12 on stories, with its way there and two other prices of KL if it has a place for one."""
    pays = method != "Dr. GRPO"  # which has no place for KL
    quarters = ((1, "a quarter"), (2, "a half"), (3, "three quarters"))
    usual = KL_WEIGHT if pays else 0.0
    return Entry(
        name=method,
        family="policy gradient",
        chapter="12",
        main=by_group(method, kl_weight=usual),
        dial="β" if pays else "",
        dials=tuple(by_group(method, f"{weight:g}", kl_weight=weight) for weight in (0.01, 0.2) if pays),
        budgets=tuple(by_group(method, f"{name}", kl_weight=usual, quarter=q) for q, name in quarters),
        before=counts.reward_model,
        frozen=2,
    )


def offline(name: str, dial: str = "", *dials: Point, **more: Any) -> Entry:
    """A method of chapter 07 on the chapter's pairs."""
    return Entry(
        name=name,
        family="preference loss",
        chapter="07",
        main=by_direct(name),
        dial=dial,
        dials=dials,
        before=counts.pairs(PAIRS),
        frozen=1,
        **more,
    )
