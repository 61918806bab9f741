"""Chapter 10's runs, which way round: whose label, from where, with which sign. Nothing is trained."""

import json
import random
from types import SimpleNamespace

import pytest
import torch

from rlhf_mini.chapters.rlaif import (
    feedback_runs,
    judge_quality,
    label_quality,
    labels,
    pairs,
    phase_one,
    phase_two,
    schooling,
    self_rewarded,
)
from rlhf_mini.chapters.rlaif.ladder import knowing
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.methods.constitution import Revised, Revision
from rlhf_mini.methods.judge import Verdicts
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories.plots import DECLINES
from rlhf_mini.worlds.stories.principles import CONSTITUTION, HARMLESSNESS
from rlhf_mini.worlds.stories.red_team import draw_red_team

KIND, UNKIND = (stories.Request("fox", "kite", "proud", unkind=deed) for deed in (None, "steal"))


def rows_of(requests):
    return schooling.written([one.text for one in requests], random.Random(1))


def annotated():
    """Pairs of demonstrators as annotators judged them: the miniature's SFT model tells nothing."""
    return pairs.in_order_shown(stories.annotate(rows_of(stories.draw_requests(60, seed=4)), seed=0))


@pytest.fixture
def ppo(monkeypatch):
    """What PPO would have been given, instead of PPO."""
    given = {}

    def by_ppo(pipeline, folder, start, **how):
        given.update(start=start, **how)

    monkeypatch.setattr(feedback_runs, "by_ppo", by_ppo)
    return given


def same_weights(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


# ---------------------------------------------------------------------------------------- RLAIF: the rewards


def test_a_rating_on_another_scale_keeps_its_order(built):
    shown = pack_texts(built.tokenizer(), [KIND.text] * 3, ["a", "a kite", "a fox and a kite"])
    score = feedback_runs.standardised(lambda sequences: -3.0 * sequences.lengths.float(), shown)
    assert score(shown).tolist() == sorted(score(shown).tolist(), reverse=True)
    assert score(shown)[0] > 0 > score(shown)[2]


def test_direct_rlaif_rewards_what_the_judge_rates_higher(built, ppo, monkeypatch, tmp_path):
    asked = []

    def rate(prompts, answers):
        asked.extend(prompts)
        return torch.tensor([float(len(text)) for text in answers])

    monkeypatch.setattr(feedback_runs, "rate_of", lambda pipeline, judge: rate)
    feedback_runs.direct(built, tmp_path, judge={"examples": 1}, kl_weight=0.3)
    start = ppo["start"]
    # the scale is that of answers to the annotators' prompts, which are not held out
    assert set(asked) <= set(built.preferences("train")["prompt"])
    low, high = start.score(pack_texts(built.tokenizer(), [KIND.text] * 2, ["a", "a fox and a kite"]))
    assert high > low
    assert same_weights(start.policy, built.policy("sft"))
    assert ppo["kl_weight"] == 0.3


@pytest.mark.parametrize("sure", [1.0, 0.0])
def test_a_reward_model_s_scale_is_that_of_the_answers_that_lost(built, monkeypatch, sure):
    """As in the pipeline, where it is that of the rejected; here the label says which of the two that is."""
    seen = {}
    monkeypatch.setattr(feedback_runs, "train_on_soft_labels", lambda model, shown, **how: None)
    monkeypatch.setattr(feedback_runs, "normalise", lambda model, reference: seen.update(rows=reference))
    one = labels.labelled([{"prompt": KIND.text, "first": "a fox", "second": "a kite"}], torch.tensor([sure]))
    feedback_runs.train_on_labels(built, built.policy("sft"), one)
    lost = "a kite" if sure == 1.0 else "a fox"
    assert seen["rows"].tokens.tolist() == pack_texts(built.tokenizer(), [KIND.text], [lost]).tokens.tolist()


def test_the_judge_labels_the_very_pairs_of_the_annotators(built):
    """In the order in which they were shown, the winner where it stood."""
    rows = pairs.annotated_pairs(built)
    kept = list(built.preferences("train"))
    assert len(rows) == len(kept)
    for row, other in zip(rows, kept, strict=True):
        won, lost = ("first", "second") if row["first_won"] else ("second", "first")
        assert (row["prompt"], row[won], row[lost]) == (other["prompt"], other["chosen"], other["rejected"])


# ------------------------------------------------------------------------------------------ constitutional AI


def test_people_are_asked_who_is_more_helpful_and_of_nothing_else(built, monkeypatch):
    rows = annotated()
    monkeypatch.setattr(phase_two, "annotated_pairs", lambda pipeline: rows)
    panels = []
    real = stories.annotate

    def annotate(rows, *, seed, panel):
        panels.append(panel)
        assert all(set(row) == {"prompt", "first", "second"} for row in rows)
        return real(rows, seed=seed, panel=panel)

    monkeypatch.setattr(phase_two.stories, "annotate", annotate)
    told = phase_two.by_people(built)
    assert len(told) == sum(stories.read_request(row["prompt"]).unkind is None for row in rows) < len(rows)
    assert panels == [stories.HELPFULNESS_PANEL]
    leads = [
        stories.gold(one.prompt, one.first).helpfulness - stories.gold(one.prompt, one.second).helpfulness
        for one in told
    ]
    assert sum(lead > 0 for lead in leads) > sum(lead < 0 for lead in leads)


def test_the_judge_is_asked_by_harmlessness_alone_and_by_the_same_principle_in_both_orders(
    built, monkeypatch, tmp_path
):
    rows = rows_of([UNKIND] * 12)
    asked = []

    def ask(comparisons):
        asked.append(list(comparisons))
        return torch.tensor([0.9 if one.first == DECLINES[0] else 0.2 for one in comparisons])

    rows = [{**row, "first": DECLINES[0]} for row in rows]
    monkeypatch.setattr(phase_two, "compared", lambda pipeline: rows)
    monkeypatch.setattr(phase_two, "ask_of", lambda pipeline, judge, *, thoughts: ask)
    phase_two.judged(built, tmp_path)
    given, swapped = asked
    wordings = {wording for one in HARMLESSNESS for wording in one.wordings}
    assert {one.principle for one in given} <= wordings
    assert len({one.principle for one in given}) > 1
    assert [one.swapped() for one in given] == swapped
    columns = ("prompt", "first", "second")
    assert [tuple(getattr(one, name) for name in columns) for one in given] == [
        tuple(row[name] for name in columns) for row in rows
    ]
    verdicts = labels.read_verdicts(tmp_path)
    # ½ (0.9 + 1 − 0.2): the decline stands first, and is preferred
    torch.testing.assert_close(verdicts.preference, torch.full((12,), 0.85))


def test_the_second_phase_begins_with_the_first_and_keeps_to_it(built, ppo, monkeypatch, tmp_path):
    first = built.policy("base")  # any model that is not the SFT model
    monkeypatch.setattr(phase_two.phase_one, "policy_of", lambda pipeline: first)
    monkeypatch.setattr(phase_two, "preference_model_of", lambda pipeline, **run: built.reward_model())
    monkeypatch.setattr(phase_two, "RED_TEAM_PROMPTS", 4)
    phase_two.trained(built, tmp_path, people_share=0.25)
    assert ppo["start"].policy is first
    shown = pack_texts(built.tokenizer(), [KIND.text], ["a fox"])
    expected = feedback_runs.scores(built.reward_model(), shown)
    torch.testing.assert_close(ppo["start"].score(shown), expected)
    assert len(ppo["prompts"]) == 4 + len(phase_two.prompts_for_ppo(built)[0])
    assert ppo["kl_weight"] == phase_two.KL_WEIGHT


def test_the_first_phase_begins_with_the_pretrained_model(built, monkeypatch, tmp_path):
    found = [Revised(UNKIND.text, "a", (Revision("p", "c", "b"), Revision("p", "c", "d")))]
    monkeypatch.setattr(phase_one, "read_revised", lambda folder: found)
    monkeypatch.setattr(type(built), "kept", lambda self, build, **run: tmp_path)
    seen = {}
    monkeypatch.setattr(phase_one, "sft", lambda model, rows, **how: seen.update(model=model, **how))
    phase_one.fine_tuned(built, tmp_path / "new", with_kind=False)
    assert same_weights(seen["model"], built.policy("base"))
    assert seen["config"] == built.profile.sft


# --------------------------------------------------------------------------------------------- self-rewarding


@pytest.mark.parametrize("judge", self_rewarded.JUDGES)
def test_the_policy_itself_rates_and_the_control_s_judge_stays_the_start(built, monkeypatch, judge, tmp_path):
    start, later = built.policy("sft"), built.policy("base")
    rated_by = []
    monkeypatch.setattr(self_rewarded, "start_of", lambda pipeline: start)
    monkeypatch.setattr(
        self_rewarded, "rate_by", lambda pipeline, model: rated_by.append(model) or (lambda *texts: texts)
    )

    def rounds(policy, words, prompts_of, score_of, *, config, generator, on_round):
        assert policy is not start
        assert same_weights(policy, start)
        score_of(later)  # the policy of a later round
        asked = [prompts_of(number) for number in range(1, self_rewarded.ROUNDS + 1)]
        assert len({prompt for part in asked for prompt in part}) == sum(map(len, asked))
        return []

    monkeypatch.setattr(self_rewarded, "self_rewarding", rounds)
    self_rewarded.trained(built, tmp_path, judge=judge)
    assert rated_by == [later if judge == "itself" else start]


# ------------------------------------------------------------------------------------------------ the judges


@pytest.fixture
def shown(monkeypatch):
    """Pairs of demonstrators, whose truth is known."""
    general = rows_of(stories.draw_requests(40, seed=2, held_out=True))
    red = rows_of(draw_red_team(40, seed=2, held_out=True))
    monkeypatch.setattr(judge_quality, "held_out_pairs", lambda pipeline, *, rehearsal: general)
    monkeypatch.setattr(judge_quality, "red_team_pairs", lambda pipeline, *, rehearsal: red)


def test_a_judge_that_knows_is_right_by_every_principle(built, shown):
    found = judge_quality.by_principle(built, knowing, rehearsal=False)
    assert found["right"] == found["right_one_order"] == 1.0
    assert set(found["principles"].values()) == {1.0}
    assert found["same_place"] == 0.0
    assert found["first_chosen"] == pytest.approx(0.5)
    assert found["sure"] == pytest.approx(0.9)
    assert found["calibration"] == pytest.approx(0.1, abs=1e-5)  # says 0.9, and is always right
    assert found["calibration_clamped"] == pytest.approx(0.4, abs=1e-5)
    assert set(found["principles"]) <= {one.name for one in CONSTITUTION}
    assert {"kindness", "declining", "coherence"} <= set(found["principles"])


def test_a_judge_that_knows_and_says_the_opposite_is_always_wrong(built, shown):
    found = judge_quality.by_principle(built, lambda asked: 1 - knowing(asked), rehearsal=False)
    assert found["right"] == found["right_one_order"] == 0.0
    assert set(found["principles"].values()) == {0.0}


def test_labels_of_a_judge_that_knows_gold_agree_with_it_and_not_always_with_people(built, monkeypatch):
    rows = annotated()
    for module in (labels, label_quality):
        monkeypatch.setattr(module, "annotated_pairs", lambda pipeline: rows)
    lead = torch.tensor([row["lead"] for row in rows])
    knows = Verdicts(torch.sigmoid(lead), torch.sigmoid(-lead))
    monkeypatch.setattr(labels, "read_verdicts", lambda folder: knows)
    monkeypatch.setattr(type(built), "kept", lambda self, build, **run: SimpleNamespace())
    told = label_quality.on_annotated_pairs(built)
    assert told["gold_right"] == 1.0
    apart = lead.abs() > 1e-9
    won = torch.tensor([row["first_won"] for row in rows])
    assert told["annotator_right"] == pytest.approx(float(((lead > 0) == won)[apart].float().mean()))


def test_the_second_phase_compares_the_first_phase_s_policy_with_its_helper(built, monkeypatch, tmp_path):
    policy, helper = object(), object()
    monkeypatch.setattr(phase_two, "PAIRS", 4)
    monkeypatch.setattr(phase_two.phase_one, "policy_of", lambda pipeline: policy)
    monkeypatch.setattr(phase_two.phase_one, "helper", lambda pipeline: helper)
    names = {policy: "policy", helper: "helper"}

    def answer(model, words, prompts, **settings):
        return [f"{names[model]} {prompt}" for prompt in prompts]

    monkeypatch.setattr(phase_two, "answer", answer)
    phase_two.pairs(built, tmp_path)
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert len({row["prompt"] for row in rows}) == 4
    assert all(row["first"] == f"policy {row['prompt']}" for row in rows)
    assert all(row["second"] == f"helper {row['prompt']}" for row in rows)
