"""Chapter 12's trainings on the miniature pipeline: choices, rewards, budgets, logs, looks at a policy."""

import random

import pytest
import torch

from rlhf_mini.chapters.small_sums import tokenizer
from rlhf_mini.chapters.verifiable import choices, family, looks, runs, starts, taste, training
from rlhf_mini.chapters.verifiable.choices import (
    AVERAGES,
    IN_REWARD,
    LONGEST,
    METHODS,
    PREFERENCE,
    group_method,
)
from rlhf_mini.chapters.verifiable.orders import carry_in_front
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.methods.group_methods import k2_penalty, k3_penalty, named_methods
from rlhf_mini.methods.reward_parts import score_parts, weighted_sum
from rlhf_mini.models import new_llama
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds.sums import Sum, read_sum
from rlhf_mini.worlds.sums_verifier import GAPS

RIGHT, WRONG = "7+8=15 2+5+1=8 =85", "7+8=16 2+5+1=8 =86"
FRONT, FRONT_WRONG = "7+8=15 1+2+5=8 =85", "7+8=16 1+2+5=9 =96"


@pytest.fixture
def short(miniature, tmp_path, monkeypatch):
    """The miniature pipeline with few sums and answers."""
    for name, few in (("READ", 56), ("SHOWN", 28), ("ASKED", 40), ("EPOCHS", 1)):
        monkeypatch.setattr(starts, name, few)
    for name, few in (
        ("ITERATIONS", 2),
        ("ANSWERS", 8),
        ("SAMPLES", 4),
        ("WARM", 1),
        ("STEPS_OF_CRITIC", {"minibatch": 4, "epochs": 1}),
    ):
        monkeypatch.setattr(training, name, few)
    monkeypatch.setattr(training, "USUAL", {**training.USUAL, "iterations": 2, "samples": 4})
    monkeypatch.setattr(taste, "PAIRS", 32)
    monkeypatch.setattr(taste, "TEST_PAIRS", 8)
    for name, few in (("HELD_OUT", 8), ("SAMPLES", 2), ("CURVE_PROBLEMS", 3), ("CURVE_SAMPLES", 4)):
        monkeypatch.setattr(looks, name, few)
    monkeypatch.setattr(looks, "TRIES", (1, 2, 4))
    return Pipeline(miniature, cache=tmp_path)


def untaught():
    """A model that nobody asks anything."""
    return new_llama(
        vocab_size=8, width=8, layers=1, heads=1, context=8, pad_token=0, eos_token=1, bos_token=2, seed=0
    )


# --------------------------------------------------------------------------------- choices


def test_a_method_is_the_library_s_but_for_what_is_given():
    usual = named_methods(longest=LONGEST)["GRPO"]
    ours = group_method("GRPO")
    assert (ours.advantage, ours.average, ours.kl_in_loss) == (usual.advantage, usual.average, k3_penalty)
    paid = group_method("GRPO", kl=IN_REWARD)
    assert paid.kl_in_reward
    assert paid.kl_in_loss is None
    other = group_method("RLOO", kl="k2")
    assert other.kl_in_loss is k2_penalty
    assert not other.kl_in_reward
    for name, average in AVERAGES.items():
        assert group_method("GRPO", average=name).average is average


def test_three_averages_of_an_answer_of_two_tokens_and_one_of_four():
    response = torch.tensor([[True, True, False, False], [True, True, True, True]])
    losses = torch.tensor([[1.0, 1.0, 9.0, 9.0], [4.0, 4.0, 4.0, 4.0]])
    expected = {"per answer": 5 / 2, "all tokens": 18 / 6, "one length": 18 / (2 * 28)}
    found = {name: float(average(losses, response)) for name, average in AVERAGES.items()}
    assert found == pytest.approx(expected)
    assert float(group_method("Dr. GRPO").average(losses, response)) == pytest.approx(expected["one length"])


def test_bounds_are_of_the_ratio_of_each_token():
    logp = torch.log(torch.tensor([[1.5, 1.5]]))
    response, zero = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2)
    for clip, least in (([0.2, 0.28], 1.28), ([0.2, 0.2], 1.2), ([0.2, 1.0], 1.5)):
        term = group_method("GRPO", clip=clip).policy_term
        losses = term(logp, zero, torch.ones(1), response)
        assert losses.tolist() == [[pytest.approx(-least)] * 2]


def test_unknown_names_are_refused():
    for wrong in ({"name": "GPRO"}, {"name": "GRPO", "kl": "k4"}, {"name": "GRPO", "average": "median"}):
        with pytest.raises(ValueError, match="expected one of"):
            group_method(**wrong)


def test_gaps_are_named_as_the_library_pairs_them():
    assert family.GAP_REWARDS.keys() == GAPS.keys()
    for name, (gap, closed) in family.GAP_REWARDS.items():
        assert choices.REWARDS[gap] is GAPS[name].reward
        assert choices.REWARDS[closed] is GAPS[name].closed


# --------------------------------------------------------------------------------- rewards


def test_the_truth_is_logged_and_not_paid_for(short):
    packed = pack_texts(tokenizer(), ["27+58"] * 3, [RIGHT, WRONG, "=85"])
    parts = training.reward_parts(short, {"in form": 0.2, "steps right": 2.0})
    scores = score_parts(parts, packed)
    assert [*parts][:2] == ["in form", "steps right"]  # the first is what passes are counted of
    assert scores["answer right"].tolist() == [1.0, 0.0, 1.0]
    assert scores["all right"].tolist() == [1.0, 0.0, 0.0]
    assert weighted_sum(parts, scores).tolist() == pytest.approx([2.2, 0.2 + 2 * 0.5, 0.0])


def test_answers_are_read_once_and_read_anew(monkeypatch):
    texts, reading, seen = [RIGHT, WRONG], training.Reading(), []
    first, second = (pack_texts(tokenizer(), ["27+58"] * 2, each) for each in (texts, texts[::-1]))
    right, form = (reading.score(choices.REWARDS[name]) for name in ("answer right", "in form"))
    monkeypatch.setattr(reading, "_read", lambda rows, _real=reading._read: seen.append(rows) or _real(rows))
    assert right(first).tolist() == [1.0, 0.0]
    assert form(first).tolist() == [1.0, 1.0]
    assert right(second).tolist() == [0.0, 1.0]
    assert right(first).tolist() == [1.0, 0.0]
    assert [rows is first for rows in seen] == [True, False, True]


@pytest.mark.slow  # tiny trainings
def test_the_learned_taste_is_a_reward_without_gradient(short, monkeypatch):
    """What people rejected earns 0 on average, with a deviation of 1."""
    rng = random.Random(0)

    def written(policy, words, prompts, *, max_new_tokens, generator):
        solved = [(prompt, read_sum(prompt).solution) for prompt in prompts]
        return [carry_in_front(*one) if rng.random() < 0.5 else one[1] for one in solved]

    monkeypatch.setattr(taste, "answer", written)
    kept, real = [], taste.packed

    def watched(told):
        kept.append(real(told))
        return kept[-1]

    monkeypatch.setattr(taste, "packed", watched)
    parts = training.reward_parts(short, {PREFERENCE: 0.5})
    scores = score_parts(parts, kept[0].rejected)[PREFERENCE]
    assert scores.shape == (32,)
    assert not scores.requires_grad
    assert float(scores.mean()) == pytest.approx(0, abs=1e-4)
    assert float(scores.std(correction=0)) == pytest.approx(1, abs=0.05)
    agrees = score_parts(parts, kept[1].chosen)[PREFERENCE] > score_parts(parts, kept[1].rejected)[PREFERENCE]
    assert taste.accuracy(short) == pytest.approx(float(agrees.float().mean()))
    assert len(kept) == 2  # learned once, and kept


# --------------------------------------------------------------------------------- trainings


@pytest.mark.slow  # tiny trainings
@pytest.mark.parametrize("method", ["GRPO", "RLOO", choices.WITH_CRITIC])
def test_every_run_draws_as_many_answers(short, monkeypatch, method):
    drawn = []
    for module in ("rlhf_mini.methods.groups", "rlhf_mini.methods.ppo"):
        real = __import__(module, fromlist=["draw"]).draw

        def watched(policy, words, prompts, _real=real, **how):
            drawn.append(len(prompts))
            return _real(policy, words, prompts, **how)

        monkeypatch.setattr(f"{module}.draw", watched)
    log = training.log_of(short, method=method, epochs=2, minibatch=4)
    assert sum(drawn) == 2 * 8
    assert len(log) == (1 if method == choices.WITH_CRITIC else 2)
    assert {"reward", "entropy", "length", "ratio_deviation", "seconds"} <= set(log[0])
    assert set(log[0]) <= set(training.LOGGED)


@pytest.mark.slow  # tiny trainings
def test_an_untouched_policy_is_the_start(short):
    policy = training.policy_of(short, rate=1e-12)
    start = starts.start_of(short, starts.READER)
    pairs = zip(policy.parameters(), start.parameters(), strict=True)
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in pairs)
    moved = training.policy_of(short, rate=1e-2, reward={"in form": 1.0, "steps counted": 1.0})
    assert not any(parameter.requires_grad for parameter in moved.parameters())


@pytest.mark.slow  # tiny trainings
def test_a_second_stage_goes_on_from_the_first(short, monkeypatch):
    begun = []
    real = training.copy_of

    def watched(model):
        begun.append(model.get_input_embeddings().weight.clone())
        return real(model)

    monkeypatch.setattr(training, "copy_of", watched)
    first = {"rate": 1e-2, "reward": {"steps counted": 1.0}}
    training.policy_of(short, start=first, reward={"in form": 1.0})
    ended = training.policy_of(short, **first).get_input_embeddings().weight
    assert torch.equal(begun[0], ended) or torch.equal(begun[1], ended)


def test_a_run_cannot_change_what_there_is_not(short):
    with pytest.raises(ValueError, match="a run has no \\['learning_rate'\\]"):
        training.log_of(short, learning_rate=1e-3)


def test_a_group_size_leaves_the_number_of_answers(monkeypatch, short):
    asked = {}

    def seen(policy, reference, words, prompts, parts, method, *, config, **rest):
        asked[config.drawing.samples] = (config.answers, config.steps)
        assert config.drawing.max_new_tokens == LONGEST
        return []

    monkeypatch.setattr(training, "grpo", seen)
    for samples in (2, 4, 8):
        training.in_groups(short, untaught(), untaught(), **{**training.USUAL, "samples": samples})
    assert asked == dict.fromkeys((2, 4, 8), (8, 2))


# --------------------------------------------------------------------------------- what is said of a policy


ASKED = [Sum((27, 58)), Sum((31, 42))]
TEXTS = [[RIGHT, WRONG], ["=73", "1+2=3 3+4=7 =74"]]


def test_a_look_by_hand(short, monkeypatch):
    monkeypatch.setattr(looks, "held_out_sums", lambda count, *, rehearsal: ASKED)
    monkeypatch.setattr(looks, "solutions", lambda pipeline, policy, problems, *, samples: TEXTS)
    told = looks.look(short, untaught())
    assert told["answer_right"] == 2 / 4
    assert told["all_right"] == 1 / 4
    assert told["in_form"] == told["worked"] == 3 / 4
    assert told["follows"] == 2 / 4
    assert told["steps"] == 6 / 4
    assert told["right_bare"] == 1.0
    assert told["right_worked"] == pytest.approx(1 / 3)
    assert told["length"] == sum(len(text) + 1 for row in TEXTS for text in row) / 4
    assert told["carries_first"] == 0.0


def test_people_are_asked_about_sums_with_a_carry_alone(short, monkeypatch):
    """27+58 carries, and its carry is in front in three of four; 31+42 does not, though one is written."""
    texts = [[RIGHT, FRONT, FRONT_WRONG, FRONT], ["1+2=13 1+3+4=8 =83"] * 4]
    monkeypatch.setattr(
        looks, "solutions", lambda pipeline, policy, problems, *, samples: texts[: len(problems)]
    )
    for asked, expected in ((ASKED, 3 / 4), (ASKED[:1], 3 / 4)):
        monkeypatch.setattr(looks, "held_out_sums", lambda count, *, rehearsal, _asked=asked: _asked)
        assert looks.look(short, untaught())["carries_first"] == expected
    monkeypatch.setattr(looks, "held_out_sums", lambda count, *, rehearsal: ASKED[1:])
    assert looks.look(short, untaught())["carries_first"] == 0.0


def test_curves_by_hand(short, monkeypatch):
    """27+58: right twice, 86 once, and one that says nothing. 31+42: 74 three times, right once."""
    texts = [[RIGHT, WRONG, RIGHT, "7+8"], ["=74", "=74", "=73", "=74"]]
    monkeypatch.setattr(looks, "held_out_sums", lambda count, *, rehearsal: ASKED)
    monkeypatch.setattr(looks, "solutions", lambda pipeline, policy, problems, *, samples: texts)
    told = looks.curves(short, untaught())
    assert told["tries"] == [1, 2, 4]
    assert told["pass"] == pytest.approx([(2 / 4 + 1 / 4) / 2, (1 - 1 / 6 + 1 - 3 / 6) / 2, 1.0])
    # of two: {R,R} wins; {R,86} ties, twice; {R,–} wins, twice; {86,–} loses. Of 74, 74, 74, 73: three ties
    assert told["majority"] == pytest.approx(
        [(2 / 4 + 1 / 4) / 2, ((1 + 2 / 2 + 2) / 6 + (3 / 2) / 6) / 2, 1 / 2]
    )
    assert told["never"] == 0.0


def test_solutions_stand_by_their_problem(short, monkeypatch):
    def echo(policy, words, prompts, *, max_new_tokens, generator):
        assert max_new_tokens == LONGEST
        return [f"{prompt}:{place}" for place, prompt in enumerate(prompts)]

    monkeypatch.setattr(looks, "answer", echo)
    found = looks.solutions(short, untaught(), ASKED, samples=2)
    assert found == [["27+58:0", "27+58:1"], ["31+42:2", "31+42:3"]]


def test_a_log_in_short():
    log = [
        {"entropy": float(place), "reward": 1.0, "seconds": 2.0, "policy_loss": -0.1 * place, "drawn": 8.0}
        for place in range(12)
    ]
    told = looks.log_summary(log)
    assert (told["entropy_first"], told["entropy_last"]) == (2.0, 9.0)
    assert (told["seconds"], told["drawn"]) == (24.0, 96.0)
    assert told["loss_largest"] == pytest.approx(1.1)
    assert "kl_k1" not in told


@pytest.mark.slow  # tiny trainings
def test_what_is_said_of_runs_and_starts(short):
    told = runs.outcome(short, rehearsal=True)
    assert {"answer_right", "entropy_last", "seconds"} <= set(told)
    assert set(runs.start_outcome(short, start=starts.READER)) < set(told)
    for curves in (runs.curves_of(short), runs.curves_of_start(short, start=starts.READER)):
        assert len(curves["pass"]) == len(curves["majority"]) == 3


# --------------------------------------------------------------------------------- the family


def test_every_run_has_a_name_of_its_own_and_can_be_made():
    names = [one.name for one in family.ALL]
    assert len(set(names)) == len(names)
    for one in family.ALL:
        assert family.run(one.name) is one
        if one.untrained:
            assert one.settings["start"] in starts.STARTS
            continue
        assert one.settings.keys() <= training.USUAL.keys()
        settings = {**training.USUAL, **one.settings}
        assert training.ANSWERS % settings["samples"] == 0
        assert settings["method"] in METHODS
        if settings["method"] != choices.WITH_CRITIC:
            method = group_method(settings["method"], **settings["changes"])
            assert settings["kl_weight"] == 0 or method.can_pay_for_kl
    with pytest.raises(ValueError, match="no run is called 'PPO without'"):
        family.run("PPO without")


def test_a_run_asks_for_what_it_is(monkeypatch):
    asked = []

    class Kept(Pipeline):
        def __init__(self):
            pass

        def measured(self, told, **settings):
            asked.append((told, settings))
            return {}

    for one in (family.run("GRPO, reused"), family.run(family.start_name(starts.READER))):
        one.measured(Kept(), rehearsal=True)
        one.curves(Kept())
    assert asked == [
        (runs.outcome, {**family.REUSED, "rehearsal": True}),
        (runs.curves_of, family.REUSED),
        (runs.start_outcome, {"start": starts.READER, "rehearsal": True}),
        (runs.curves_of_start, {"start": starts.READER}),
    ]


def test_nothing_else_differs_between_a_method_and_its_reuse():
    for name in METHODS:
        once, again = family.run(name), family.run(family.reused_name(name))
        assert again.settings == {**once.settings, **family.REUSED}
    for name in (family.reused_name(family.OURS), family.NEVER):
        again = family.run(family.twice_reused_name(name))
        assert again.settings == {**family.run(name).settings, **family.TWICE_REUSED}
        assert again.group == "clip"


def test_steps_on_every_draw():
    assert [
        how["epochs"] * training.ANSWERS // how["minibatch"] for how in (family.REUSED, family.TWICE_REUSED)
    ] == [8, 16]


def test_both_sides_of_a_gap_differ_in_the_reward_alone():
    for gap, (reward, closed) in family.GAP_REWARDS.items():
        sides = [
            {**training.USUAL, **family.run(family.gap_name(gap, side)).settings}
            for side in ("open", "closed")
        ]
        assert [side["reward"] for side in sides] == [{reward: 1.0}, {closed: 1.0}]
        assert {**sides[0], "reward": None} == {**sides[1], "reward": None}
        assert sides[0]["iterations"] == (100 if gap == "listing" else training.ITERATIONS)
    ours = [
        (gap, side)
        for gap in family.GAP_REWARDS
        for side in ("open", "closed")
        if family.gap_name(gap, side) == family.OURS
    ]
    assert ours == [("steps unchecked", "open")]


def test_the_late_run_goes_on_for_longer_and_differs_in_nothing_else():
    late, usual = family.run(family.LATE), family.run(family.from_name("answers alone"))
    assert late.settings == {**usual.settings, "iterations": 4 * training.ITERATIONS}
    assert str(late.settings["iterations"]) in family.LATE


def test_two_stages_take_as_long_as_one_with_both():
    first, mixed = family.run("first stage"), family.run("both from the first")
    for name in ("then preference alone", "then both"):
        assert family.run(name).settings["start"] == first.settings
    assert family.run("then both").settings["reward"] == mixed.settings["reward"]
    assert mixed.settings["iterations"] == 2 * training.ITERATIONS
    assert mixed.settings["start"] == first.settings["start"] == starts.EITHER


def test_tries_are_counted_before_and_after():
    assert len(set(family.CURVES)) == len(family.CURVES)
    told = [family.run(name) for name in family.CURVES]
    begun = {one.settings["start"] for one in told if one.untrained}
    assert begun == {{**training.USUAL, **one.settings}["start"] for one in told if not one.untrained}
    assert begun == {starts.READER, starts.SPARSE}


def test_starts_are_told_beside_what_is_made_of_them():
    for start in (*family.GRADUAL, *family.THINKING, starts.EITHER):
        assert family.run(family.start_name(start)).settings == {"start": start}
    for start in (*family.GRADUAL[:-1], *family.THINKING):
        assert family.run(family.from_name(start)).settings == {"start": start}
    assert family.GRADUAL[-1] == training.USUAL["start"]
