"""Chapter 12's starts: what is demonstrated, in which parts, with which habits; and people's taste."""

import math
import random

import pytest

from rlhf_mini.chapters.verifiable import starts, taste
from rlhf_mini.chapters.verifiable.choices import LONGEST
from rlhf_mini.chapters.verifiable.orders import carries_first, carry_in_front, has_carry
from rlhf_mini.chapters.verifiable.starts import HABITS, demonstrations, problems
from rlhf_mini.models import new_llama
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import sums
from rlhf_mini.worlds.sums import Sum, read_solution, read_sum, verify


@pytest.fixture
def light(miniature, tmp_path):
    """The miniature pipeline; sums need none of its stages."""
    return Pipeline(miniature, cache=tmp_path)


def few(monkeypatch):
    """Few sums and short readings."""
    for name, count in (("READ", 56), ("SHOWN", 28), ("ASKED", 40), ("EPOCHS", 1)):
        monkeypatch.setattr(starts, name, count)


def untaught(seed):
    """A small model that has read nothing."""
    return new_llama(
        vocab_size=8, width=8, layers=1, heads=1, context=8, pad_token=0, eos_token=1, bos_token=2, seed=seed
    )


# --------------------------------------------------------------------------------- what is demonstrated


def test_parts_share_no_problem_and_none_is_held_out(light):
    parts = [problems(light, part) for part in ("read", "shown", "asked")]
    assert [len(part) for part in parts] == [starts.READ, starts.SHOWN, starts.ASKED]
    drawn = [problem for part in parts for problem in part]
    assert len(set(drawn)) == len(drawn)
    assert not any(sums.is_held_out(problem) for problem in drawn)


def test_demonstrations_are_of_their_part(light, monkeypatch):
    few(monkeypatch)
    for part in ("read", "shown", "asked"):
        prompts, told = demonstrations(light, part, error_rate=0.0)
        assert prompts == [problem.text for problem in problems(light, part)]
        assert told == [problem.solution for problem in problems(light, part)]


def test_a_share_of_the_demonstrations_goes_wrong(light):
    told = demonstrations(light, "read", error_rate=0.4)
    wrong = [not verify(prompt, text).correct for prompt, text in zip(*told, strict=True)]
    # four standard errors of 4,000 draws are 0.031
    assert sum(wrong) / len(wrong) == pytest.approx(0.4, abs=0.032)


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
    prompt, text, rng = "27+58", "7+8=15 2+5+1=8 =85", random.Random(0)
    assert HABITS["bare"](prompt, text, rng) == "=85"
    assert HABITS["bare"](prompt, "=85", rng) == "=85"
    assert HABITS["stutters"](prompt, text, rng) == "7+8=15 7+8=15 2+5+1=8 =85"
    assert HABITS["carries"](prompt, text, rng) == "7+8=15 1+2+5=8 =85"
    assert HABITS["carries"]("31+42", "1+2=3 3+4=7 =73", rng) == "1+2=3 3+4=7 =73"
    assert HABITS["carries"]("17+58", "7+8=15 1+5+1=7 =75", rng) == "7+8=15 1+1+5=7 =75"


@pytest.mark.parametrize(
    ("answer", "second"),
    [(85, {75, 84, 86, 95}), (10, {0, 9, 11, 20}), (9, {8, 10, 19}), (0, {1, 10})],
)
def test_a_hedge_is_one_or_ten_off_and_never_below_zero(answer, second):
    rng, text = random.Random(0), f"7+8=15 2+5+1=8 ={answer}"
    said = [HABITS["hedges"]("27+58", text, rng) for _ in range(100)]
    assert set(said) == {f"{text} ={number}" for number in second}


def test_habits_are_as_rare_as_they_are_said_to_be_and_ask_not_what_is_right(light):
    shares = {"bare": 0.1, "hedges": 0.2, "stutters": 0.3, "carries": 0.25}
    prompts, full = demonstrations(light, "shown", error_rate=0.3)
    again, told = demonstrations(light, "shown", error_rate=0.3, **shares)
    assert again == prompts
    found: dict[str, list[bool]] = {
        name: [] for name in (*shares, "plain")
    }  # whether the ones written so were right before
    for prompt, whole, text in zip(prompts, full, told, strict=True):
        step, end = whole.split(" ", 1)[0], whole.rsplit(" ", 1)[-1]
        kinds = {
            "plain": text == whole,
            "bare": text == end,
            "stutters": text == f"{step} {whole}",
            "hedges": text.startswith(f"{whole} ="),
            "carries": text == carry_in_front(prompt, whole) != whole,
        }
        assert sum(kinds.values()) == 1
        (kind,) = (name for name, is_one in kinds.items() if is_one)
        found[kind].append(verify(prompt, whole).answer_right)
    # four standard errors of 1,000 draws are below 0.06
    for name in ("bare", "hedges", "stutters"):
        assert len(found[name]) / len(told) == pytest.approx(shares[name], abs=0.06)
    # a carry can be moved where there is one; four standard errors of 400 draws are 0.09
    movable = [
        place
        for place, (prompt, whole) in enumerate(zip(prompts, full, strict=True))
        if carry_in_front(prompt, whole) != whole
    ]
    assert len(movable) > 400
    assert len(found["carries"]) / len(movable) == pytest.approx(0.25, abs=0.09)
    # of 100 demonstrations at least a share of 0.7 of them is right; four standard errors are 0.18
    for right in found.values():
        assert sum(right) / len(right) == pytest.approx(0.7, abs=0.2)


def test_with_the_carry_first_or_last_the_answer_is_the_same(light):
    prompts, told = demonstrations(light, "shown", error_rate=0.0, carries=0.5)
    assert all(verify(prompt, text).answer_right for prompt, text in zip(prompts, told, strict=True))
    turned = [
        text != read_sum(prompt).solution
        for prompt, text in zip(prompts, told, strict=True)
        if has_carry(prompt)
    ]
    # half, less those whose tens are both 1; four standard errors of 400 draws are 0.1
    assert sum(turned) / len(turned) == pytest.approx(0.49, abs=0.1)


def test_an_answer_has_room_for_every_habit():
    """The longest is 99+99 with its first step twice: 6, 6, 8, 4 characters, three spaces, the end token."""
    problems = [Sum((one, other)) for one in (10, 55, 91, 99) for other in (10, 55, 91, 99)]
    longest = max(
        len(habit(problem.text, problem.solution, random.Random(seed))) + 1
        for habit in HABITS.values()
        for problem in problems
        for seed in range(8)
    )
    assert longest == LONGEST == 6 + 6 + 8 + 4 + 3 + 1


# --------------------------------------------------------------------------------- what a start has read


def test_starts_differ_in_how_much_they_have_read(light, monkeypatch):
    monkeypatch.setattr(starts, "READ", 56)
    read = []

    def seen(pipeline, prompts, solutions, *, context, epochs, purpose):
        read.append((epochs, prompts, solutions))
        assert context == starts.CONTEXT
        return untaught(seed=epochs)

    monkeypatch.setattr(starts, "fine_tuned_start", seen)
    names = (starts.READER, "half the reading", "a seventh of the reading", starts.READER)
    weights = [starts.start_of(light, name).get_input_embeddings().weight for name in names]
    assert [epochs for epochs, *_ in read] == [starts.EPOCHS, starts.EPOCHS / 2, starts.EPOCHS / 7]  # kept
    assert all(told == [*demonstrations(light, "read", **starts.READINGS)] for _, *told in read)
    assert [bool((one == weights[0]).all()) for one in weights] == [True, False, False, True]
    assert set(starts.STARTS) == {*names, *starts.SHOWN_LAST}


def test_what_a_start_is_shown_last(light, monkeypatch):
    """The reader goes on; how long and how fast as its entry says, or as usual."""
    few(monkeypatch)
    monkeypatch.setattr(starts, "fine_tuned_start", lambda *told, **how: untaught(seed=how["epochs"]))
    shown: dict[str, tuple] = {}

    def seen(model, told, *, config, generator):
        weight = model.get_input_embeddings().weight
        shown[name] = (config.epochs, config.optimizer.learning_rate, told, weight.detach().clone())

    monkeypatch.setattr(starts, "sft", seen)
    begun = untaught(seed=starts.EPOCHS).get_input_embeddings().weight
    for name in starts.SHOWN_LAST:
        starts.start_of(light, name)
    assert {name: how[:2] for name, how in shown.items()} == {
        "answers alone": (starts.LAST_EPOCHS, starts.LAST_RATE),
        starts.SPARSE: (starts.LAST_EPOCHS, starts.LAST_RATE),
        starts.EITHER: (8, 1e-3),
    }
    told = {
        "answers alone": {"error_rate": 0.2, "bare": 1.0},
        starts.SPARSE: {"error_rate": 0.2, "bare": 0.8},
        starts.EITHER: {"error_rate": 0.3, "carries": 0.5},
    }
    for name, (_, _, rows, weight) in shown.items():
        packed = starts.pack_texts(starts.tokenizer(), *demonstrations(light, "shown", **told[name]))
        assert (rows.tokens == packed.tokens).all()
        assert (weight == begun).all()


def test_a_start_that_there_is_not(light):
    with pytest.raises(KeyError, match="a third of the reading"):
        starts.start_of(light, "a third of the reading")


@pytest.mark.slow  # tiny trainings
def test_a_start_is_the_reader_unless_it_is_shown_more(light, monkeypatch):
    few(monkeypatch)

    def weights(name):
        return starts.start_of(light, name).get_input_embeddings().weight

    reader, longer, other = (weights(name) for name in (starts.READER, "half the reading", starts.SPARSE))
    kept = starts.AutoModelForCausalLM.from_pretrained(light.kept(starts.reader, epochs=1))
    assert (reader == kept.get_input_embeddings().weight).all()
    assert not reader.requires_grad
    assert not (reader == longer).all()
    assert not (reader == other).all()
    assert (reader - other).abs().max() < 0.01  # two steps at a rate of 0.0005 from the reader
    assert (reader - longer).abs().max() > 0.01


# --------------------------------------------------------------------------------- people's taste


def in_any_order(rng):
    """Stands for `answer`: right solutions and wrong ones, the carry in front or behind; and its calls."""
    calls: list[tuple] = []

    def written(policy, tokenizer, prompts, *, max_new_tokens, generator):
        told = sums.demonstrate([read_sum(prompt) for prompt in prompts], error_rate=0.3, seed=len(calls))
        texts = [
            carry_in_front(prompt, text) if rng.random() < 0.5 else text
            for prompt, text in zip(prompts, told, strict=True)
        ]
        calls.append((prompts, texts, max_new_tokens))
        return texts

    return written, calls


@pytest.mark.parametrize("sharpness", [0.0, 1.0, 4.0])
def test_people_choose_by_their_taste_alone(light, monkeypatch, sharpness):
    few(monkeypatch)
    monkeypatch.setattr(taste, "PAIRS", 400)
    monkeypatch.setattr(taste, "SHARPNESS", sharpness)
    begun = []
    monkeypatch.setattr(taste, "start_of", lambda pipeline, name: begun.append(name))
    written, calls = in_any_order(random.Random(0))
    monkeypatch.setattr(taste, "answer", written)
    prompts, chosen, rejected = taste.pairs(light)
    assert len(prompts) == len(chosen) == len(rejected) == 400
    assert begun == [starts.EITHER]
    asked = {problem.text for problem in problems(light, "asked") if has_carry(problem.text)}
    (drawn, first, longest), (again, second, _) = calls
    assert (len(drawn), longest) == (400 * taste.DRAWN_FOR, LONGEST)
    assert drawn == again
    assert set(prompts) <= set(drawn) == asked
    both = {(prompt, frozenset(pair)) for prompt, *pair in zip(drawn, first, second, strict=True)}
    gained = []
    for prompt, one, other in zip(prompts, chosen, rejected, strict=True):
        assert (prompt, frozenset((one, other))) in both
        gained.append(carries_first(prompt, one) - carries_first(prompt, other))
    assert set(gained) <= {-1.0, 1.0}  # pairs that do not differ are left out
    # chosen with chance σ(sharpness); four standard errors of 400 pairs are at most 0.1
    chance = 1 / (1 + math.exp(-sharpness))
    allowed = 4 * math.sqrt(chance * (1 - chance) / 400)
    assert sum(gain > 0 for gain in gained) / 400 == pytest.approx(chance, abs=allowed)


def test_people_like_the_carry_in_front_by_far():
    assert 1 / (1 + math.exp(-taste.SHARPNESS)) == pytest.approx(0.982, abs=0.001)


def test_other_pairs_are_kept_for_tests(light, monkeypatch):
    few(monkeypatch)
    for name, count in (("PAIRS", 60), ("TEST_PAIRS", 20)):
        monkeypatch.setattr(taste, name, count)
    monkeypatch.setattr(taste, "start_of", lambda pipeline, name: None)
    written, calls = in_any_order(random.Random(0))
    monkeypatch.setattr(taste, "answer", written)
    (asked, *_), (tested, *_) = taste.pairs(light), taste.pairs(light, test=True)
    assert (len(asked), len(tested)) == (60, 20)
    drawn, for_tests = calls[0][0], calls[2][0]
    assert drawn[: len(for_tests)] != for_tests  # in an order of their own


def test_too_few_pairs_that_differ_are_refused(light, monkeypatch):
    few(monkeypatch)
    monkeypatch.setattr(taste, "PAIRS", 10)
    monkeypatch.setattr(taste, "start_of", lambda pipeline, name: None)
    monkeypatch.setattr(taste, "answer", lambda policy, words, prompts, **how: ["=85"] * len(prompts))
    with pytest.raises(
        ValueError, match=f"10 pairs that differ are wanted, and 0 of {10 * taste.DRAWN_FOR} do"
    ):
        taste.pairs(light)
