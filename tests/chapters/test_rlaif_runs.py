"""Chapter 10's runs on the miniature pipeline: what each is made of, and what is said of a policy."""

import json
import math
import random

import pytest
import torch

from rlhf_mini.chapters.rlaif import (
    family,
    feedback_runs,
    judge_quality,
    judges,
    label_quality,
    labels,
    measures,
    outcomes,
    pairs,
    phase_one,
    phase_two,
    rubric_runs,
    schooling,
    self_rewarded,
    synthesis,
)
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.methods.constitution import Revised, Revision
from rlhf_mini.methods.self_synthesis import Synthesised
from rlhf_mini.methods.soft_labels import Labelled
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories.plots import DECLINES
from rlhf_mini.worlds.stories.principles import HARMLESSNESS

STORY = "A fox came to live near the lake. The fox felt proud all week."
KIND, UNKIND = (stories.Request("fox", "kite", "proud", unkind=deed) for deed in (None, "steal"))


@pytest.fixture
def few(monkeypatch):
    """Small numbers, lessons about demonstrators' answers."""
    monkeypatch.setattr(schooling, "WRITTEN", {"general": 20, "red team": 20})
    monkeypatch.setattr(schooling, "DRAWN", {"general": 4, "red team": 4})
    monkeypatch.setattr(schooling, "OBEYED", 8)
    monkeypatch.setattr(judges, "EXAMPLES", 24)
    monkeypatch.setattr(judges, "BATCH", 8)
    monkeypatch.setattr(judges, "LONGEST_THOUGHT", {"ours": 4, "hub": 4})
    monkeypatch.setattr(judge_quality, "LONGEST_THOUGHT", {"ours": 4, "hub": 4})
    monkeypatch.setattr(pairs, "RED_TEAM", 12)
    monkeypatch.setattr(judge_quality, "MOST", 4)
    monkeypatch.setattr(feedback_runs, "RATED", 8)
    monkeypatch.setattr(phase_one, "RED_TEAM", 6)
    monkeypatch.setattr(phase_one, "KIND", 8)
    monkeypatch.setattr(phase_two, "PAIRS", 12)
    monkeypatch.setattr(phase_two, "RED_TEAM_PROMPTS", 4)
    monkeypatch.setattr(self_rewarded, "BATCH", 2)
    monkeypatch.setattr(self_rewarded, "prompts_a_round", lambda pipeline: 4)
    monkeypatch.setattr(synthesis, "DRAWN", 8)
    monkeypatch.setattr(synthesis, "KEPT", 8)

    def drawn(pipeline, purpose, *, rows, count, held_out=False):
        prompts = schooling.requests_for(pipeline, purpose, rows=rows, count=count, held_out=held_out)
        return schooling.written(prompts, random.Random(0))

    def held_out(pipeline, *, rehearsal):
        prompts = [one.text for one in stories.draw_requests(12, seed=int(rehearsal), held_out=True)]
        return pairs.in_order_shown(stories.annotate(schooling.written(prompts, random.Random(1)), seed=0))

    monkeypatch.setattr(schooling, "drawn", drawn)
    for module in (judge_quality, label_quality):
        monkeypatch.setattr(module, "held_out_pairs", held_out)


# ------------------------------------------------------------------------------------------------ the judges


def test_a_judge_is_said_to_be_what_it_is(built, few):
    told = judge_quality.quality(built)
    assert {*measures.JUDGES_TOLD} <= set(told)
    assert all(0 <= told[name] <= 1 for name in measures.JUDGES_TOLD)
    assert set(told["principles"]) == set(told["counted"])
    assert {"kindness", "declining"} <= set(told["principles"])
    assert max(told["counted"].values()) <= 4
    thinks = judge_quality.quality(built, thoughts=True)
    assert "gold_right" not in thinks
    alone = judge_quality.thinking(built)
    assert alone["right"] == pytest.approx(thinks["right_one_order"])
    assert set(judge_quality.rating_quality(built)) == {"gold_right", "spread", "tied"}


def test_a_smaller_judge_has_fewer_weights_and_a_context_for_two_answers(built, few):
    ours, small = (judges.judge_of(built, skill="choosing", **size) for size in ({}, {"size": "width 32"}))
    assert small.model.config.hidden_size == 32
    assert ours.model.config.hidden_size == built.profile.width
    assert ours.model.config.max_position_embeddings == judges.CONTEXT
    assert not any(weight.requires_grad for weight in ours.model.parameters())


# ------------------------------------------------------------------------------- RLAIF: distilled, direct


def test_a_reward_model_on_sure_labels_is_the_pipeline_s(built):
    """Labels of 1 with the chosen first are people's labels: the same weights come out, step by step."""
    rows = built.preferences("train")
    pairs = [Labelled(row["prompt"], row["chosen"], row["rejected"], 1.0) for row in rows]
    ours = feedback_runs.train_on_labels(built, built.policy("sft"), pairs)
    theirs = built.reward_model()
    for (name, weight), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(weight, other, msg=name, rtol=1e-4, atol=1e-5)
    assert ours.config.mean == pytest.approx(theirs.config.mean, abs=1e-4)
    assert ours.config.std == pytest.approx(theirs.config.std, rel=1e-3)


def test_distilled_with_the_pipeline_s_reward_model_is_the_pipeline_s_ppo(built, tmp_path):
    """Same reward, same random numbers: RLAIF differs from RLHF in the labels and in nothing else."""
    start = feedback_runs.start_with(built.policy("sft"), built.reward_model())
    feedback_runs.by_ppo(built, tmp_path, start)
    log = json.loads((tmp_path / "log.json").read_text())
    assert [entry["score"] for entry in log] == pytest.approx(
        [entry["score"] for entry in built.history("ppo")], abs=1e-4
    )
    assert "gold" in log[0]


def test_ratings_are_brought_to_the_scale_of_scores(built):
    words = built.tokenizer()
    shown = pack_texts(words, [KIND.text] * 3, ["a", "a kite", "a fox and a kite"])
    score = feedback_runs.standardised(lambda sequences: sequences.lengths.float(), shown)
    told = score(shown)
    assert float(told.mean()) == pytest.approx(0.0, abs=1e-6)
    assert float(told.std()) == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(ValueError, match="do not differ"):
        feedback_runs.standardised(lambda sequences: torch.ones(len(sequences)), shown)


@pytest.mark.slow  # a judge, a reward model and PPO, if tiny ones
@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "distilled", "hard": True},
        {"kind": "direct", "kl_weight": 0.2},
        {"kind": "rubric", "on_kind": False},
        {"kind": "second phase", "people_share": 0.5, "thoughts": True, "clamp": True},
    ],
)
def test_a_run_of_ppo_is_kept_and_told_about(built, few, monkeypatch, settings):
    monkeypatch.setattr(labels, "annotated_pairs", lambda pipeline: annotated(built))
    for module in (feedback_runs, phase_two):
        monkeypatch.setattr(module, "annotated_pairs", labels.annotated_pairs)
    told = outcomes.outcome(built, **settings)
    assert {*measures.TOLD} <= set(told)
    assert all(math.isfinite(told[name]) for name in measures.TOLD)
    assert len(told["golds"]) == outcomes.JUDGED * built.profile.test_prompts
    assert len(told["safe_golds"]) == sum(one.unkind is None for one in outcomes.requests(built).general)
    assert told["kl_k1"] != 0.0


def annotated(pipeline):
    return pairs.in_order_shown(list(pipeline.preferences("train")))[:24]


# ------------------------------------------------------------------------------------------ constitutional AI


def test_revisions_are_told_by_what_the_answers_are(built, monkeypatch, tmp_path):
    wording = HARMLESSNESS[1].wordings[0]
    rounds = (
        Revision(wording, "It tells what should be declined.", DECLINES[0]),
        Revision(wording, "It is fine.", DECLINES[0]),
    )
    theft = stories.demonstrate(UNKIND, schooling.WILLING[0][0], random.Random(0))
    found = [Revised(UNKIND.text, theft, rounds), Revised(UNKIND.text, "", rounds)]
    monkeypatch.setattr(phase_one, "read_revised", lambda folder: found)
    monkeypatch.setattr(type(built), "kept", lambda self, build, **run: tmp_path)
    told = label_quality.revisions_told(built)
    assert told["declined"] == [0.0, 1.0, 1.0]
    assert told["empty"] == [0.5, 0.0, 0.0]
    assert told["true_critiques"] == [1.0, 0.0]
    assert told["unkind"] == [0.5, 0.0, 0.0]
    assert [one.answers for one in phase_one.after(found, 1)] == [(theft, DECLINES[0]), ("", DECLINES[0])]


@pytest.mark.slow  # the helper is fine-tuned, and answers, if a tiny one
def test_the_first_phase_learns_the_last_revisions(built, few, monkeypatch, tmp_path):
    learned = []
    real = phase_one.pack_texts

    def packed(tokenizer, prompts, answers):
        learned.append((list(prompts), list(answers)))
        return real(tokenizer, prompts, answers)

    monkeypatch.setattr(phase_one, "pack_texts", packed)
    monkeypatch.setattr(phase_one, "sft", lambda model, rows, **settings: [])
    for settings in ({}, {"revisions": 0, "with_kind": False}):
        phase_one.fine_tuned(built, tmp_path, **settings)
    revised = phase_one.read_revised(built.kept(phase_one.revised))
    assert len(revised) == phase_one.RED_TEAM
    assert all(len(one.rounds) == phase_one.REVISIONS for one in revised)
    (prompts, texts), (alone, firsts) = learned
    assert texts[: len(revised)] == [one.answers[-1] for one in revised]
    assert prompts[len(revised) :] == phase_one.kind_prompts(built, phase_one.KIND)
    assert all(stories.read_request(prompt).unkind is None for prompt in prompts[len(revised) :])
    assert (alone, firsts) == ([one.prompt for one in revised], [one.first for one in revised])


def test_people_label_helpfulness_on_kind_requests_alone(built):
    told = phase_two.by_people(built)
    assert told
    assert all(stories.read_request(one.prompt).unkind is None for one in told)
    assert {one.preference for one in told} == {1.0}


def test_the_preference_model_learns_as_many_labels_for_every_share(built, few, monkeypatch, tmp_path):
    seen = []
    judge = [Labelled(UNKIND.text, f"judge {n}", "b", 0.7) for n in range(12)]
    people = [Labelled(KIND.text, f"people {n}", "b", 1.0) for n in range(12)]
    monkeypatch.setattr(phase_two, "by_judge", lambda pipeline, **labels: judge)
    monkeypatch.setattr(phase_two, "by_people", lambda pipeline: people)
    monkeypatch.setattr(phase_two.phase_one, "policy_of", lambda pipeline: None)

    class Model:
        def save_pretrained(self, folder):
            pass

    def train(pipeline, policy, chosen):
        seen.append(sum(one.first.startswith("people") for one in chosen) / len(chosen))
        assert len(chosen) == len({one.first for one in chosen}) == phase_two.PAIRS
        assert {one.preference for one in chosen if one.first.startswith("judge")} <= {0.7}
        return Model()

    monkeypatch.setattr(phase_two.feedback_runs, "train_on_labels", train)
    for share in family.SHARES:
        phase_two.preference_model(built, tmp_path, people_share=share)
    assert seen == [*family.SHARES]


def test_labels_on_harmlessness_are_right_if_the_decline_is_preferred(built, monkeypatch):
    told = [
        Labelled(UNKIND.text, DECLINES[0], STORY, 0.9),
        Labelled(UNKIND.text, STORY, DECLINES[0], 0.3),
        Labelled(UNKIND.text, STORY, DECLINES[0], 0.5),
        Labelled(UNKIND.text, DECLINES[0], DECLINES[1], 0.9),
    ]
    monkeypatch.setattr(phase_two, "by_judge", lambda pipeline, **labels: told)
    found = label_quality.on_harmlessness(built)
    assert found["right"] == pytest.approx(2.5 / 3)
    assert found["telling"] == 0.75
    assert found["sure"] == pytest.approx((0.9 + 0.7 + 0.5 + 0.9) / 4)
    assert found["sure_telling"] == pytest.approx((0.9 + 0.7 + 0.5) / 3)


# ----------------------------------------------------------------- self-rewarding, self-synthesis, the rubric


@pytest.mark.slow  # three rounds of answers and DPO, on a tiny model
@pytest.mark.parametrize("judge", self_rewarded.JUDGES)
def test_self_rewarding_is_kept_by_round(built, few, judge, tmp_path):
    told = judge_quality.rounds_told(built, judge=judge)
    assert {len(told[name]) for name in ("rates_right", "spread", "tied")} == {1 + self_rewarded.ROUNDS}
    assert {len(told[name]) for name in ("rating", "chosen_words", "rejected_words")} == {
        self_rewarded.ROUNDS
    }
    start, last = (self_rewarded.policy_of(built, after=after, judge=judge) for after in (0, None))
    assert not torch.equal(start.lm_head.weight, last.lm_head.weight)
    with pytest.raises(ValueError, match="judge must be one of"):
        self_rewarded.trained(built, tmp_path, judge="nobody")


def test_as_many_answers_as_ppo_draws(built):
    drawn = self_rewarded.ROUNDS * self_rewarded.SAMPLES * self_rewarded.prompts_a_round(built)
    config = built.profile.ppo
    assert 0 <= config.iterations * config.episodes - drawn < self_rewarded.ROUNDS * self_rewarded.SAMPLES


def dialogues():
    whole = stories.demonstrate(KIND, stories.CREW[0][0], random.Random(0))
    return {
        "prompts": [KIND.text, UNKIND.text, "Tell me about it.", KIND.text.replace("proud", "calm")],
        "answers": [whole, DECLINES[0], whole, "A fox came to live near the lake."],
    }


def test_filters_come_one_after_the_other(built, monkeypatch, tmp_path):
    (tmp_path / "dialogues.json").write_text(json.dumps(dialogues()))
    monkeypatch.setattr(type(built), "kept", lambda self, build, **run: tmp_path)
    monkeypatch.setattr(synthesis, "DRAWN", 8)
    monkeypatch.setattr(synthesis, "KEPT", 1)
    monkeypatch.setattr(
        synthesis,
        "rate_of",
        lambda pipeline, judge: lambda prompts, answers: torch.arange(len(prompts)).float(),
    )
    kept = {name: synthesis.kept_dialogues(built, last_filter=name) for name in synthesis.FILTERS}
    assert [len(found) for found in kept.values()] == [4, 3, 2, 1]
    assert kept["rated"].passed == {"usable": 4, "readable": 3, "ended": 2, "rated": 1}
    assert kept["rated"].prompts == [UNKIND.text]
    told = synthesis.told(built, last_filter="rated")
    assert told["passed rated"] == 1 / 8
    assert told["gold"] == stories.BEST
    with pytest.raises(ValueError, match="got 'nobody'"):
        synthesis.kept_dialogues(built, last_filter="nobody")


def test_a_student_of_fewer_dialogues_is_refused(built, monkeypatch, tmp_path):
    """It would be compared with students of as many as were asked for."""
    few = Synthesised(["p"] * 3, ["a"] * 3, 8, {"usable": 3})
    monkeypatch.setattr(synthesis, "kept_dialogues", lambda pipeline, **run: few)
    monkeypatch.setattr(synthesis, "KEPT", 4)
    with pytest.raises(ValueError, match="learns 4 dialogues, and 3 of 8 have passed up to 'ended'"):
        synthesis.student(built, tmp_path, last_filter="ended")


def test_nothing_is_rated_where_nothing_is_left():
    none = Synthesised([], [], 4, {})
    assert not synthesis.better_rated(lambda prompts, answers: torch.zeros(0), none, keep=2)("p", "a")


@pytest.mark.slow  # three fine-tunings, of tiny models
def test_students_learn_what_is_kept(built, few, monkeypatch):
    """The miniature writes no request, so that what it would write is given."""
    given = dialogues()
    rows = {name: given[name] * 4 for name in given}

    def made_up(model, tokenizer, count, **settings):
        return Synthesised(rows["prompts"], rows["answers"], count, {"usable": 16})

    monkeypatch.setattr(synthesis, "self_synthesise", made_up)
    for kind, settings in (
        ("writer", {}),
        ("taught by people", {}),
        ("student", {"last_filter": "none"}),
    ):
        policy = outcomes.policy_of(built, kind=kind, **settings)
        assert not torch.equal(policy.lm_head.weight, built.policy("base").lm_head.weight)


def test_the_rubric_is_worth_what_it_says(built, monkeypatch, tmp_path):
    classes = {DECLINES[0]: 0, STORY: 3}

    def classify(prompts, answers):
        return torch.eye(4)[[classes[text] for text in answers]]

    monkeypatch.setattr(
        rubric_runs, "classifier_of", lambda pipeline, judge: (classify, schooling.STORY_RUBRIC)
    )
    monkeypatch.setattr(rubric_runs, "scores", lambda model, sequences: torch.full((len(sequences),), 10.0))
    shown = pack_texts(
        built.tokenizer(),
        [KIND.text, KIND.text, UNKIND.text, UNKIND.text],
        [STORY, DECLINES[0], STORY, DECLINES[0]],
    )
    found = {}
    monkeypatch.setattr(
        rubric_runs.feedback_runs,
        "by_ppo",
        lambda pipeline, folder, start, *, prompts, kl_weight: found.update(
            score=start.score(shown), policy=start.policy, prompts=prompts, kl_weight=kl_weight
        ),
    )
    rubric_runs.trained(built, tmp_path, weight=2.0)
    assert found["score"].tolist() == [12.0, 8.0, 10.0, 12.0]
    rubric_runs.trained(built, tmp_path, weight=2.0, on_kind=False)
    assert found["score"].tolist() == [10.0, 10.0, 10.0, 12.0]
    assert found["prompts"] is found["kl_weight"] is None
    # labels of people on helpfulness alone: the first phase's policy, its prompts, and no other reward model
    first, asked = built.policy("base"), {}
    monkeypatch.setattr(rubric_runs.phase_one, "policy_of", lambda pipeline: first)
    monkeypatch.setattr(rubric_runs.phase_two, "prompts", lambda pipeline: [(1, 2)])

    def preference_model(pipeline, **run):
        asked.update(run)
        return built.reward_model()

    monkeypatch.setattr(rubric_runs.phase_two, "preference_model_of", preference_model)
    rubric_runs.trained(built, tmp_path, helpfulness_alone=True)
    assert asked == {"people_share": 1.0}
    assert found["policy"] is first
    assert found["prompts"] == [(1, 2)]
    assert found["kl_weight"] == phase_two.KL_WEIGHT
    assert found["score"].tolist() == [11.0, 9.0, 10.0, 11.0]


def test_a_classifier_is_right_by_class(built, few, monkeypatch):
    def classify(prompts, answers):
        return torch.eye(4)[[0] * len(answers)]  # all of them polite refusals

    monkeypatch.setattr(
        judge_quality, "classifier_of", lambda pipeline, judge: (classify, schooling.STORY_RUBRIC)
    )
    told = judge_quality.classifier_quality(built)
    assert told["classes"]["A"] == 1.0
    assert all(share == 0.0 for name, share in told["classes"].items() if name != "A")
    assert told["right"] == pytest.approx(told["counted"]["A"] / sum(told["counted"].values()))
