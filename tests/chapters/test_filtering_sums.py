"""Chapter 09 on sums: the start, the checker, what is said of a policy, and where rounds begin."""

import pytest
import torch

from rlhf_mini.chapters.filtering import arithmetic
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import sums
from rlhf_mini.worlds.sums import RIGHT, Sum


@pytest.fixture
def light(miniature, tmp_path):
    """The miniature pipeline; sums need none of its stages."""
    return Pipeline(miniature, cache=tmp_path)


@pytest.fixture
def short(light, monkeypatch):
    """The same with few problems and solutions."""
    monkeypatch.setattr(arithmetic, "PROBLEMS", 56)
    monkeypatch.setattr(arithmetic, "HELD_OUT", 12)
    monkeypatch.setattr(arithmetic, "START_EPOCHS", 1)
    monkeypatch.setattr(arithmetic, "DEMONSTRATIONS", 70)
    monkeypatch.setattr(arithmetic, "LOOKS", 16)
    monkeypatch.setattr(arithmetic, "BATCH", 16)
    return light


# --------------------------------------------------------------------------------- the start


def test_demonstrations_take_the_numbers_in_either_order_and_some_go_wrong(light):
    prompts, solutions = arithmetic.demonstrations(light)
    assert len(prompts) == len(solutions) == len(set(prompts)) == arithmetic.DEMONSTRATIONS
    verdicts = [sums.relabel(prompt, text) == RIGHT for prompt, text in zip(prompts, solutions, strict=True)]
    # 2,500 draws: the standard error is 0.01, and four of them are allowed for
    assert sum(verdicts) / len(verdicts) == pytest.approx(1 - arithmetic.ERROR_RATE, abs=0.04)
    pairs = [pair for pair, good in zip(zip(prompts, solutions, strict=True), verdicts, strict=True) if good]
    asked = [sums.read_sum(prompt).numbers for prompt, _ in pairs]
    ways = [(Sum(numbers).solution, Sum(numbers[::-1]).solution) for numbers in asked]
    differing = [(text, *both) for (_, text), both in zip(pairs, ways, strict=True) if both[0] != both[1]]
    assert all(text in (first, second) for text, first, second in differing)
    # over 1,000 fair coins: the standard error is below 0.016
    assert sum(text == second for text, _, second in differing) / len(differing) == pytest.approx(
        0.5, abs=0.064
    )
    assert not any(sums.is_held_out(sums.read_sum(prompt)) for prompt in prompts)


def test_what_is_asked_for_in_the_rounds_was_demonstrated(light):
    asked = [problem.text for problem in arithmetic.problems(light)]
    assert asked == arithmetic.demonstrations(light)[0][: arithmetic.PROBLEMS]


def test_a_right_sum_in_any_order_has_the_right_answer():
    by_column = "7+8=15 5+2+1=8 =85"  # each column in an order of its own
    for text in (Sum((27, 58)).solution, Sum((58, 27)).solution, by_column):
        assert sums.relabel("27+58", text) == RIGHT


def test_problems_for_rehearsal_are_others(light):
    judged, rehearsed = (
        arithmetic.problems(light, held_out=True, rehearsal=rehearsal) for rehearsal in (False, True)
    )
    assert len(judged) == len(rehearsed) == arithmetic.HELD_OUT // 2
    assert not set(judged) & set(rehearsed)
    assert all(sums.is_held_out(problem) for problem in judged + rehearsed)


def test_the_checker_asks_for_the_answer_alone():
    words = arithmetic.tokenizer()
    texts = ["8+7=15 5+2+1=8 =85", "=85", "7+8=15 2+5+1=8 =86", "7+8=16 2+5+1=8 =85"]
    scores = arithmetic.checker()(pack_texts(words, ["27+58"] * 4, texts))
    assert scores.tolist() == [1.0, 1.0, 0.0, 1.0]


# --------------------------------------------------------------------------------- what is said of a policy


def test_pass_at_k_by_hand():
    right = torch.tensor([[True, False, False, False], [True, True, True, True]])
    assert arithmetic.pass_at(right, 1) == pytest.approx((1 / 4 + 1) / 2)
    assert arithmetic.pass_at(right, 2) == pytest.approx((1 - 3 / 6 + 1) / 2)
    assert arithmetic.pass_at(right, 4) == 1.0
    for k in (0, 5):
        with pytest.raises(ValueError, match="k must be from 1 to the 4 solutions"):
            arithmetic.pass_at(right, k)


def test_how_differently_right_solutions_are_written():
    everything = torch.ones(1, 4, dtype=torch.bool)
    assert arithmetic.differ([["a", "a", "a", "a"]], everything) == 0.0
    assert arithmetic.differ([["a", "b", "c", "d"]], everything) == 1.0
    assert arithmetic.differ([["a", "a", "b", "b"]], everything) == pytest.approx(4 / 6)
    # wrong solutions count nothing, and a problem with one right solution is left out
    right = torch.tensor([[True, True, False, False], [True, False, False, False]])
    assert arithmetic.differ([["a", "b", "c", "d"], ["a", "b", "c", "d"]], right) == 1.0
    assert arithmetic.differ([["a", "b", "c", "d"]], ~everything) == 0.0


def test_differing_is_estimated_without_bias():
    """Two ways, 3 to 1: two draws differ with probability 2 · 3/4 · 1/4, whether 3 or 12 are drawn."""
    generator = torch.Generator().manual_seed(0)
    for drawn in (3, 12):
        rows = (torch.rand(4000, drawn, generator=generator) < 0.25).long().tolist()
        found = arithmetic.differ([[str(way) for way in row] for row in rows], torch.ones(4000, drawn).bool())
        assert found == pytest.approx(3 / 8, abs=0.03)  # the standard error of 4,000 problems is below 0.006


# --------------------------------------------------------------------------------- the methods


@pytest.mark.slow  # tiny trainings
def test_rounds_are_told_about_from_the_start_on(short):
    easy = {
        "rounds": 2,
        "samples": 2,
        "most": 2,
        "epochs": 1,
        "threshold": -1.0,
    }  # an untrained model is never right
    for again in (True, False):
        history = arithmetic.history_of(short, again_from_base=again, **easy)
        assert len(history) == 3
        assert history[1]["kept"] == history[2]["kept"] == 2 * 56
        assert {"pass_1", "pass_16", "differ", "train"} <= set(history[0])


def test_a_round_is_the_usual_one_but_for_what_a_run_changes():
    usual = arithmetic.settings(**arithmetic.ROUND)
    assert (usual.drawing.samples, usual.most, usual.threshold) == (arithmetic.SAMPLES, arithmetic.MOST, 0.5)
    changed = arithmetic.settings(**{**arithmetic.ROUND, "most": 1, "rate": 0.25, "epochs": 7})
    assert (changed.most, changed.sft.optimizer.learning_rate, changed.sft.epochs) == (1, 0.25, 7)
    assert changed.drawing == usual.drawing


@pytest.mark.slow  # tiny trainings
def test_from_base_and_from_the_last_differ_in_what_is_fine_tuned(short, monkeypatch):
    seen = []
    real = arithmetic.expert_iteration

    def watched(base, policy, *rest, **settings):
        seen.append(base is policy)
        return real(base, policy, *rest, **settings)

    monkeypatch.setattr(arithmetic, "expert_iteration", watched)
    settings = {"rounds": 2, "samples": 2, "most": 1, "epochs": 1, "threshold": -1.0}
    arithmetic.history_of(short, again_from_base=True, **settings)
    assert seen == [True, False]  # the first round draws from the start itself
    seen.clear()
    arithmetic.history_of(short, again_from_base=False, **settings)
    assert seen == [True, True]


def test_all_methods_draw_as_many_solutions():
    drawn = {
        name: run.get("rounds", arithmetic.ROUNDS) * run.get("samples", arithmetic.ROUND["samples"])
        for name, run in arithmetic.METHODS.items()
    }
    assert set(drawn.values()) == {arithmetic.ROUNDS * arithmetic.SAMPLES}
