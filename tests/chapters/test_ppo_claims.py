"""Chapter 05's claims measure what they say, and its records hold what its figures read."""

from functools import partial

import pytest

from rlhf_mini.chapters.claims import records_of
from rlhf_mini.chapters.ppo import claims, figures, hacking, tax
from rlhf_mini.chapters.ppo.optimum import way_to_the_optimum
from rlhf_mini.chapters.ppo.variants import ALL, OURS, variant
from rlhf_mini.chapters.record_figures import recorded_in
from rlhf_mini.evaluation import write_records
from tests.chapters.verdicts import ppo as verdicts


@pytest.fixture(scope="module")
def records(built):
    """All of the chapter's tables from four runs."""
    tables = {}
    for name in (OURS, "β = 0", "−r − β KL", "γ = 1"):
        tables |= claims.tables_of(variant(name), variant(name).measured(built))
    return records_of("05", built, tables)


def test_a_run_gives_the_tables_that_it_stands_in(records):
    got = {(record.experiment, record.method) for record in records}
    assert {("details", OURS), ("curves", OURS), ("texts", OURS), ("texts", "−r − β KL")} <= got
    assert ("curves", "γ = 1") not in got
    assert {*claims.GALLERY, *claims.READ} <= {one.name for one in ALL}


def test_figures_read_what_the_records_hold(records, tmp_path, monkeypatch, built):
    monkeypatch.setenv("RLHF_MINI_RESULTS", str(tmp_path))
    monkeypatch.setattr(figures, "recorded", partial(recorded_in, "05", profile="miniature"))
    write_records("chapter_05", records)
    for table in (figures.outcomes(), figures.watched(), figures.mixed(), figures.signs()):
        assert OURS in table.text
    assert "KL weight: β = 0" in figures.outcomes().text
    assert figures.along("gold", {OURS: ("ours", "policy")}, ylabel="gold", alt="One curve of gold.").body
    assert figures.against_kl("β = 0", alt="Proxy and gold against KL.").body
    read = figures.read_along(built, "β = 0", request=0, caption="no penalty")
    assert read.body.count('rm-frame"') == 2  # the start and the end of two iterations
    ends = figures.read_ends(built, {OURS: "ours", "β = 0": "no penalty"}, request=1)
    assert "no penalty" in ends.text
    assert "PPO-ptx" in figures.scoreboard().text


def test_differences_are_taken_seed_by_seed(records):
    rows = {record.method: record.metrics for record in records if record.experiment == "details"}
    told = figures._row(next(r for r in records if r.method == "β = 0"), rows[OURS])
    assert told["difference"] == rows["β = 0"]["gold"] - rows[OURS]["gold"]
    assert told["clipped"] == 100 * rows["β = 0"]["last_clip_fraction"]


def test_the_stages_are_judged_as_the_runs_are(built):
    found = built.measured(hacking.with_and_without)
    for stage, name in (("ppo", OURS), ("ppo_without_kl", "β = 0")):
        end = variant(name).measured(built)["end"]
        for metric in ("gold", "proxy", "kl_k1", "distinct_2", "coherence", "sft_nats"):
            assert found[f"{metric} {stage}"] == pytest.approx(end[metric], abs=1e-6)


def test_the_tax_is_measured_before_ppo(built):
    found = built.measured(tax.before)
    assert found.keys() == {"base", "sft"}
    assert all(nats > 0 for nats in found.values())


def test_the_way_to_the_optimum_starts_at_the_reference(built):
    """With three iterations: one look before each and one at the end; the first is KL(π_ref ‖ π*)."""
    way = way_to_the_optimum(built, kl_weight=1.0, iterations=3)
    assert len(way["to_optimum"]) == len(way["objective"]) == 4
    assert way["objective"][0] < way["best"][0]
    # at the reference, KL(π ‖ π*) is what the objective lacks, in units of β
    assert way["to_optimum"][0] == pytest.approx(way["best"][0] - way["objective"][0], abs=1e-6)
    assert way["to_optimum"][-1] < way["to_optimum"][0]


def test_claims_measure_what_their_verdicts_read(built):
    """Every number of the examples is one that the measuring function gives."""
    for claim in claims.CLAIMS:
        assert verdicts.GOOD[claim.name].keys() <= claim.measure(built).keys(), claim.name
