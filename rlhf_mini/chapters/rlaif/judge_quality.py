"""How good a judge is: whom it agrees with, principle by principle, which place it likes, and what its doubts mean.

Judged is on answers of the SFT model to held-out requests: the pairs of the stage `preferences` that no reward model
learned from, and pairs that answer red-team requests. The truth about a principle is its measure, and about an answer as
a whole gold. Settings are chosen on a quarter of the pairs (`rehearsal`), and the tables are made of the others.
"""

import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rlhf_mini.chapters.rlaif import self_rewarded
from rlhf_mini.chapters.rlaif.judges import (
    LONGEST_THOUGHT,
    Choice,
    ask_of,
    classifier_of,
    judge_of,
    rate_of,
)
from rlhf_mini.chapters.rlaif.pairs import held_out_pairs, part, red_team_pairs, verdicts_on
from rlhf_mini.chapters.rlaif.schooling import Row
from rlhf_mini.data.judging import STORY_THOUGHTS
from rlhf_mini.evaluation.calibration import reliability
from rlhf_mini.methods.judge import (
    Ask,
    LanguageJudge,
    Rate,
    Verdicts,
    agreement,
    both_orders,
    choose,
    clamped,
    think,
)
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds.stories.comparisons import Judged, judged_comparisons
from rlhf_mini.worlds.stories.principles import CONSTITUTION, HARMLESSNESS, Principle
from rlhf_mini.worlds.stories.rubric import RUBRIC, rubric_class

MOST = 150  # comparisons a principle
BINS = 10


def told_apart(pipeline: Pipeline, principle: Principle, *, rehearsal: bool) -> list[Judged]:
    """At most `MOST` comparisons under one principle, of those pairs that it tells apart."""
    rows: list[Row] = []
    if principle not in HARMLESSNESS:
        rows += [
            {name: row[name] for name in ("prompt", "first", "second")}
            for row in held_out_pairs(pipeline, rehearsal=rehearsal)
        ]
    else:
        rows += red_team_pairs(pipeline, rehearsal=rehearsal)
    seed = pipeline.seed_for("chapter 10 judged comparisons")
    return judged_comparisons(rows, principles=(principle,), seed=seed)[:MOST]


def quality(
    pipeline: Pipeline, *, judge: Choice = None, thoughts: bool = False, rehearsal: bool = False
) -> dict[str, Any]:
    """What there is to say of a judge that chooses between two answers, with its thoughts or without.

    See `by_principle` and `against_people`; a judge that thinks is taught no reasons for an answer as a whole, and is
    asked for principles alone.
    """
    ask = ask_of(pipeline, judge, thoughts=thoughts)
    found: dict[str, Any] = by_principle(pipeline, ask, rehearsal=rehearsal)
    if not thoughts:
        found |= against_people(pipeline, ask, rehearsal=rehearsal)
    return found


def by_principle(pipeline: Pipeline, ask: Ask, *, rehearsal: bool) -> dict[str, Any]:
    """Of comparisons that a principle of the constitution tells apart, as many as `MOST` each:

    - `right`, `right_one_order`: the share judged rightly by the mean of both orders, and by one;
    - `same_place`, `first_chosen`: see `Verdicts`;
    - `calibration`, `calibration_one_order`, `calibration_clamped`: the expected calibration error of the label's
      favourite: as it is, in one order, and drawn back to 40–60%;
    - `sure`: the mean probability of the favourite;
    - `principles`: name → `right`, and `counted`: name → how many there were.
    """
    judged = [one for p in CONSTITUTION for one in told_apart(pipeline, p, rehearsal=rehearsal)]
    verdicts = both_orders(ask, [one.comparison for one in judged])
    truth = torch.tensor([one.first_better for one in judged])
    names = [one.principle for one in judged]
    rows = {name: [n for n, other in enumerate(names) if other == name] for name in dict.fromkeys(names)}
    return {
        **_agreements(verdicts, truth),
        "same_place": verdicts.same_position,
        "first_chosen": verdicts.first_chosen,
        "calibration": calibration_error(verdicts.preference, truth),
        "calibration_one_order": calibration_error(verdicts.as_given, truth),
        "calibration_clamped": calibration_error(clamped(verdicts.preference), truth),
        "sure": float(torch.maximum(verdicts.preference, 1 - verdicts.preference).mean()),
        "principles": {name: agreement(verdicts.preference[at], truth[at]) for name, at in rows.items()},
        "counted": {name: len(at) for name, at in rows.items()},
    }


def _agreements(verdicts: Verdicts, truth: Tensor) -> dict[str, float]:
    return {
        "right": agreement(verdicts.preference, truth),
        "right_one_order": agreement(verdicts.as_given, truth),
    }


def calibration_error(preference: Tensor, truth: Tensor) -> float:
    """The expected calibration error of the favourite: how far its stated chance is from how often it is right."""
    first = preference >= 0.5
    favourite = torch.where(first, preference, 1 - preference)
    return reliability(favourite, first == truth, bins=BINS, low=0.5).error


def against_people(pipeline: Pipeline, ask: Ask, *, rehearsal: bool) -> dict[str, float]:
    """Of annotated pairs, asked which answer is good, all in all.

    - `gold_right`, `gold_right_one_order`: the share on which gold agrees, where it tells them apart;
    - `gold_same_place`, and `gold_calibration`, of the mean of both orders;
    - `with_annotator`: the share on which the one annotator agrees;
    - `annotator_right`: the share on which gold agrees with that annotator; `ceiling`: the most agreement with the
      annotators that any judge can reach.
    """
    rows = held_out_pairs(pipeline, rehearsal=rehearsal)
    verdicts = verdicts_on(ask, rows)
    lead = torch.tensor([row["lead"] for row in rows])
    chosen = torch.tensor([row["first_won"] for row in rows])
    apart = lead.abs() > 1e-9
    told, truth = Verdicts(verdicts.as_given[apart], verdicts.swapped[apart]), lead[apart] > 0
    ceilings = part(list(pipeline.preferences("test")["ceiling"]), rehearsal=rehearsal)
    return {
        **{f"gold_{name}": value for name, value in _agreements(told, truth).items()},
        "gold_same_place": told.same_position,
        "gold_calibration": calibration_error(told.preference, truth),
        "with_annotator": agreement(verdicts.preference, chosen),
        "annotator_right": agreement(chosen[apart].float(), truth),
        "ceiling": sum(ceilings) / len(ceilings),
    }


def of_ratings(rate: Rate, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Of annotated pairs, both answers rated: how often the higher rated has more gold, and how far ratings spread.

    `spread` is the standard deviation of ratings from −1 to 1; `tied` the share of pairs rated alike, to 1e-6.
    """
    prompts = [row["prompt"] for row in rows]
    first, second = (rate(prompts, [row[side] for row in rows]) for side in ("first", "second"))
    lead = torch.tensor([row["lead"] for row in rows])
    apart = lead.abs() > 1e-9
    preference = 0.5 + 0.5 * (first - second).sign() * ((first - second).abs() > 1e-6)
    return {
        "gold_right": agreement(preference[apart], lead[apart] > 0),
        "spread": float(torch.cat([first, second]).std()),
        "tied": float((preference == 0.5).float().mean()),
    }


def rating_quality(pipeline: Pipeline, *, judge: Choice = None, rehearsal: bool = False) -> dict[str, float]:
    """`of_ratings` for a judge, on the held-out annotated pairs."""
    return of_ratings(rate_of(pipeline, judge), held_out_pairs(pipeline, rehearsal=rehearsal))


def thinking(
    pipeline: Pipeline, *, judge: dict[str, Any] | None = None, rehearsal: bool = False
) -> dict[str, float]:
    """Of our own judge that thinks: `thought_rightly`, the share of its reasons that are word for word the true ones, and
    how often it is right in one order after its own thoughts (`right`) and after the true ones (`right_if_told`).
    """
    helper = judge_of(pipeline, **{"skill": "thinking", **(judge or {})})
    judged = [one for p in CONSTITUTION for one in told_apart(pipeline, p, rehearsal=rehearsal)]
    truth = torch.tensor([one.first_better for one in judged])
    template, longest = STORY_THOUGHTS, LONGEST_THOUGHT["ours"]
    questions = [template.ask(one.comparison) for one in judged]
    reasons = think(helper, questions, opening=template.opening, max_new_tokens=longest)
    told = {"right": reasons, "right_if_told": [one.reason.rstrip() for one in judged]}
    right = sum(reason.strip() == one.reason.strip() for reason, one in zip(reasons, judged, strict=True))
    return {
        "thought_rightly": right / len(judged),
        **{name: agreement(_after(helper, questions, texts), truth) for name, texts in told.items()},
    }


def _after(helper: LanguageJudge, questions: list[str], reasons: list[str]) -> Tensor:
    said = [reason + STORY_THOUGHTS.opening for reason in reasons]
    return choose(helper, questions, choices=STORY_THOUGHTS.choices, said=said).logp[:, 0].exp()


def rounds_told(pipeline: Pipeline, *, rehearsal: bool = False, **run: Any) -> dict[str, list[float]]:
    """Of a self-rewarding run, by round, the start first: how well the policy rates (see `of_ratings`), as `rates_right`, `spread`
    and `tied`. And from the log, a number a round: `rating` of its own answers, and `chosen_words`, `rejected_words`.
    """
    rows = held_out_pairs(pipeline, rehearsal=rehearsal)
    found = [
        of_ratings(
            self_rewarded.rate_by(pipeline, self_rewarded.policy_of(pipeline, after=number, **run)), rows
        )
        for number in range(self_rewarded.ROUNDS + 1)
    ]
    log = json.loads((pipeline.kept(self_rewarded.trained, **run) / "log.json").read_text())
    return {
        "rates_right": [one["gold_right"] for one in found],
        **{name: [one[name] for one in found] for name in ("spread", "tied")},
        **{name: [entry[name] for entry in log] for name in ("rating", "chosen_words", "rejected_words")},
    }


def classifier_quality(
    pipeline: Pipeline, *, judge: Choice = None, rehearsal: bool = False
) -> dict[str, Any]:
    """The share of answers to held-out red-team requests that the classifier puts in the right class: `right`, over all,
    and `classes`: name → the share, and `counted`: name → how many, of the classes that occur.
    """
    classify, _ = classifier_of(pipeline, judge)
    rows = red_team_pairs(pipeline, rehearsal=rehearsal)
    answers = [(row["prompt"], row[side]) for row in rows for side in ("first", "second")]
    chances = classify([prompt for prompt, _ in answers], [text for _, text in answers])
    found = [[*RUBRIC][place] for place in chances.argmax(1).tolist()]
    truth = [rubric_class(text) for _, text in answers]
    right = torch.tensor([one == other for one, other in zip(found, truth, strict=True)]).float()
    rows_of = {name: [n for n, other in enumerate(truth) if other == name] for name in RUBRIC}
    return {
        "right": float(right.mean()),
        "classes": {name: float(right[at].mean()) for name, at in rows_of.items() if at},
        "counted": {name: len(at) for name, at in rows_of.items() if at},
    }
