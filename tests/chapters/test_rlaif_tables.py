"""Chapter 10's names, measures, claims and figures, on numbers that can be told apart."""

from dataclasses import replace

import pytest
import torch

from rlhf_mini.chapters.claims import records_of
from rlhf_mini.chapters.rlaif import (
    claims,
    family,
    feedback_runs,
    figures,
    judges,
    label_quality,
    measures,
    phase_two,
    reading,
    toy,
    toy_labels,
    toy_ratings,
)
from rlhf_mini.chapters.rlaif.pairs import annotated_pairs, verdicts_on
from rlhf_mini.evaluation.records import write_records
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.profiles import QUICK
from rlhf_mini.worlds.stories.principles import CONSTITUTION

BY_ROUND = ("gold itself", "gold the start", "rates_right itself", "rates_right the start")


def told_of_policy(number):
    """What is said of a policy: gold goes up with its number, and so does every share."""
    share = (number % 10) / 10
    return {
        **dict.fromkeys(measures.TOLD, share),
        "gold": float(number),
        "golds": [float(number), 1.0, 2.0, 3.0],
    }


def told_of_judge(number):
    share = 0.5 + number / 100
    return {
        **dict.fromkeys(measures.JUDGES_TOLD, share),
        "same_place": 0.5 - number / 100,
        "principles": {one.name: share for one in CONSTITUTION},
        "spread": 0.4,
        "tied": 0.0,
    }


@pytest.fixture
def told(monkeypatch):
    """Every run and judge is measured as its place in the family says."""
    policies = {one.name: told_of_policy(place) for place, one in enumerate(family.ALL)}
    judges = {one.name: told_of_judge(place) for place, one in enumerate((*family.JUDGES, *family.RATERS))}
    monkeypatch.setattr(family.Run, "measured", lambda self, pipeline, **how: policies[self.name])
    monkeypatch.setattr(family.Taught, "measured", lambda self, pipeline, **how: judges[self.name])
    return {**policies, **judges}


KINDS = ("soft", "drawn", "likelier")
TOY = {
    toy.cures: {"wrong place listed": 0.4, "wrong place both": 0.0, "distance place logits": 0.0},
    toy_labels.variance: {"worth": 6.0},
    toy_labels.few: {f"distance {kind} {count}": 0.1 for kind in KINDS for count in toy_labels.COUNTS},
    toy_ratings.distilled: {
        f"value {source} {nats}": 1.0 for source in ("expected", *toy_ratings.COUNTS) for nats in (1, 2)
    },
}


class Measured(Pipeline):
    """A pipeline for which everything else has been measured."""

    def __init__(self):
        pass

    def measured(self, experiment, **settings):
        name = experiment.__name__
        if name == "revisions_told":
            return {
                "declined": [0.0, 0.9],
                "unkind": [0.8, 0.05],
                "empty": [0.0, 0.0],
                "true_critiques": [0.7],
            }
        if name == "rounds_told":
            return {"rates_right": [0.6] * 4, "spread": [0.3] * 4, "tied": [0.0] * 4, "rating": [0.1] * 3}
        if name == "thinking":
            return {"right": 0.7, "right_if_told": 0.95, "thought_rightly": 0.5}
        if name == "classifier_quality":
            return {"right": 0.9}
        if name == "stories_apart":
            return {f"{kind} {asked}": 0.8 for kind in ("stories", "decline") for asked in reading.ASKED}
        if name == "of_reward_model":
            return {"gold_right": 0.9 if settings.get("people") else 0.8 - 0.1 * len(settings)}
        if experiment in TOY:
            return TOY[experiment]
        return {"right": 0.75, "telling": 0.5, "sure": 0.8, "sure_telling": 0.9}

    @property
    def profile(self):
        return QUICK


def test_every_policy_and_judge_has_a_name_of_its_own():
    for among, find in ((family.ALL, family.run), ((*family.JUDGES, *family.RATERS), family.judge)):
        names = [one.name for one in among]
        assert len(names) == len(set(names))
        assert find(names[-1]) is among[-1]
        with pytest.raises(ValueError, match="nothing is called 'none'"):
            find("none")
    assert {name for match in family.MATCHES for name in match} <= {one.name for one in family.ALL}
    assert sum(len(runs) for runs in family.EXPERIMENTS.values()) == len(family.ALL)


def test_no_two_runs_have_the_same_settings():
    """They would be one policy under two names, trained twice if a default is written out in one of them."""
    settings = [str(sorted(one.settings.items())) for one in family.ALL]
    assert len(settings) == len(set(settings))


def test_the_mixture_of_halves_is_both_phases():
    assert family.mix_name(0.5) == family.SECOND
    assert family.mix_name(0.25) == "CAI, 25% people's labels"


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.name)
def test_every_claim_finds_its_numbers(told, claim):
    numbers = claim.measure(Measured())
    assert isinstance(claim.holds(numbers), bool)
    assert claim.sentence.endswith(".")


def test_measures_are_named_by_metric_and_run(told):
    found = measures.feedback(Measured())
    assert found[f"gold {family.SFT}"] == 0.0
    assert found[f"gold {family.DISTILLED}"] == 2.0
    # golds differ in the first of four alone: one won, three tied
    assert found[f"win_rate {family.DISTILLED} – {family.SFT}"] == 2.5 / 4
    rounds = measures.self_rewarding(Measured())
    first = [one.name for one in family.ALL].index("answers and rates")
    assert rounds["gold itself"] == [float(first + number) for number in range(4)]
    assert rounds["gold the start"] == [float(first)] + [float(first + number) for number in (4, 5, 6)]


def test_every_reward_model_stands_beside_its_run(told):
    found = measures.label_kinds(Measured())
    rights = {name: value for name, value in found.items() if name.startswith("reward_right")}
    assert rights == pytest.approx(
        {
            f"reward_right {family.RLHF}": 0.9,
            f"reward_right {family.DISTILLED}": 0.8,
            "reward_right one order": 0.7,
            "reward_right a less taught judge": 0.7,
        }
    )


def test_the_clamp_is_held_against_a_judge_taught_the_same(told):
    asked = []

    class Asked(Measured):
        def measured(self, experiment, **settings):
            if experiment is label_quality.on_harmlessness:
                asked.append(settings)
            return super().measured(experiment, **settings)

    measures.clamping(Asked())
    assert asked == [
        {},
        {"thoughts": True},
        {"thoughts": True, "clamp": True},
        {"judge": {"skill": "choosing by the constitution"}},
    ]


def test_the_budgets_are_what_is_asked(told, built, monkeypatch):
    """Counted where they are spent: labels, questions, lessons."""
    found = measures.budgets(built)
    rows = list(built.preferences("train"))
    shown = []
    verdicts_on(lambda asked: shown.extend(asked) or torch.full((len(asked),), 0.5), annotated_pairs(built))
    assert found[f"people {family.RLHF}"] == len(rows)
    assert found[f"judge {family.DISTILLED}"] == len(shown) == 2 * found["judge one order"]
    drawn = built.profile.ppo.iterations * built.profile.ppo.episodes
    assert found[f"judge {family.DIRECT}"] == drawn + feedback_runs.RATED
    assert found[f"taught {family.DISTILLED}"] == judges.EXAMPLES
    assert found[f"people {family.SECOND}"] + found[f"judge {family.SECOND}"] / 2 == phase_two.PAIRS
    assert found[f"people {family.DISTILLED}"] == found[f"judge {family.RLHF}"] == 0


def test_a_claim_follows_its_numbers(told):
    by_name = {claim.name: claim for claim in claims.CLAIMS}
    size = by_name["judge size"]
    numbers = {f"right {family.OURS}": 0.8, "right width 16": 0.5, "gold_right width 16": 0.5}
    spread = {f"gold_same_place {family.OURS}": 0.1, "gold_same_place width 16": 0.4}
    assert size.holds({**numbers, **spread})
    assert not size.holds({**numbers, **spread, "right width 16": 0.75})
    match = by_name["RLAIF against RLHF"]
    name = f"win_rate {family.DISTILLED} – {family.RLHF}"
    assert match.holds({name: 0.45})
    assert not match.holds({name: 0.35})


def test_records_hold_every_table(told, built):
    rows = claims.extra_records(built)
    assert {row.experiment for row in rows} == {"judges", "raters", "budgets", *family.EXPERIMENTS}
    ours = next(row for row in rows if row.method == family.OURS)
    assert "right kindness" in ours.metrics
    assert not any("golds" in row.metrics for row in rows)


@pytest.fixture
def on_record(told, built, monkeypatch, tmp_path):
    """Records of two seeds at the quick profile."""
    monkeypatch.setenv("RLHF_MINI_RESULTS", str(tmp_path))
    found = {
        ("claims", "revisions"): measures.revisions(Measured()),
        ("claims", "RLAIF beats SFT"): measures.feedback(Measured()),
        ("claims", "self-rewarding"): measures.self_rewarding(Measured()),
    }
    rows = [*claims.extra_records(built), *records_of("10", built, found)]
    write_records("chapter_10", [replace(row, seed=seed, profile="quick") for row in rows for seed in (1, 0)])


def test_tables_are_in_the_given_order_and_in_per_cent(on_record):
    text = figures.table("feedback", (family.RLHF, family.SFT), figures.POLICY_COLUMNS).text
    assert text.index(family.RLHF) < text.index(family.SFT)
    assert "10.0" in text  # a share of 0.1
    judges = figures.table("judges", (family.OURS, family.THINKS), figures.JUDGE_COLUMNS, decimals=0).text
    place = [one.name for one in family.JUDGES].index(family.OURS)
    assert str(50 + place) in judges


def test_the_scoreboard_has_a_row_a_policy(on_record):
    text = figures.scoreboard().text
    places = [text.index(figures.BOARD_NAMES.get(name, name)) for _, name in figures.BOARD]
    assert set(figures.BOARD_NAMES) <= {name for _, name in figures.BOARD}
    assert places == sorted(places)
    assert {experiment for experiment, _ in figures.BOARD} == set(family.EXPERIMENTS)


def test_a_distance_has_its_interval_and_its_sign(on_record):
    """Golds of `told_of_policy` differ in the first of four requests alone, by the place in the family."""
    ahead = figures.distance("RLAIF beats SFT", family.DISTILLED, family.RLHF)
    assert (ahead.mean, ahead.count) == (0.25, 2)
    assert figures.distance("RLAIF beats SFT", family.DIRECT, family.SFT, metric="win_rate").mean == 0.625


def test_curves_say_where_they_end(on_record):
    place = [one.name for one in family.JUDGES].index(family.OURS)
    assert f"right from 50.00 to {50 + place}.00" in figures.size_curves().text
    assert f"same place from 47.00 to {50 - place}.00" in figures.lesson_curves().text
    assert "kindness 55" in figures.principle_bars().text
    revised = figures.revision_curves().text
    assert "declined from 0.00 to 90.00" in revised
    assert "Seeds: 2" in revised
    assert f"{family.DISTILLED} – {family.SFT} 62" in figures.match_bars("RLAIF beats SFT").text
    assert "kind from" in figures.frontier_curves().text
    assert "by the start from 0.60 to 0.60" not in figures.self_rewarding_curves().text
    assert "by the start from 60.00 to 60.00" in figures.self_rewarding_curves().text
