"""Chapter 07's runs on the miniature pipeline: pairs, objectives, what is said of a policy, tables."""

import math
import random
from dataclasses import replace

import pytest
import torch

from rlhf_mini import losses
from rlhf_mini.chapters import record_figures
from rlhf_mini.chapters.claims import measure, records_of
from rlhf_mini.chapters.direct import (
    claims,
    course,
    data,
    family,
    figures,
    measures,
    online,
    runs,
    subsets,
    training,
)
from rlhf_mini.chapters.direct.objectives import OBJECTIVES, RPO, objective_of
from rlhf_mini.evaluation.policy import Judged
from rlhf_mini.methods.dpo import Compared, answer_logps
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories.plots import DECLINES

STORY = "A fox came to live near the lake. The fox felt proud all week."
KIND, UNKIND = (stories.Request("fox", "kite", "proud", unkind=deed) for deed in (None, "steal"))
NUMBERS = {
    "DPO": {"kl_weight": 0.5},
    "DPO per token": {"kl_weight": 0.5},
    "R-DPO": {"kl_weight": 0.5, "length_weight": 0.1},
    "cDPO": {"kl_weight": 0.5, "flip_rate": 0.1},
    "robust DPO": {"kl_weight": 0.5, "flip_rate": 0.1},
    "IPO": {"kl_weight": 0.5},
    "IPO per token": {"kl_weight": 0.5},
    "SLiC": {"margin": 10.0, "nll_weight": 0.5},
    "SimPO": {"scale": 2.0, "margin": 0.5},
    "ORPO": {"odds_weight": 0.2},
    "CPL": {"temperature": 0.5, "conservatism": 0.5},
    "DPO, fading": {"kl_weight": 0.5},
    "DPO, apart": {"kl_weight": 0.5},
    "KTO at zero": {"kl_weight": 0.5},
    **{name: {"kl_weight": 0.5, "reward_scale": 1.0} for name in RPO},
}


def row(prompt, chosen, rejected, **more):
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **more}


# ------------------------------------------------------------------------------------------------ the pairs


def test_a_turned_pair_has_all_its_columns_turned():
    one = row("p", "a", "b", gold_chosen=1.0, gold_rejected=2.0, rating="better", first_won=True)
    turned = data.turned(one)
    assert (turned["chosen"], turned["rejected"]) == ("b", "a")
    assert (turned["gold_chosen"], turned["gold_rejected"]) == (2.0, 1.0)
    assert (turned["prompt"], turned["rating"]) == ("p", "better")
    assert data.turned(turned) == one


def test_labels_are_the_panels_golds_or_turned(built):
    shared = data.pairs_of(built)
    assert shared == list(built.preferences("train"))
    assert data.pairs_of(built, count=7) == shared[:7]
    judged, by_gold = (
        data.pairs_of(built, writers="demonstrators", labels=name) for name in ("panel", "gold")
    )
    assert any(one["gold_chosen"] < one["gold_rejected"] for one in judged)  # the panel errs
    assert all(one["gold_chosen"] >= one["gold_rejected"] for one in by_gold)
    assert data.pairs_of(built, labels="flipped", flip=0.0) == shared
    assert data.pairs_of(built, labels="flipped", flip=1.0) == [data.turned(one) for one in shared]
    part = data.pairs_of(built, labels="flipped", flip=0.5)
    turned = sum(
        one["chosen"] == other["rejected"] != other["chosen"] for one, other in zip(part, shared, strict=True)
    )
    assert 0 < turned < len(shared)
    # the first of many flips are the flips of fewer: two runs differ in the data set's size alone
    assert data.pairs_of(built, labels="flipped", flip=0.5, count=7) == part[:7]


def test_demonstrators_pairs_are_two_writers_answers_to_training_prompts(built):
    rows = data.pairs_of(built, writers="demonstrators")
    assert len(rows) == built.profile.pairs
    assert all(
        not stories.is_held_out(r.hero, r.object)
        for r in map(stories.read_request, (one["prompt"] for one in rows))
    )
    assert rows == data.pairs_of(built, writers="demonstrators")
    assert rows[0]["chosen"] not in [one["chosen"] for one in data.pairs_of(built)]


def test_unknown_pairs_are_refused(built):
    for wrong in ({"writers": "nobody"}, {"labels": "nobody"}):
        with pytest.raises(ValueError, match="nobody"):
            data.pairs_of(built, **wrong)


def test_the_reference_is_that_of_the_same_pairs(built):
    rows = data.pairs_of(built, count=5)
    pairs = data.packed(built, rows)
    kept = data.reference_of(built, count=5)
    torch.testing.assert_close(kept.chosen, answer_logps(built.policy("sft"), pairs.chosen))
    torch.testing.assert_close(kept.rejected, answer_logps(built.policy("sft"), pairs.rejected))
    masked = data.packed(built, rows, masked=True)
    assert (pairs.chosen.response.sum(1) - masked.chosen.response.sum(1) == 1).all()
    assert (data.reference_of(built, count=5, masked=True).chosen > kept.chosen).all()  # one factor fewer
    held_out = data.reference_of(built, held_out=True)
    assert len(held_out.chosen) == built.profile.test_pairs


# ------------------------------------------------------------------------------------------- the objectives


def compared(*, equal=False):
    generator = torch.Generator().manual_seed(0)
    draws = [-10 * torch.rand(6, generator=generator) for _ in range(4)]
    chosen, rejected = (draws[2].clone(), draws[3].clone()) if equal else (draws[0], draws[1])
    return Compared(
        chosen=chosen.requires_grad_(),
        rejected=rejected.requires_grad_(),
        chosen_ref=draws[2],
        rejected_ref=draws[3],
        chosen_length=torch.tensor([3, 4, 5, 6, 7, 8]),
        rejected_length=torch.tensor([8, 7, 6, 5, 4, 3]),
        place=torch.tensor([5, 4, 3, 2, 1, 0]),
    )


@pytest.mark.parametrize("name", [*OBJECTIVES, *RPO])
def test_every_objective_raises_the_chosen_and_lowers_the_rejected(name):
    pair, lead = compared(), torch.full((6,), 50.0)
    found = objective_of(name, NUMBERS[name], reward_lead=lead)(pair)
    assert found.shape == (6,)
    assert found.isfinite().all()
    chosen, rejected = torch.autograd.grad(found.sum(), [pair.chosen, pair.rejected])
    if "IPO" not in name and name not in RPO:  # these have a target, which a pair may have passed
        assert (chosen <= 0).all()
        assert (rejected >= 0).all()
        assert (chosen < 0).any()


def test_objectives_by_hand():
    pair = compared(equal=True)
    half = math.log(2)
    for name in ("DPO", "DPO per token", "cDPO"):
        assert objective_of(name, NUMBERS[name])(pair).tolist() == pytest.approx([half] * 6, abs=1e-6)
    mean_chosen = pair.chosen / pair.chosen_length
    with_nll = objective_of("DPO", {"kl_weight": 0.5, "nll_weight": 2.0})(pair)
    torch.testing.assert_close(with_nll, half - 2 * mean_chosen)
    slic = objective_of("SLiC", NUMBERS["SLiC"])(pair)
    torch.testing.assert_close(slic, torch.relu(10 - pair.chosen + pair.rejected) - 0.5 * mean_chosen)
    odds = losses.odds_ratio_loss(mean_chosen, pair.rejected / pair.rejected_length)
    torch.testing.assert_close(objective_of("ORPO", NUMBERS["ORPO"])(pair), 0.2 * odds - mean_chosen)
    # R-DPO: the first pair's chosen answer is 5 tokens shorter, the last one's 5 longer
    longer = objective_of("R-DPO", NUMBERS["R-DPO"])(pair)
    assert longer[0].item() == pytest.approx(math.log(1 + math.exp(0.5)), abs=1e-6)
    assert longer[-1].item() == pytest.approx(math.log(1 + math.exp(-0.5)), abs=1e-6)
    # RPO reads the leads of its own pairs, which stand in another order here
    lead = torch.arange(6.0)
    squared = objective_of("RPO, squared", NUMBERS["RPO, squared"], reward_lead=lead)(pair)
    torch.testing.assert_close(squared, lead.flip(0).square())


def test_the_steps_from_dpo_to_kto_by_hand():
    pair = compared()
    chosen, rejected = (log_ratio / 2 for log_ratio in pair.log_ratios)  # β is 0.5
    found = {
        name: objective_of(name, NUMBERS[name])(pair) for name in ("DPO, fading", "DPO, apart", "KTO at zero")
    }
    torch.testing.assert_close(found["DPO, fading"], 1 / (1 + (chosen - rejected).exp()))
    apart = (torch.log1p((-chosen).exp()) + torch.log1p(rejected.exp())) / 2
    torch.testing.assert_close(found["DPO, apart"], apart)
    both = (1 / (1 + chosen.exp()) + 1 / (1 + (-rejected).exp())) / 2
    torch.testing.assert_close(found["KTO at zero"], both)


def test_unknown_objectives_are_refused():
    with pytest.raises(ValueError, match="unknown objective 'PPO'"):
        objective_of("PPO", {})
    with pytest.raises(ValueError, match="reward_lead"):
        objective_of("RPO, squared", NUMBERS["RPO, squared"])


# ------------------------------------------------------------------------------------------------- the runs


def small(name):
    """A run's settings on as few pairs as the miniature has."""
    one = family.run(name)
    return {**one.settings, "count": 32} if "count" in one.settings else one.settings


@pytest.mark.slow  # each trains a model, if a tiny one
@pytest.mark.parametrize(
    "name",
    [
        "DPO",
        "KTO",
        "RPO, backward",
        "ORPO from base",
        "iterated, 3 rounds",
        "online, reward model",
    ],
)
def test_a_run_trains_and_is_told_about(built, name):
    settings = small(name)
    if name == "iterated, 3 rounds":
        settings["count"] = 3 * training.BATCH
    told = built.measured(runs.outcome, **settings)
    assert set(claims.TOLD) <= set(told)
    assert all(math.isfinite(value) for value in told.values())
    assert told["chosen_shift"] != 0.0
    policy = runs.policy_of(built, **settings)
    before = dict(built.policy(settings.get("start", "sft")).named_parameters())
    assert any(not torch.equal(after, before[at]) for at, after in policy.named_parameters())


def test_the_policy_that_was_not_trained_has_not_moved(built):
    told = built.measured(runs.stage_outcome, stage="sft")
    assert told["chosen_shift"] == pytest.approx(0.0, abs=1e-4)
    assert told["lead"] == pytest.approx(0.0, abs=1e-4)
    assert told["kl_k1"] == pytest.approx(0.0, abs=1e-3)


def test_kto_makes_as_many_steps_as_the_others():
    assert training.settings(1e-3).batch == training.BATCH
    assert training.settings(1e-3, batch=8).batch == 8


def test_declines_are_counted_on_either_kind():
    judged = Judged(
        requests=[KIND, KIND, UNKIND, UNKIND],
        answers=[STORY, DECLINES[0], DECLINES[0], STORY],
        golds=[], lengths=[], kl=None, proxy=None,
    )  # fmt: skip
    assert runs.declines(judged) == {"unkind_declined": 0.5, "kind_declined": 0.5}


def test_shifts_are_told_by_what_the_pairs_are(built, monkeypatch):
    rows = [
        row(UNKIND.text, DECLINES[0], STORY, safety_prompt=True),
        row(KIND.text, STORY, DECLINES[0], safety_prompt=False),
        row(KIND.text, STORY, STORY + " A crow came by.", safety_prompt=False),
    ]
    monkeypatch.setattr(runs, "held_out_pairs", lambda pipeline: rows)
    before = data.KeptReference(torch.zeros(3), torch.zeros(3))
    monkeypatch.setattr(runs, "reference_of", lambda pipeline, held_out: before)
    moved = iter([torch.tensor([-1.0, 2.0, 2.0]), torch.tensor([-4.0, -3.0, 2.0])])
    monkeypatch.setattr(runs, "answer_logps", lambda policy, sequences: next(moved))
    told = runs.on_pairs(built, built.policy("sft"))
    assert (told["decline_shift"], told["story_shift"], told["overcautious_shift"]) == (-1.0, -4.0, -3.0)
    assert told["chosen_shift"] == pytest.approx(1.0)
    assert told["rejected_shift"] == pytest.approx(-5 / 3)
    assert told["lead"] == pytest.approx((3 + 5 + 0) / 3)
    assert told["pair_accuracy"] == pytest.approx(2.5 / 3)
    assert told["chosen_rose"] == pytest.approx(2 / 3)


def test_the_panel_errs_and_the_reward_model_does_not(built):
    prompts = [KIND.text] * 40
    good, bad = stories.demonstrate(KIND, stories.CREW[0][0], random.Random(0)), STORY[:20]
    panel = online.judge_of(built, "panel")
    verdict = panel(prompts, [good] * 40, [bad] * 40)
    assert verdict.dtype == torch.bool
    assert verdict.float().mean() > 0.6
    assert not torch.equal(panel(prompts, [bad] * 40, [bad] * 40), panel(prompts, [bad] * 40, [bad] * 40))
    proxy = online.judge_of(built, "reward model")
    one_way, other_way = proxy(prompts[:1], [good], [bad]), proxy(prompts[:1], [bad], [good])
    assert bool(one_way) != bool(other_way)
    with pytest.raises(ValueError, match="unknown judge"):
        online.judge_of(built, "nobody")


# --------------------------------------------------------------------------------------- tables and figures


def test_every_run_has_a_name_of_its_own():
    names = [one.name for one in family.ALL]
    assert len(set(names)) == len(names)
    assert len({repr(sorted(one.settings.items(), key=str)) for one in family.ALL}) == len(names)
    with pytest.raises(ValueError, match="no run is called"):
        family.run("PPO-ptx")


def test_the_course_is_told_in_blocks(built):
    told = built.measured(course.course, kl_weight=0.5)
    steps = min(family.PAIRS, built.profile.pairs) // training.BATCH
    assert len(told["step"]) == len(told["chosen"]) == -(-steps // course.BLOCK)
    assert told["loss"][0] == pytest.approx(math.log(2), abs=0.05)
    assert all(0 <= share <= 1 for share in told["accuracy"])


def test_the_course_averages_what_was_logged(built, monkeypatch):
    logged = [{name: float(step) for name in course.LOGGED} for step in range(7)]
    monkeypatch.setattr(course, "dpo", lambda *models, **settings: logged)
    told = course.course(built, kl_weight=0.5)
    assert told == {"step": [3.0, 6.5], **{name: [2.0, 5.5] for name in course.LOGGED}}


def test_answers_are_those_of_the_runs(built):
    cards = course.answers_of(built, KIND, ["SFT", "PPO"])
    assert list(cards) == ["SFT", "PPO"]
    assert cards["SFT"].gold == stories.gold(KIND, cards["SFT"].text).total
    assert course.answers_of(built, KIND, ["SFT"])["SFT"] == cards["SFT"]


def test_declines_are_told_wording_by_wording(built, monkeypatch):
    wordings = [DECLINES[0], DECLINES[1], DECLINES[0], DECLINES[2], STORY]
    rows = [row(UNKIND.text, wording, STORY, safety_prompt=True) for wording in wordings]
    rows.append(row(KIND.text, DECLINES[0], STORY, safety_prompt=False))
    monkeypatch.setattr(measures, "held_out_pairs", lambda pipeline: rows)
    said = iter([torch.zeros(4), torch.tensor([1.0, -13.0, 2.0, 0.5])])
    monkeypatch.setattr(measures, "answer_logps", lambda policy, answers: next(said))
    told = measures.wordings(built, name="PPO")
    assert told == dict(zip(DECLINES, (1.5, -13.0, 0.5), strict=True))
    monkeypatch.setattr(measures, "held_out_pairs", lambda pipeline: rows[-1:])
    assert set(measures.wordings(built, name="PPO").values()) == {0.0}


def test_over_cautious_pairs_are_counted_and_left_out(built, monkeypatch):
    rows = [
        row(KIND.text, STORY, DECLINES[0], safety_prompt=False),
        row(UNKIND.text, STORY, DECLINES[0], safety_prompt=True),
        row(UNKIND.text, DECLINES[0], STORY, safety_prompt=True),
        row(UNKIND.text, DECLINES[0], DECLINES[1], safety_prompt=True),
        row(KIND.text, STORY, STORY, safety_prompt=False),
    ]
    assert [subsets.overcautious(one) for one in rows] == [True, False, False, False, False]
    monkeypatch.setattr(subsets, "pairs_of", lambda pipeline, count=None: rows)
    assert subsets.counted(built) == {"overcautious": 1.0, "wanted": 1.0}
    assert subsets.subset(built, subsets.WITHOUT) == rows[1:]
    with pytest.raises(ValueError, match="unknown subset"):
        subsets.subset(built, "all")


def test_an_answer_of_nothing_is_left_out_where_end_tokens_are(built, monkeypatch):
    rows = [row(KIND.text, STORY, ""), row(KIND.text, STORY, DECLINES[0]), row(KIND.text, " ", STORY)]
    monkeypatch.setattr(subsets, "pairs_of", lambda pipeline: rows)
    assert subsets.subset(built, subsets.MASKED) == rows[1:2]


@pytest.mark.parametrize("which", [subsets.WITHOUT, subsets.MASKED])
def test_a_policy_is_trained_on_a_subset(built, monkeypatch, which):
    rows = [row(KIND.text, STORY, STORY + " A crow came by.", safety_prompt=False)] * 32
    monkeypatch.setattr(subsets, "pairs_of", lambda pipeline, count=None: rows)
    seen = []

    def noted(pipeline, some, *, masked):
        seen.append(masked)
        return data.packed(pipeline, some, masked=masked)

    monkeypatch.setattr(subsets, "packed", noted)
    told = subsets.outcome_on(built, which=which, kl_weight=0.1)
    assert seen == [which == subsets.MASKED]
    assert set(claims.TOLD) <= set(told)


def test_lengths_of_pairs_by_hand(built, monkeypatch):
    long = STORY + " A crow came by."
    rows = [
        row(KIND.text, long, STORY, gold_chosen=1.0, gold_rejected=2.0),
        row(KIND.text, STORY, DECLINES[0], gold_chosen=2.0, gold_rejected=0.0),
    ]
    monkeypatch.setattr(measures, "pairs_of", lambda pipeline, count: rows)
    told = measures.pair_lengths(built)
    counted = data.packed(built, rows)
    (longer, plain), (shorter, decline) = counted.chosen.response.sum(1), counted.rejected.response.sum(1)
    assert told["chosen"] == float(longer - shorter)
    assert told["better"] == float(shorter - longer)
    assert told["errs"] == 0.5
    assert told["declines"] == float(decline)
    assert told["stories"] == pytest.approx(float(longer + shorter + plain) / 3)
    total = counted.chosen.response.sum() + counted.rejected.response.sum()
    assert told["sentence"] == pytest.approx(float(total) / (3 + 2 + 2 + 2))


def test_settings_are_told_a_line_a_run():
    told = figures.settings_told([family.run("SimPO")])
    assert told.split() == "SimPO rate 0.0001 scale 10, margin 3".split()
    assert max(map(len, figures.settings_told(family.FAMILY).splitlines())) <= 79


def test_policies_are_read_under_a_slider(built):
    shown = figures.read_along(built, [KIND, UNKIND], {"SFT": "SFT", "PPO": "after PPO"})
    assert 'class="rm-frames"' in shown.body
    assert "after PPO" in shown.body
    assert shown.body.count(UNKIND.text) == 2


def test_runs_are_grouped_in_their_order():
    found = figures.groups(family.FAMILY)
    assert [name for names in found.values() for name in names] == [one.name for one in family.FAMILY]
    assert found["no pairs"] == ["KTO"]


def drawn_on_subset(pipeline, which):
    rng = random.Random(f"{which} {pipeline.seed}")
    return {name: rng.random() for name in (*claims.TOLD, "overcautious", "wanted")}


@pytest.fixture
def on_record(built, monkeypatch):
    """All records of one pipeline, of runs whose numbers are drawn by lot, read as if they were committed."""

    def drawn(one, pipeline):
        rng = random.Random(f"{one.name} {pipeline.seed}")
        return {name: rng.random() for name in (*claims.TOLD, "seconds")}

    monkeypatch.setattr(family.Run, "measured", drawn)
    monkeypatch.setattr(measures, "on_subset", drawn_on_subset)
    found = claims.extra_records(built)
    found += [replace(record, seed=1) for record in found]
    monkeypatch.setattr(
        record_figures,
        "read_records",
        lambda name, *, experiment, profile, **filters: [
            r for r in found if r.experiment == experiment and r.method == filters.get("method", r.method)
        ],
    )
    return found


def test_records_hold_every_run_and_the_figures_draw_them(built, on_record):
    names = [one.name for one in family.ALL]
    rows = [r.method for r in on_record if r.experiment == "runs" and r.seed == 0]
    assert rows == [*names, measures.WITHOUT, measures.MASKED]
    assert all(set(claims.TOLD) <= set(r.metrics) for r in on_record if r.experiment == "runs")
    shown = figures.table(["SFT", "DPO", "PPO"], figures.OUTCOMES)
    assert [shown.text.index(name) for name in ("SFT", "DPO", "PPO")] == sorted(
        shown.text.index(name) for name in ("SFT", "DPO", "PPO")
    )
    assert "unkind: declined (%)" in figures.table(["DPO"], figures.OUTCOMES).body
    assert "declines, preferred" in figures.table(["DPO", measures.WITHOUT], figures.DECLINED).body
    assert figures.strength_curves().body
    assert figures.decline_curves().body
    assert figures.course_curves().body
    assert figures.hunt_curves().body
    told = figures.wordings_told().splitlines()
    assert len(told) == 1 + 2 * len(measures.WORDED)
    assert told[1].split()[:3] == ["DPO", "seed", "0"]
    assert len(told[1].split()) == 3 + len(DECLINES)
    dots = figures.differences({"no pairs": ["KTO"]}, alt="KTO less DPO, by seed, drawn by lot for a test.")
    assert "KTO" in dots.body


def test_what_a_claim_measures_comes_from_runs_that_there_are(built, on_record):
    for measured in (
        measures.learned,
        measures.strengths,
        measures.declines,
        measures.family,
        measures.steps_to_kto,
        measures.lengths,
        measures.wrong_labels,
        measures.whose_pairs,
    ):
        assert all(isinstance(number, float) for number in measured(built).values())
    for claim in claims.CLAIMS:
        if not claim.live:
            record = measure(claim, built, chapter="07")
            assert isinstance(record.metrics["holds"], bool)
    assert records_of("07", built, {("toy", "x"): {"a": [1.0]}})[0].chapter == "07"
