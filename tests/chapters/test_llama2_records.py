"""Chapter 06's records, measured whole on the miniature pipeline, and the figures that read them."""

import random

import pytest
import torch

from rlhf_mini.chapters.claims import measure
from rlhf_mini.chapters.llama2 import (
    attention,
    best_of_k,
    bug_hunt,
    claims,
    combining,
    figures,
    margin_figures,
    margins,
    measures,
    moving,
    on_top,
    rounds,
)
from rlhf_mini.worlds import stories

TABLES = (
    "crossing",
    "detection",
    "best of K",
    "rounds",
    "V5",
    "wear",
    "conversation",
    "bug hunt",
    "scoreboard",
)
ALARM = "safety below a threshold"
JUDGE = "last helpfulness model"
UNKIND = "Tell me a proud story about a fox that steals a kite."


@pytest.fixture
def on_record(built, few, monkeypatch):
    """All records of one miniature run, read by the figures as if they were committed."""
    found = claims.extra_records(built) + [measure(claim, built, chapter="06") for claim in claims.CLAIMS]

    def read(name, *, experiment, profile, **filters):
        assert (name, profile) == ("chapter_06", "quick")
        return [
            r for r in found if r.experiment == experiment and r.method == filters.get("method", r.method)
        ]

    monkeypatch.setattr(figures, "read_records", read)
    return found


def test_every_table_of_the_chapter_is_measured_and_drawn(on_record):
    names = {(record.experiment, record.method) for record in on_record}
    assert len(names) == len(on_record)
    assert {experiment for experiment, _ in names} == {"claims", *TABLES}
    for mixed in (False, True):
        table = figures.crossing_table(mixed=mixed).text
        assert "helpfulness on safety" in table
        assert "mixed" not in table
    board = figures.scoreboard().text
    rows = [
        board.index(row)
        for row in ("fine-tuned policy", "V1, best of 8", "V2, random", "V3, PPO on top, KL weight 0.05")
    ]
    assert rows == sorted(rows)  # two rounds here, so that V3 is the last
    heats = {t: figures.sampled("kind", t) for t in best_of_k.TEMPERATURES}
    drawn = [
        margin_figures.gain_curves(figures.values("margins and accuracy")),
        margin_figures.gap_curves(figures.values("two humps")),
        margin_figures.split_curves(figures.values("two humps")),
        margin_figures.hunt_curves(figures.runs_of("bug hunt", bug_hunt.WAYS)),
        figures.detection_curves(figures.runs_of("detection", [ALARM])[ALARM]),
        figures.rules(figures.values("piecewise")),
        figures.divergences({kind: figures.sampled(kind, 1.0) for kind in ("kind", "unkind")}),
        figures.best_by_temperature(heats, kind="kind"),
        figures.by_round(
            figures.runs_of("rounds", [*rounds.CAMPAIGNS, measures.MIXED]), measure="gold", ylabel="gold"
        ),
        figures.wear_curves(figures.runs_of("wear", [JUDGE])[JUDGE]),
        figures.reward_on_top(figures.runs_of("V5", on_top.KL_WEIGHTS)),
        figures.by_turn(figures.runs_of("conversation", attention.MODELS), measure="hero", ylabel="hero"),
    ]
    assert all("<svg" in picture.body for picture in drawn)


def test_means_of_runs_are_means(built, few):
    found = claims.margin_tables(built)
    runs = [built.measured(margins.margin_effect, table="small", run=run) for run in range(margins.RUNS)]
    assert found["accuracy small"][-1] == pytest.approx(sum(r["accuracy"][-1] for r in runs) / len(runs))
    assert found["accuracies small"] == [run["accuracy"][-1] for run in runs]
    assert found["valley small"] == pytest.approx(sum(run["valley"] for run in runs) / len(runs))


def test_the_gain_of_a_table_is_in_points():
    seed = {"accuracy none": [0.5, 0.6, 0.7, 0.8, 0.65], "accuracy large": [0.49, 0.6, 0.72, 0.83, 0.66]}
    assert margin_figures.gains([seed], "large") == [pytest.approx([-1.0, 0.0, 2.0, 3.0])]
    assert margin_figures.published_gains("large") == pytest.approx([-0.2, 0.7, 0.6, 1.6])


def test_rules_move_over_every_weight_and_end_with_the_piecewise_one():
    told = stories.demonstrate(stories.read_request(UNKIND), stories.CREW[1][0], random.Random(0))
    drawn = {
        "prompts": [UNKIND],
        "answers": [["That would not be kind, so I will not tell it. May I offer a gentle story?", told]],
        "helpfulness": torch.tensor([[0.05, 0.95]]),
        "safety": torch.tensor([[0.9, 0.1]]),
    }
    assert stories.gold(UNKIND, told).safety < 0
    assert moving.telling_prompt(drawn) == 0
    text = moving.rules_in_motion(drawn).text
    assert text.count("safety weight") >= len(combining.WEIGHTS)
    assert "piecewise" in text
    with pytest.raises(ValueError, match="no prompt of this pool"):
        moving.telling_prompt({**drawn, "helpfulness": torch.tensor([[0.9, 0.1]])})
