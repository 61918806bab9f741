"""Chapter 08's runs on the miniature pipeline: sums, stories, what is said of a policy, figures."""

import json
import random
from dataclasses import replace

import pytest
import torch

import rlhf_mini.methods.hir as hir_module
from rlhf_mini.chapters.claims import records_of
from rlhf_mini.chapters.hindsight import (
    arithmetic,
    bug_hunt,
    family,
    figures,
    measures,
    replay,
    story_measures,
    story_runs,
    sum_counts,
    sum_runs,
)
from rlhf_mini.evaluation.records import write_records
from rlhf_mini.methods.hir import Hindsight, in_batch, two_way
from rlhf_mini.reader import Level
from rlhf_mini.worlds import stories, sums
from rlhf_mini.worlds.sums import RIGHT, WRONG
from tests.chapters.stand_ins import few_sums


@pytest.fixture
def few(monkeypatch):
    """Small numbers for chapter 08: nothing is learned."""
    few_sums(monkeypatch)
    monkeypatch.setattr(sum_runs, "BATCH", 8)
    monkeypatch.setattr(sum_runs, "PPO_EPISODES", 56)
    monkeypatch.setattr(bug_hunt, "PROBLEMS", 16)
    monkeypatch.setattr(story_runs, "BATCH", 2)


# -------------------------------------------------------------------------------------------------- sums


def test_no_problem_is_both_learned_and_judged(built):
    def unordered(problems):
        return {tuple(sorted(one.numbers)) for one in problems}

    learned = arithmetic.problems(built)
    tables = arithmetic.problems(built, held_out=True)
    rehearsed = arithmetic.problems(built, held_out=True, rehearsal=True)
    assert len(learned) == arithmetic.PROBLEMS
    assert len(tables) + len(rehearsed) == arithmetic.HELD_OUT
    assert not unordered(learned) & unordered([*tables, *rehearsed])
    assert not {one.text for one in tables} & {one.text for one in rehearsed}


PROBLEM, SOLVED, SLIP = "27+58", "7+8=15 2+5+1=8 =85", "7+8=16 2+5+1=8 =86"


def test_scripts_of_sums():
    assert sum_runs.by_verdict(RIGHT, PROBLEM, SLIP) == [Hindsight(PROBLEM, WRONG, SLIP, RIGHT)]
    assert sum_runs.only_right(RIGHT, PROBLEM, SLIP) == []
    assert sum_runs.only_right(RIGHT, PROBLEM, "=85") == [Hindsight(PROBLEM, RIGHT, "=85")]
    assert sum_runs.as_asked(RIGHT, PROBLEM, SLIP) == [Hindsight(PROBLEM, RIGHT, SLIP)]
    parts = sum_runs.by_verdict_and_steps(RIGHT, PROBLEM, SLIP)
    assert [(row.output, row.fulfilled) for row in parts] == [
        (SLIP, WRONG),
        ("7+8=16 ", WRONG),
        ("2+5+1=8 ", RIGHT),
        ("=86", RIGHT),
    ]


def test_the_filter_s_steps_are_the_right_ones_of_what_is_wrong():
    assert sum_runs.right_steps(RIGHT, PROBLEM, SOLVED) == [Hindsight(PROBLEM, RIGHT, SOLVED)]
    assert sum_runs.right_steps(RIGHT, PROBLEM, SLIP) == [
        Hindsight(PROBLEM, RIGHT, "2+5+1=8 ", given="7+8=16 ", ended=False),
        Hindsight(PROBLEM, RIGHT, "=86", given="7+8=16 2+5+1=8 "),
    ]


def test_a_solution_is_learned_under_the_sum_that_it_solves():
    assert sum_runs.by_problem(PROBLEM, "", SOLVED) == [Hindsight("", PROBLEM, SOLVED)]
    misread = "7+7=14 2+5+1=8 =84"
    assert sum_runs.by_problem(PROBLEM, "", misread) == [Hindsight("", "27+57", misread, PROBLEM)]
    assert sum_runs.by_problem(PROBLEM, "", SLIP) == []  # 7 + 8 is not 16, of whatever sum
    assert sum_runs.by_problem(PROBLEM, "", "7+8+1=16 1+2+3=6 =66") == []  # of three numbers
    assert sum_runs.right_throughout(PROBLEM, "", SOLVED) == [Hindsight("", PROBLEM, SOLVED)]
    assert sum_runs.right_throughout(PROBLEM, "", misread) == []
    assert sum_runs.right_throughout(PROBLEM, "", "7+8=16 2+5+1=8 =85") == []  # right by accident
    script = sum_runs.SCRIPTS["problem"]
    assert script.prompt(PROBLEM) == "right 27+58" == sum_runs.SCRIPTS["verdict"].prompt(PROBLEM)


def test_what_is_held_out_is_not_learned_by_hindsight_either():
    (unseen,) = sums.draw_sums(1, arithmetic.LEVEL, seed=0, held_out=True)
    assert sum_runs.by_problem(PROBLEM, "", unseen.solution) == []


def test_with_two_instructions_a_batch_s_contrast_is_the_two_way_one():
    rows = [
        *sum_runs.by_verdict(RIGHT, PROBLEM, SLIP),
        *sum_runs.by_verdict(RIGHT, PROBLEM, SOLVED),
    ]
    assert [set(names) for names in in_batch(rows)] == [set(names) for names in two_way(rows)]


def test_terms_that_are_not_named_are_left_out():
    config = sum_runs.config_of(1e-3, {"contrast_weight": 0.5})
    assert (config.contrast_weight, config.entropy_weight, config.label_smoothing) == (0.5, 0.0, 0.0)
    config = sum_runs.config_of(1e-3, family.PUBLISHED, rounds=3, epochs=4)
    assert (config.contrast_weight, config.entropy_weight, config.label_smoothing) == (1.0, 0.001, 0.2)
    assert (config.rounds, config.epochs) == (3, 4)


def test_a_share_is_of_right_answers_to_held_out_problems(built, few, monkeypatch):
    """The one who answers here adds up every second problem rightly."""
    told = []

    def answers(policy, tokenizer, prompts, **settings):
        told.append((prompts, settings))
        texts = [sums.read_sum(prompt).solution for prompt in prompts]
        return [text if place % 2 else "=0" for place, text in enumerate(texts)]

    monkeypatch.setattr(arithmetic, "answer", answers)
    share = arithmetic.share_right(built, built.policy("sft"), instruction=WRONG, temperature=0.3)
    assert share == 0.5
    (prompts, settings), held_out = told[0], arithmetic.problems(built, held_out=True)
    assert prompts == [f"wrong {one.text}" for one in held_out]
    assert settings["temperature"] == 0.3


def solutions(policy, tokenizer, prompts, **settings):
    """Every second solution is right, the others have a slip in their answer."""
    texts = [sums.read_sum(prompt).solution for prompt in prompts]
    return [text if place % 2 else text + "0" for place, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("script", "shares"),
    [("verdict", 1), ("right only", 0.5), ("no script", 1), ("problem", 0.5), ("right steps", 1.5)],
)
def test_a_run_on_sums_says_what_each_round_did(built, few, monkeypatch, script, shares):
    """`shares`: rows for each solution. Of a wrong one here both steps are right, and its answer is not."""
    monkeypatch.setattr(hir_module, "answer", solutions)
    found = sum_runs.relabelled(built, script=script, rounds=2)
    assert len(found["by_round"]) == 1 + 2
    assert found["rows"] == [shares * arithmetic.PROBLEMS] * 2
    assert all(0 <= found[name] <= 1 for name in ("right", "greedy", "right_if_asked_for_wrong"))


def test_terms_change_a_run_on_sums(built, few, monkeypatch):
    """After a few steps nobody could read the answers: what is compared is weights."""
    monkeypatch.setattr(hir_module, "answer", solutions)
    ends = []
    monkeypatch.setattr(
        arithmetic, "judged", lambda pipeline, policy, **_: ends.append(policy.lm_head.weight.detach()) or {}
    )
    for terms in ({}, family.CONTRAST, family.ENTROPY, family.SMOOTHED):
        sum_runs.relabelled(built, script="verdict", rounds=1, terms=terms)
    assert all(not torch.equal(ends[0], other) for other in ends[1:])


def test_a_round_without_rows_teaches_nothing(built, few):
    """Broken off after eight characters, no solution is of any sum."""
    found = sum_runs.relabelled(built, script="problem", rounds=2)
    assert found["rows"] == [0, 0]
    assert found["by_round"] == [0, 0, 0]


def test_what_each_script_keeps_is_counted(built, few, monkeypatch):
    """Every second one is right; of the others a quarter by accident, a quarter of another sum."""

    def told(policy, tokenizer, prompts, **settings):
        texts = []
        for place, prompt in enumerate(prompts):
            one = sums.read_sum(prompt)
            other = next(
                found
                for shift in range(1, 80)
                if not sums.is_held_out(
                    found := sums.Sum((10 + (one.numbers[0] + shift) % 90, one.numbers[1]))
                )
            )
            steps = one.solution.rsplit("=", 1)[0]
            wrong = [f"1+1=3 {steps}={one.answer}", other.solution, one.solution + "0", "nothing"]
            texts.append(one.solution if place % 2 else wrong[place // 2 % 4])
        return texts

    monkeypatch.setattr(sum_counts, "answer", told)
    found = sum_counts.kept(built)
    assert 28 + 14 <= found.pop("some step is right") <= 28 + 21
    assert found == {
        "the answer is right": 28 + 7,
        "every step is right": 28,
        "it solves some sum": 28 + 7,
    }


def test_ppo_on_sums_looks_as_often(built, few):
    found = sum_runs.by_ppo(built, kl_weight=0.01, rounds=2)
    assert len(found["by_round"]) == 1 + 2
    assert 0 <= found["right"] <= 1


def test_a_start_is_kept_and_frozen(built, few):
    start = arithmetic.start_of(built)
    assert not any(weight.requires_grad for weight in start.parameters())
    again = arithmetic.start_of(built)
    assert all(torch.equal(a, b) for a, b in zip(start.parameters(), again.parameters(), strict=True))
    assert set(sum_runs.untrained(built)) == {"right", "greedy", "right_if_asked_for_wrong"}


def test_the_starts_differ_in_their_epochs(built, few, monkeypatch, tmp_path):
    monkeypatch.setattr(arithmetic, "EPOCHS", {arithmetic.RARELY: 1, arithmetic.OFTEN: 2})
    weights = []
    for start in arithmetic.EPOCHS:
        arithmetic.weak_start(built, tmp_path / start, start=start)
        model = arithmetic.AutoModelForCausalLM.from_pretrained(tmp_path / start)
        weights.append(model.lm_head.weight)
    assert not torch.equal(*weights)


@pytest.mark.parametrize("way", ["wrong", "right"])
def test_the_hunt_s_symptoms_are_shares_and_a_loss(built, few, way):
    found = bug_hunt.symptoms(built, way=way)
    assert set(found) == set(bug_hunt.MEASURES)
    assert found["first_loss"] > 0
    assert all(0 <= found[name] <= 1 for name in ("judged", "sampled", "copied"))


# ----------------------------------------------------------------------------------------------- stories


def tellers(monkeypatch):
    """Whoever draws answers in a round draws demonstrations: half of another request."""

    def answers(policy, tokenizer, prompts, **settings):
        rng, texts = random.Random(0), []
        for place, prompt in enumerate(prompts):
            asked = stories.read_request(prompt.removesuffix(" (good)"))
            told = asked if place % 2 else replace(asked, mood="proud" if asked.mood != "proud" else "calm")
            texts.append(stories.demonstrate(told, stories.CREW[0][0], rng))
        return texts

    monkeypatch.setattr(hir_module, "answer", answers)


@pytest.mark.parametrize(
    ("script", "terms"),
    [("request", family.PUBLISHED), ("request, as asked only", {}), ("verdict", family.CONTRAST)],
)
def test_a_run_on_stories_is_kept_by_round_and_judged(built, few, monkeypatch, script, terms):
    tellers(monkeypatch)
    monkeypatch.setattr(story_runs, "samples_a_round", lambda pipeline: 12)
    monkeypatch.setattr(story_runs, "ROUNDS", 2)
    monkeypatch.setattr(story_measures, "ROUNDS", 2)
    run = {"script": script, "terms": terms, "epochs": 2}
    found = story_measures.outcome(built, **run)
    assert {*measures.STORIES_TOLD} <= set(found)
    assert len(found["by_round"]) == 1 + 2
    assert found["by_round"][-1] == found["gold"]
    assert "rows" in json.loads((built.kept(story_runs.trained, **run) / "log.json").read_text())[0]
    first, last = (story_runs.policy_of(built, after=after, **run) for after in (1, 2))
    start = story_runs.policy_of(built, after=0, **run)
    assert torch.equal(start.lm_head.weight, built.policy("sft").lm_head.weight)
    assert not torch.equal(first.lm_head.weight, last.lm_head.weight)
    if script == "verdict":
        poor = story_measures.asked_for_poor(built, after=2, **run)
        assert set(poor) == set(found) - {"by_round"}
        assert poor["kl_k1"] != found["kl_k1"]


def test_as_many_stories_as_ppo_draws(built):
    config = built.profile.ppo
    assert story_runs.samples_a_round(built) == config.iterations * config.episodes // story_runs.ROUNDS


def test_ppo_by_script_is_kept(built):
    found = story_measures.ppo_outcome(built, kl_weight=0.05)
    assert {*measures.STORIES_TOLD} - {"by_round"} <= set(found)


def test_requests_are_held_out_and_those_of_the_rehearsal_are_others(built):
    tables, rehearsed = (story_measures.requests(built, rehearsal=flag) for flag in (False, True))
    assert len(tables) == story_measures.JUDGED * built.profile.test_prompts
    assert all(stories.is_held_out(one.hero, one.object) for one in [*tables, *rehearsed])
    assert tables != rehearsed


def test_a_policy_is_nowhere_far_from_itself_whatever_it_is_asked_with(built):
    """The SFT model's own answers to plain requests: KL 0. Asked with other words, they are others."""
    asked = story_measures.requests(built)
    plain = [one.text for one in asked]
    same = story_measures.judged(built, built.policy("sft"), prompts=plain, asked=asked)
    assert float(same.kl.k1.abs().max()) < 1e-3
    assert same.requests == asked
    other = story_measures.judged(
        built, built.policy("sft"), prompts=[f"{text} (good)" for text in plain], asked=asked
    )
    assert float(other.kl.k1.abs().max()) > 1e-3
    assert all(len(verdict.answers) == len(asked) == len(verdict.proxy) for verdict in (same, other))


def test_four_ways_are_the_own_the_named_and_the_next():
    rows = [
        Hindsight("", name, "x", against)
        for name, against in (("a", "z"), ("b", None), ("a", None), ("c", None))
    ]
    assert story_runs.four_way([*rows, Hindsight("", "d", "x")]) == [
        ["a", "z", "b", "c"],
        ["b", "a", "c", "d"],
        ["a", "c", "d", "b"],
        ["c", "d", "a", "b"],
        ["d", "a", "b", "c"],
    ]
    with pytest.raises(ValueError, match="the batch has 3 instructions"):
        story_runs.four_way(rows[1:])


def test_what_is_asked_of_the_best():
    assert story_runs.SCRIPTS["request"].prompt("a story") == "a story"
    assert story_runs.SCRIPTS["verdict"].prompt("a story") == "a story (good)"


# ------------------------------------------------------------------------------------- tables and figures


def test_every_run_has_a_name_of_its_own():
    for among in family.EXPERIMENTS.values():
        names = [one.name for one in among]
        assert len(names) == len(set(names))
        assert family.run(names[-1], among=among) is among[-1]
    with pytest.raises(ValueError, match="no run is called 'none'"):
        family.run("none")


@pytest.fixture
def on_record(built, monkeypatch, tmp_path):
    """Records of two seeds at the quick profile, with numbers that can be told apart."""
    monkeypatch.setenv("RLHF_MINI_RESULTS", str(tmp_path))
    rows = {}
    for number, one in enumerate(family.SUMS):
        told = {"right": number / 100, "greedy": 0.5, "right_if_asked_for_wrong": 0.1}
        rows["sums", one.name] = {**told, "by_round": [0.1, 0.2, number / 100]}
    for number, one in enumerate(family.STORIES):
        rows["stories", one.name] = {**dict.fromkeys(measures.STORIES_TOLD, 0.25), "gold": float(number)}
    records = [
        replace(record, seed=seed, profile="quick")
        for seed in (1, 0)
        for record in records_of("08", built, rows)
    ]
    write_records("chapter_08", records)


def test_tables_are_in_the_given_order_and_in_per_cent(on_record):
    text = figures.table("sums", (family.OURS, "start"), figures.SUM_COLUMNS).text
    assert text.index(family.OURS) < text.index("start")
    assert "50" in text
    assert [record.seed for record in figures.recorded("sums", method=family.OURS)] == [0, 1]
    stories_table = figures.table("stories", ("SFT", family.OURS), figures.STORY_COLUMNS).text
    place = [one.name for one in family.STORIES].index(family.OURS)
    assert f"{place}.00" in stories_table


def test_curves_by_round(on_record):
    curves = figures.recorded_rounds("sums", {family.OURS: "hindsight", "filtered": "filtered"})
    end = [one.name for one in family.SUMS].index(family.OURS) / 100
    assert curves["hindsight"] == [[0.1, 0.2, end]] * 2
    picture = figures.round_curves(curves, ylabel="share right", levels=[Level("start", 0.3)])
    assert f"hindsight from 0.10 to {end:.2f}" in picture.text
    assert "Seeds: 2" in picture.text
    with pytest.raises(ValueError, match="at most 5 runs"):
        figures.round_curves({str(number): [[0.0, 1.0]] for number in range(6)}, ylabel="share")


def test_the_grid_s_figure_says_where_it_ends():
    found = {f"reached {k}": [0.1, 0.2 + k / 10] for k in replay.RELABELS}
    text = figures.replay_curves([found, found]).text
    assert "20% with 0, 30% with 1, 60% with 4" in text
    assert "seeds: 2" in text
