"""The table of phenomena: every row can be measured, and records are written and read as promised."""

import math

import pytest

import rlhf_mini.chapters.whole_story.experiments as module
from rlhf_mini.chapters.claims import describe_numbers
from rlhf_mini.chapters.claims import measure as measure_claim
from rlhf_mini.chapters.whole_story.claims import CLAIMS, extra_records
from rlhf_mini.chapters.whole_story.experiments import (
    BEST_OF,
    held_out_requests,
    smoothed,
)
from rlhf_mini.evaluation.records import Record
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories


def measure(claim, pipeline):
    return measure_claim(claim, pipeline, chapter="00")


ROWS = {row.name: row for row in CLAIMS}


@pytest.fixture(scope="module")
def records(built):
    return {row.name: measure(row, built) for row in CLAIMS}


def test_every_row_is_measured_and_recorded(records, built):
    for name, record in records.items():
        assert record.method == name
        assert record.profile == "miniature"
        assert record.seconds > 0
        numbers = {key: value for key, value in record.metrics.items() if key != "holds"}
        assert numbers
        assert all(isinstance(value, float) and math.isfinite(value) for value in numbers.values())
        assert record.metrics["holds"] is bool(ROWS[name].holds(numbers))


def test_measuring_again_gives_the_same_numbers(records, built):
    for name in ("SFT", "best-of-n"):
        assert measure(ROWS[name], built).metrics == records[name].metrics


def test_a_record_counts_its_own_stages_once_and_no_other(miniature, tmp_path, built, monkeypatch):
    monkeypatch.setattr(Pipeline, "seconds", lambda self, stage: 1000.0 * (stage == "sft"))
    assert 1000 < measure(ROWS["SFT"], built).seconds < 2000  # read back: what it took is added
    # built while measuring: the clock has run already, and the 1000 pretended seconds cancel
    assert 0 < measure(ROWS["SFT"], Pipeline(miniature, cache=tmp_path)).seconds < 1000


def test_held_out_requests_ask_for_pairs_that_training_never_sees(built, miniature):
    requests = held_out_requests(built)
    assert len({request.text for request in requests}) == miniature.test_prompts
    assert all(stories.is_held_out(request.hero, request.object) for request in requests)


def test_perplexities_follow_from_the_losses(records):
    numbers = records["pretraining"].metrics
    for loss, perplexity in (
        ("nats_per_document", "perplexity"),
        ("entropy_per_document", "perplexity_of_the_grammar"),
    ):
        assert math.log(numbers[perplexity]) * numbers["tokens_per_document"] == pytest.approx(numbers[loss])
    assert numbers["nats_per_document"] > numbers["entropy_per_document"]


def test_best_of_one_is_the_policy_and_the_proxy_rises_with_n(records, built, miniature):
    numbers = records["best-of-n"].metrics
    pool = module.best_of_n_pool(built)
    assert tuple(pool.golds.shape) == (miniature.test_prompts, miniature.best_of)
    assert numbers["gold_1"] == pytest.approx(float(pool.golds.mean()), abs=1e-5)
    assert numbers["proxy_1"] == pytest.approx(float(pool.proxies.mean()), abs=1e-5)
    assert numbers["proxy_16"] == pytest.approx(float(pool.proxies.amax(1).mean()), abs=1e-5)
    measured = [numbers[f"proxy_{n}"] for n in BEST_OF if n <= 16]
    assert measured == sorted(measured)
    assert numbers["kl_1"] == pytest.approx(0, abs=1e-12)
    assert "gold_32" not in numbers


def test_the_gap_closed_is_the_share_of_what_was_missing(records):
    numbers = records["PPO with KL"].metrics
    missing_before, missing_after = (stories.BEST - numbers[f"gold_{name}"] for name in ("sft", "ppo"))
    assert numbers["gap_closed"] == pytest.approx(1 - missing_after / missing_before)


def test_the_scoreboard_has_a_row_a_method_and_the_seconds_of_its_stages(records, built):
    rows = {record.method: record for record in extra_records(built)}
    assert [*rows] == ["base model", "SFT", "best of 16", "PPO", "PPO without KL"]
    assert all(row.experiment == "scoreboard" and row.seed == 0 for row in rows.values())
    for method, row, gold in (
        ("base model", "SFT", "gold_base"),
        ("SFT", "SFT", "gold_sft"),
        ("PPO", "PPO with KL", "gold_ppo"),
        ("PPO without KL", "PPO without KL", "held_out_gold_end"),
        ("best of 16", "best-of-n", "gold_16"),
    ):
        assert rows[method].metrics["gold"] == pytest.approx(records[row].metrics[gold])
    assert rows["SFT"].metrics["kl_k3"] == pytest.approx(0, abs=1e-4)
    assert rows["SFT"].seconds == built.seconds("sft")
    stages = ("preferences", "reward_model", "ppo")
    assert rows["PPO"].seconds == pytest.approx(sum(built.seconds(stage) for stage in stages))


def test_smoothed_by_hand():
    assert smoothed([1.0, 2.0, 6.0, 3.0], window=3) == [1.5, 3.0, 11 / 3, 4.5]
    assert smoothed([4.0], window=5) == [4.0]
    assert smoothed([1.0, 2.0], window=1) == [1.0, 2.0]


def test_numbers_are_described_in_one_line_of_three_digits():
    record = Record(
        chapter="00",
        experiment="claims",
        method="any",
        seed=0,
        profile="quick",
        device="cpu",
        threads=1,
        seconds=1.0,
        version="0",
        metrics={
            "accuracy": 0.68849,
            "loss": 213.46,
            "kl": -1e-05,
            "count": 12345.6,
            "high": 999.6,
            "curve": [1.0, 2.0],
            "holds": True,
        },
    )
    assert describe_numbers(record) == "accuracy 0.688  loss 213  kl -1e-05  count 12346  high 1000"
