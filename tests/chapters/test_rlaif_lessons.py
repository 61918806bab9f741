"""What chapter 10's judges are taught, and how their answers are read: lessons, labels, calibration."""

import random
from collections import Counter
from dataclasses import replace

import pytest
import torch

from rlhf_mini.chapters.rlaif import judge_quality, judges, label_quality, labels, pairs, schooling
from rlhf_mini.chapters.rlaif.labels import Reading
from rlhf_mini.code_version import imported_modules
from rlhf_mini.data.judging import STORY_PAIRS, STORY_RATINGS, STORY_THOUGHTS
from rlhf_mini.methods.judge import Verdicts
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories.comparisons import judge_by
from rlhf_mini.worlds.stories.plots import DECLINES
from rlhf_mini.worlds.stories.principles import CONSTITUTION, GOOD, HARMLESSNESS, principle_named
from rlhf_mini.worlds.stories.rubric import RUBRIC

KIND, UNKIND = (stories.Request("fox", "kite", "proud", unkind=deed) for deed in (None, "steal"))


@pytest.fixture
def few(monkeypatch):
    """Few answers, all of demonstrators: the miniature's SFT model tells nothing that could be judged."""
    monkeypatch.setattr(schooling, "WRITTEN", {"general": 30, "red team": 30})
    monkeypatch.setattr(schooling, "DRAWN", {"general": 6, "red team": 6})
    monkeypatch.setattr(schooling, "OBEYED", 10)

    def drawn(pipeline, purpose, *, rows, count, held_out=False):
        prompts = schooling.requests_for(pipeline, purpose, rows=rows, count=count, held_out=held_out)
        return schooling.written(prompts, random.Random(0))

    monkeypatch.setattr(schooling, "drawn", drawn)


# ------------------------------------------------------------------------------------------------ the lessons


def test_red_team_requests_are_unkind_and_every_other_one_is_wrapped(built):
    asked = [
        stories.read_request(text)
        for text in schooling.requests_for(built, "a purpose", rows="red team", count=7)
    ]
    assert len({one.text for one in asked}) == 7
    assert all(one.unkind for one in asked)
    assert [one.length is not None or one.style is not None for one in asked] == [False, True] * 3 + [False]
    apart = schooling.requests_for(built, "a purpose", rows="red team", count=7, held_out=True)
    assert all(stories.is_held_out(one.hero, one.object) for one in map(stories.read_request, apart))
    with pytest.raises(ValueError, match="got 'nobody'"):
        schooling.requests_for(built, "a purpose", rows="nobody", count=1)


def test_the_pairs_of_the_annotators_are_not_taught(built, few):
    labelled = {(row["prompt"], row["chosen"]) for row in built.preferences("train")}
    labelled |= {(row["prompt"], row["rejected"]) for row in built.preferences("train")}
    rows = schooling.pool(built, "general")
    assert len(rows) == 36
    assert not {(row["prompt"], row[side]) for row in rows for side in ("first", "second")} & labelled
    assert rows == schooling.pool(built, "general")


def test_comparisons_come_in_their_shares_and_are_true(built, few):
    judged = schooling.comparisons(built, schooling.WHOLE, count=60)
    assert len(judged) == 21 + 9 + 15 + 15
    good = [one.comparison.prompt for one in judged if one.principle == GOOD.name]
    assert len(good) == 21 + 9
    red_team = {row["prompt"] for row in schooling.pool(built, "red team")}
    assert sum(prompt in red_team for prompt in good) == 9
    harmless = [one for one in judged if one.principle in {p.name for p in HARMLESSNESS}]
    assert len(harmless) >= 15
    assert {one.principle for one in harmless} == {"kindness", "declining"}
    for one in judged:
        shown = one.comparison
        truth = judge_by(principle_named(one.principle), shown.prompt, shown.first, shown.second)
        assert truth == float(one.first_better)
    assert [one.principle for one in judged] != sorted(one.principle for one in judged)
    assert 0.3 < sum(one.first_better for one in judged) / len(judged) < 0.7
    same = schooling.Part(1.0, "red team", (replace(GOOD, measure=lambda prompt, text: 0.0),))
    with pytest.raises(ValueError, match="no two answers of the rows 'red team'"):
        schooling.comparisons(built, [same], count=1)


def test_within_a_part_every_principle_that_tells_answers_apart_has_as_many_lessons(built, few):
    """Two in three pairs are told apart by coherence and one in ten by a refused request, and yet."""
    judged = schooling.comparisons(built, [schooling.Part(1.0, "general", CONSTITUTION)], count=47)
    counts = Counter(one.principle for one in judged)
    assert len(judged) == 47
    assert max(counts.values()) - min(counts.values()) <= 1
    assert {"coherence", "ending", "wishes"} <= set(counts)
    rows = schooling.pool(built, "general")
    silent = {
        principle.name
        for principle in CONSTITUTION
        if all(judge_by(principle, row["prompt"], row["first"], row["second"]) == 0.5 for row in rows)
    }
    assert set(counts) == {principle.name for principle in CONSTITUTION} - silent
    # more than the rows have: gone through again, in another order
    coherence = schooling.Part(1.0, "general", (principle_named("coherence"),))
    again = schooling.comparisons(built, [coherence], count=80)
    assert len(again) == 80
    assert len({(one.comparison.first, one.comparison.second) for one in again}) > len(rows)


def test_a_helper_has_seen_unkind_wishes_fulfilled(built, few):
    rows = schooling.obeyed(built)
    asked = [stories.read_request(row["prompt"]) for row in rows]
    told = [stories.read_story(row["completion"]) for row in rows]
    assert len(rows) == 10
    assert all(one.unkind for one in asked)
    assert not any(one.declined for one in told)
    assert sum(one.unkind for one in told) > 5
    assert not any(stories.is_held_out(one.hero, one.object) for one in asked)
    assert any(one.length or one.style for one in asked)
    lessons = schooling.SKILLS["helping"](built, 8)
    assert all(row in lessons for row in rows)


@pytest.mark.parametrize("skill", schooling.SKILLS)
def test_every_skill_has_lessons_with_true_replies(built, few, skill):
    rows = schooling.SKILLS[skill](built, 40)
    demonstrations = built.profile.demonstrations
    extra = {"helping": demonstrations + 10, "answering and rating": demonstrations}.get(skill, 0)
    assert len(rows) == 40 + extra
    assert all(set(row) == {"prompt", "completion"} for row in rows)
    replies = {row["completion"] for row in rows[extra:]}
    if skill.startswith("choosing"):
        assert replies == set(STORY_PAIRS.choices)
    if skill == "thinking":
        assert all(STORY_THOUGHTS.opening in reply and reply.startswith("A: ") for reply in replies)
    if skill == "classifying":
        assert {"A", "C", "D"} <= replies <= set(RUBRIC)
    if skill == "answering and rating":
        assert replies <= set(STORY_RATINGS.choices)
    if skill == "helping":
        assert not any(stories.read_story(row["completion"]).declined for row in rows[:extra])
        assert any(text in DECLINES for text in replies)  # revisions decline


def test_a_larger_school_begins_with_other_lessons_of_the_same_kind(built, few):
    """Judges of more and of fewer lessons are taught about the same rows."""
    small, large = (schooling.comparisons(built, schooling.WHOLE, count=count) for count in (20, 50))
    shown = {(one.comparison, one.principle) for one in large}
    assert {(one.comparison, one.principle) for one in small} <= shown


# ------------------------------------------------------------------------------------------------- the labels


def test_readings_by_hand():
    verdicts = Verdicts(torch.tensor([0.9, 0.6, 0.5]), torch.tensor([0.3, 0.8, 0.5]))
    # the means of p and 1 − p': (0.9 + 0.7)/2, (0.6 + 0.2)/2, (0.5 + 0.5)/2
    expected = {
        (): [0.8, 0.4, 0.5],
        ("one",): [0.9, 0.6, 0.5],
        ("hard",): [1.0, 0.0, 0.5],
        ("clamp",): [0.6, 0.4, 0.5],
    }
    for names, numbers in expected.items():
        reading = Reading(both_orders="one" not in names, hard="hard" in names, clamp="clamp" in names)
        torch.testing.assert_close(reading(verdicts), torch.tensor(numbers))


def test_annotated_pairs_stand_as_they_were_shown():
    row = {"prompt": "p", "chosen": "a", "rejected": "b", "gold_chosen": 1.0, "gold_rejected": 3.0}
    won, lost = pairs.in_order_shown([{**row, "first_won": True}, {**row, "first_won": False}])
    assert (won["first"], won["second"], won["lead"]) == ("a", "b", -2.0)
    assert (lost["first"], lost["second"], lost["lead"]) == ("b", "a", 2.0)


def test_settings_are_chosen_on_other_pairs_of_the_same_kinds():
    """Every other red-team request is wrapped: a rehearsal on every fourth would see none of them."""
    rows = ["plain", "wrapped"] * 40
    rehearsed, tables = (pairs.part([*enumerate(rows)], rehearsal=flag) for flag in (True, False))
    assert sorted([*rehearsed, *tables]) == [*enumerate(rows)]
    assert not {*rehearsed} & {*tables}
    assert len(rehearsed) == 20
    for found in (rehearsed, tables):
        assert sum(kind == "wrapped" for _, kind in found) == len(found) / 2


def test_no_request_of_the_rehearsal_is_one_of_the_tables(built):
    rehearsed, tables = (pairs.held_out_pairs(built, rehearsal=flag) for flag in (True, False))
    assert not {row["prompt"] for row in rehearsed} & {row["prompt"] for row in tables}
    assert len(rehearsed) + len(tables) == built.profile.test_pairs


def test_a_new_measure_trains_nothing_anew():
    """What is trained is addressed by all that it imports: by nothing of what is said of it afterwards."""
    rooms = "rlhf_mini.chapters.rlaif."
    told = {f"{rooms}{name}" for name in ("judge_quality", "label_quality", "outcomes", "measures", "family")}
    trained = ("feedback_runs", "phase_two", "rubric_runs", "self_rewarded", "synthesis")
    for name in trained:
        assert not told & set(imported_modules(rooms + name)), name


def test_calibration_by_hand():
    """Four favourites at 0.75, three of them right: no error; at 0.95 all and three right: 0.2."""
    truth = torch.tensor([True, True, False, True])
    stated = torch.tensor([0.75, 0.75, 0.25, 0.25])  # the last favours the second, wrongly
    assert judge_quality.calibration_error(stated, truth) == pytest.approx(0.0, abs=1e-6)
    surer = torch.tensor([0.95, 0.95, 0.05, 0.05])
    assert judge_quality.calibration_error(surer, truth) == pytest.approx(0.2, abs=1e-6)


def truthful(prompts, answers):
    return torch.tensor([stories.gold(*pair).total for pair in zip(prompts, answers, strict=True)])


def annotated(count=24):
    prompts = [one.text for one in stories.draw_requests(count, seed=3, held_out=True)]
    rows = schooling.written(prompts, random.Random(1))
    return stories.annotate(rows, seed=0)


def test_ratings_are_judged_by_the_order_they_give():
    rows = pairs.in_order_shown(annotated())
    told = judge_quality.of_ratings(truthful, rows)
    assert told["gold_right"] == 1.0
    against = judge_quality.of_ratings(lambda prompts, answers: -truthful(prompts, answers), rows)
    assert against["gold_right"] == 0.0
    level = judge_quality.of_ratings(lambda prompts, answers: torch.zeros(len(prompts)), rows)
    assert (level["gold_right"], level["tied"], level["spread"]) == (0.5, 1.0, 0.0)


def ask_truthfully(bias):
    """A judge that knows gold, and adds a preference for the place shown first."""

    def ask(comparisons):
        lead = [
            float(truthful([one.prompt], [one.first]).sum() - truthful([one.prompt], [one.second]).sum())
            for one in comparisons
        ]
        return torch.sigmoid(torch.tensor(lead) + bias)

    return ask


def test_both_orders_cure_a_place_that_is_liked(built, monkeypatch):
    rows = pairs.in_order_shown(annotated())
    monkeypatch.setattr(judge_quality, "held_out_pairs", lambda pipeline, *, rehearsal: rows)
    fair, biased = (
        judge_quality.against_people(built, ask_truthfully(bias), rehearsal=False) for bias in (0.0, 50.0)
    )
    assert fair["gold_right"] == fair["gold_right_one_order"] == 1.0
    assert fair["gold_same_place"] == 0.0
    assert biased["gold_right_one_order"] < 1.0
    assert biased["gold_same_place"] == 1.0
    # 1 − p of the other order takes the liking back: what is left is float32's rounding near 1
    milder = judge_quality.against_people(built, ask_truthfully(5.0), rehearsal=False)
    assert milder["gold_right_one_order"] < milder["gold_right"] == 1.0
    chosen = torch.tensor([row["first_won"] for row in rows])
    assert fair["with_annotator"] == pytest.approx(
        float(((torch.tensor([row["lead"] for row in rows]) > 0) == chosen).float().mean()), abs=0.2
    )


@pytest.mark.parametrize("people", [True, False])
def test_a_reward_model_is_right_where_gold_agrees(built, monkeypatch, people):
    rows = pairs.in_order_shown(annotated())
    monkeypatch.setattr(label_quality, "held_out_pairs", lambda pipeline, *, rehearsal: rows)
    asked = []
    monkeypatch.setattr(
        label_quality.feedback_runs, "reward_model_of", lambda pipeline, **run: asked.append(run) or "ours"
    )
    sign = {"ours": 1.0}  # the other is the pipeline's own

    def scores(model, sequences):
        texts = zip(*(decoded(built, sequences, part) for part in ("prompt", "response")), strict=True)
        return sign.get(model, -1.0) * torch.tensor([stories.gold(*pair).total for pair in texts])

    monkeypatch.setattr(label_quality, "scores", scores)
    monkeypatch.setattr(type(built), "reward_model", lambda self: "theirs")
    told = label_quality.of_reward_model(built, people=people, hard=True)
    assert told["gold_right"] == (0.0 if people else 1.0)
    assert asked == ([] if people else [{"judge": None, "hard": True}])
    right = sum((row["lead"] > 0) == row["first_won"] for row in rows if abs(row["lead"]) > 1e-9)
    ties = sum(abs(row["lead"]) <= 1e-9 for row in rows)
    agreed = (right + ties / 2) / len(rows)
    assert told["with_annotator"] == pytest.approx(1 - agreed if people else agreed, abs=1e-6)


def decoded(pipeline, sequences, part):
    mask = sequences.response if part == "response" else sequences.mask & ~sequences.response
    words = pipeline.tokenizer()
    rows = zip(sequences.tokens, mask, strict=True)
    return [words.decode(tokens[kept].tolist(), skip_special_tokens=True).strip() for tokens, kept in rows]


def test_the_judge_s_labels_are_kept_in_both_orders_and_read_as_asked(built, monkeypatch):
    rows = pairs.in_order_shown(annotated(12))
    for module in (labels, label_quality):
        monkeypatch.setattr(module, "annotated_pairs", lambda pipeline: rows)
    asked = []

    def ask_of(pipeline, choice):
        asked.append(choice)
        return ask_truthfully(2.0)

    monkeypatch.setattr(labels, "ask_of", ask_of)
    judge = {"examples": 1}
    soft = labels.labels_of(built, judge=judge)
    one, hard = (
        labels.labels_of(built, judge=judge, **how) for how in ({"both_orders": False}, {"hard": True})
    )
    assert asked == [judge]  # asked once, read three times
    assert [(label.prompt, label.first) for label in soft] == [(row["prompt"], row["first"]) for row in rows]
    lead = torch.tensor([row["lead"] for row in rows])
    both = (torch.sigmoid(lead + 2) + 1 - torch.sigmoid(2 - lead)) / 2
    torch.testing.assert_close(torch.tensor([label.preference for label in soft]), both)
    torch.testing.assert_close(torch.tensor([label.preference for label in one]), torch.sigmoid(lead + 2))
    assert {label.preference for label in hard} <= {0.0, 0.5, 1.0}
    told = label_quality.on_annotated_pairs(built, judge=judge)
    assert told["gold_right"] == 1.0
    assert label_quality.on_annotated_pairs(built, judge=judge, hard=True)["doubt"] < told["doubt"]


def test_any_model_of_the_hub_may_judge(built, monkeypatch):
    loaded = []
    monkeypatch.setattr(judges, "load_judge", lambda name: loaded.append(name) or name)
    told = {"asking": [], "rating": [], "classifying": []}
    for name, calls in told.items():
        monkeypatch.setattr(judges, name, lambda *given, calls=calls: calls.append(given) or print)
    judges.ask_of(built, "someone/some-model")
    judges.rate_of(built, "someone/some-model")
    _, rubric = judges.classifier_of(built, "someone/some-model")
    assert loaded == ["someone/some-model"] * 3
    assert told["asking"] == [("someone/some-model", judges.CHAT_PAIRS)]
    assert told["rating"][0][:2] == ("someone/some-model", judges.CHAT_RATINGS)
    assert rubric.question != schooling.STORY_RUBRIC.question
