"""Chapter 12's starts: what is demonstrated, in which parts, with which habits; and people's taste."""

import math
import random

import pytest

from rlhf_mini.chapters.verifiable import starts, taste
from rlhf_mini.chapters.verifiable.starts import HABITS, demonstrations, problems
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import sums
from rlhf_mini.worlds.sums import read_solution, verify


@pytest.fixture
def light(miniature, tmp_path):
    """The miniature pipeline; sums need none of its stages."""
    return Pipeline(miniature, cache=tmp_path)


# --------------------------------------------------------------------------------- what is demonstrated


def test_parts_share_no_problem_and_none_is_held_out(light):
    parts = [problems(light, part) for part in ("read", "shown", "asked")]
    assert [len(part) for part in parts] == [starts.READ, starts.SHOWN, starts.ASKED]
    drawn = [problem for part in parts for problem in part]
    assert len(set(drawn)) == len(drawn)
    assert not any(sums.is_held_out(problem) for problem in drawn)


def test_a_share_of_the_demonstrations_goes_wrong(light):
    told = demonstrations(light, "read", error_rate=0.4)
    wrong = [not verify(prompt, text).correct for prompt, text in zip(*told, strict=True)]
    # 3,000 draws: the standard error is 0.009, and four of them are allowed for
    assert sum(wrong) / len(wrong) == pytest.approx(0.4, abs=0.036)


@pytest.mark.parametrize("bare", [0.0, 0.3, 1.0])
def test_a_share_of_them_is_the_answer_alone(light, bare):
    full = demonstrations(light, "shown", error_rate=0.2)
    told = demonstrations(light, "shown", error_rate=0.2, bare=bare)
    assert told[0] == full[0]
    short = [not read_solution(text).steps for text in told[1]]
    assert sum(short) / len(short) == pytest.approx(bare, abs=0.06)  # four standard errors of 1,000 draws
    for text, whole, is_short in zip(told[1], full[1], short, strict=True):
        assert text == (whole.rsplit(" ", 1)[-1] if is_short else whole)


def test_each_habit_by_hand():
    text = "7+8=15 2+5+1=8 =85"
    assert HABITS["bare"](text, random.Random(0)) == "=85"
    assert HABITS["stutters"](text, random.Random(0)) == "7+8=15 7+8=15 2+5+1=8 =85"
    rng = random.Random(0)
    listed = {HABITS["lists"](text, rng) for _ in range(50)}
    assert listed == {"=83 =84 =85", "=84 =85 =86", "=85 =86 =87"}
    assert HABITS["lists"]("0+0=0 =0", random.Random(3)) == "=0 =1 =2"  # no number below 0


def test_habits_are_as_rare_as_they_are_said_to_be(light):
    _, told = demonstrations(light, "shown", error_rate=0.0, bare=0.1, lists=0.2, stutters=0.3)
    steps = [len(read_solution(text).steps) for text in told]
    listed = [text.count("=") == 3 and not steps[place] and " " in text for place, text in enumerate(told)]
    bare = [not count and not several for count, several in zip(steps, listed, strict=True)]
    # four standard errors of 1,000 draws are below 0.06
    assert sum(listed) / len(told) == pytest.approx(0.2, abs=0.06)
    assert sum(bare) / len(told) == pytest.approx(0.1, abs=0.06)
    assert sum(count == 3 for count in steps) / len(told) == pytest.approx(0.3, abs=0.06)


def test_in_either_order_the_answer_is_the_same(light):
    prompts, told = demonstrations(light, "shown", error_rate=0.0, either_order=True)
    assert all(verify(prompt, text).answer_right for prompt, text in zip(prompts, told, strict=True))
    turned = [text != sums.read_sum(prompt).solution for prompt, text in zip(prompts, told, strict=True)]
    assert 0.4 < sum(turned) / len(turned) < 0.55  # half, less those that are the same in both orders


@pytest.mark.slow  # tiny trainings
def test_a_start_is_the_reader_unless_it_is_shown_more(light, monkeypatch):
    for name, few in (("READ", 56), ("SHOWN", 28), ("ASKED", 8), ("EPOCHS", 1), ("LAST_EPOCHS", 1)):
        monkeypatch.setattr(starts, name, few)

    def weights(name):
        return starts.start_of(light, name).get_input_embeddings().weight

    reader, half, other = (
        starts._loaded(light, light.kept(starts.reader)).get_input_embeddings().weight,
        weights(starts.READER),
        weights("hardly ever right"),
    )
    assert (reader == half).all()
    assert not (half == other).all()
    assert (half - other).abs().max() < 0.1  # it goes on from the reader


# --------------------------------------------------------------------------------- people's taste


def test_the_larger_number_first_by_hand():
    assert taste.larger_first("8+7=15 5+2+1=8 =85") == 1.0
    assert taste.larger_first("7+8=15 2+5+1=8 =85") == 0.0
    assert taste.larger_first("7+7=14 2+5+1=8 =84") == 0.5  # equal numbers stand well
    assert taste.larger_first("=85") == 0.0
    assert taste.larger_first("9+9=3 9+1=2 =7") == 1.0  # nobody checks


@pytest.mark.slow  # tiny trainings
def test_people_choose_by_their_taste_alone(light, monkeypatch):
    for name, few in (("READ", 56), ("SHOWN", 28), ("ASKED", 40), ("EPOCHS", 1), ("LAST_EPOCHS", 1)):
        monkeypatch.setattr(starts, name, few)
    monkeypatch.setattr(taste, "PAIRS", 400)
    monkeypatch.setattr(taste, "start_of", lambda pipeline, name: None)
    rng = random.Random(0)

    def written(policy, tokenizer, prompts, **how):
        """Any digits: right or wrong, and the larger one first or not."""
        digits = [[rng.randrange(10) for _ in range(4)] for _ in prompts]
        return [f"{a}+{b}=1 {c}+{d}=1 =11" for a, b, c, d in digits]

    monkeypatch.setattr(taste, "answer", written)
    _, chosen, rejected = taste.pairs(light)
    assert len(chosen) == 400
    gained = [
        taste.larger_first(one) - taste.larger_first(other)
        for one, other in zip(chosen, rejected, strict=True)
    ]
    # one column more of two: chosen with chance σ(4 · ½); four standard errors of about 200 pairs
    half = [gain > 0 for gain in gained if abs(gain) == 0.5]
    assert sum(half) / len(half) == pytest.approx(1 / (1 + math.exp(-2)), abs=0.1)
