"""o1's recipe: outcome alone is paid, its run is chapter 12's, and three read-outs of one pool of samples."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from rlhf_mini.chapters.small_sums import tokenizer
from rlhf_mini.chapters.verifiable import looks, starts, training
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.methods.reward_model import RewardModelConfig
from rlhf_mini.methods.reward_parts import score_parts, weighted_sum
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.recipes import o1, reading_out
from rlhf_mini.recipes.o1 import RECIPE
from rlhf_mini.worlds.sums import Sum, verify

PROBLEM = Sum((27, 58))
RIGHT, WRONG = "7+8=15 2+5+1=8 =85", "7+8=16 2+5+1=8 =86"
RIGHT_ON_WRONG, BARE = "7+8=16 2+5+1=8 =85", "=85"
SETTINGS = {**RECIPE.settings, "iterations": 2}


@pytest.fixture
def short(miniature, tmp_path, monkeypatch):
    """The miniature pipeline with few sums and answers, and solutions of even length called right."""
    for name, few in (("READ", 56), ("SHOWN", 28), ("ASKED", 12), ("EPOCHS", 1), ("LAST_EPOCHS", 1)):
        monkeypatch.setattr(starts, name, few)
    monkeypatch.setattr(training, "ANSWERS", 8)
    monkeypatch.setattr(training, "SAMPLES", 4)
    monkeypatch.setattr(training, "USUAL", {**training.USUAL, "iterations": 2, "samples": 4})
    for name, few in (("HELD_OUT", 8), ("CURVE_PROBLEMS", 3), ("CURVE_SAMPLES", 4), ("TRIES", (1, 2, 4))):
        monkeypatch.setattr(looks, name, few)
    learning = RewardModelConfig(epochs=1, batch=4, optimizer=reading_out.LEARNING.optimizer)
    monkeypatch.setattr(reading_out, "LEARNING", learning)
    monkeypatch.setattr(reading_out, "is_right", lambda problem, text: len(text) % 2 == 0)
    return Pipeline(miniature, cache=tmp_path)


def said(*texts):
    return [[verify(PROBLEM, text) for text in texts]]


# ------------------------------------------------------------------------------------------- the reward


def test_the_outcome_alone_is_paid(short):
    """The same answer on other steps, or on none, is worth as much; another answer is worth nothing."""
    parts = training.reward_parts(short, RECIPE.settings["reward"])
    texts = [RIGHT, RIGHT_ON_WRONG, BARE, WRONG]
    sequences = pack_texts(tokenizer(), [PROBLEM.text] * 4, texts)
    assert weighted_sum(parts, score_parts(parts, sequences)).tolist() == [1.0, 1.0, 1.0, 0.0]
    paid = training.reward_parts(short, RECIPE.variants["steps paid, not the answer"]["reward"])
    assert weighted_sum(paid, score_parts(paid, sequences)).tolist() == [1.0, 0.5, 0.0, 0.5]


def test_its_run_is_chapter_12_s_to_the_last_bit(short):
    start = starts.start_of(short, "the reader")
    saved, log = o1.reinforced(
        short, start, **{name: value for name, value in SETTINGS.items() if name != "start"}
    )
    theirs = training.policy_of(short).state_dict()
    for name, weight in saved["rl"].state_dict().items():
        assert torch.equal(weight, theirs[name]), name
    assert len(log) == 2
    assert all(entry["score_answer right"] == pytest.approx(entry["reward"]) for entry in log)


def test_checkpoints_are_copies_along_one_run(short):
    assert o1.checkpoint_iterations(40) == {"an eighth": 5, "a quarter": 10, "a half": 20, "rl": 40}
    start = starts.start_of(short, "the reader")
    settings = {name: value for name, value in SETTINGS.items() if name != "start"}
    # counted steps: this model answers nothing rightly, and an answer's reward would be 0 throughout
    saved, _ = o1.reinforced(short, start, **{**settings, "reward": {"steps counted": 1.0}})
    assert [*saved] == ["an eighth", "a quarter", "a half", "rl"]
    name = "model.embed_tokens.weight"
    weights = [model.state_dict()[name] for model in (start, *saved.values())]
    assert torch.equal(weights[0], weights[1])  # an eighth of two iterations is none
    assert torch.equal(weights[1], weights[2])
    if not torch.equal(weights[0], weights[-1]):
        assert not torch.equal(weights[3], weights[4])
    assert not any(weight.requires_grad for model in saved.values() for weight in model.parameters())


# ------------------------------------------------------------------------------------------- read-outs


def test_three_read_outs_by_hand(monkeypatch):
    """Samples: the right answer, twice the wrong 84, and 86. The scorer likes an 84 best, then the right.

    One: ¼. The vote of two: half of the 6 pairs hold the right answer, each as a tie: ¼; of all four: 84.
    The scorer of two: of the 3 pairs with the right answer it loses one, to its favourite: 2/6; of four, it
    takes its favourite. At least one right: in half of the pairs, and always in four.
    """
    monkeypatch.setattr(looks, "TRIES", (1, 2, 4))
    found = reading_out.read_out([PROBLEM], said(RIGHT, "=84", "=84", "=86"), [[2.0, 1.0, 3.0, 0.0]])
    assert found["one"] == [0.25] * 3
    assert found["vote"] == pytest.approx([0.25, 0.25, 0.0])
    assert found["scorer"] == pytest.approx([0.25, 2 / 6, 0.0])
    assert found["pass"] == pytest.approx([0.25, 0.5, 1.0])
    assert found["tries"] == [1.0, 2.0, 4.0]


def test_the_vote_asks_no_scorer_and_the_scorer_no_truth(monkeypatch):
    monkeypatch.setattr(looks, "TRIES", (1, 3))
    texts = said(RIGHT, RIGHT_ON_WRONG, "=84")
    for liked in ([3.0, 2.0, 1.0], [1.0, 2.0, 3.0]):
        found = reading_out.read_out([PROBLEM], texts, [liked])
        assert found["vote"] == pytest.approx([2 / 3, 1.0])
        assert found["scorer"][1] == (1.0 if liked[0] > liked[2] else 0.0)  # it keeps to what it likes
        assert all(one <= most + 1e-9 for one, most in zip(found["scorer"], found["pass"], strict=True))


def test_a_vote_falls_with_its_size_where_the_truth_is_a_minority(monkeypatch):
    monkeypatch.setattr(looks, "TRIES", (1, 3, 5))
    found = reading_out.read_out([PROBLEM], said(RIGHT, RIGHT, "=84", "=84", "=84"), [[0.0] * 5])
    assert found["vote"] == pytest.approx([0.4, 0.3, 0.0])
    assert found["pass"] == sorted(found["pass"])


def test_right_answers_on_wrong_steps():
    assert reading_out.right_on_wrong_steps(said(RIGHT, RIGHT_ON_WRONG, BARE, WRONG)) == 2 / 3
    assert reading_out.right_on_wrong_steps(said(WRONG)) == 0


# ------------------------------------------------------------------------------------------- the scorer


def test_pairs_of_a_right_and_a_wrong_solution():
    shown = [PROBLEM, Sum((11, 11)), Sum((12, 12))]
    texts = [[WRONG, RIGHT, WRONG, BARE, "=1"], ["=22", "=22"], ["=1", "=2"]]
    assert reading_out.right_and_wrong(shown, texts) == [("27+58", RIGHT, WRONG), ("27+58", BARE, "=1")]


def test_the_scorer_learns_from_training_problems_and_starts_from_the_last_policy(short, monkeypatch):
    asked = []
    real = reading_out.answer

    def spy(policy, words, prompts, **more):
        asked.append((policy, set(prompts)))
        return real(policy, words, prompts, **more)

    monkeypatch.setattr(reading_out, "answer", spy)
    policies = [starts.start_of(short, name) for name in ("the reader", "answers alone")]
    scorer = reading_out.learned_scorer(short, policies)
    training_problems = {problem.text for problem in starts.problems(short, "asked")}
    assert [prompts for _, prompts in asked] == [training_problems] * 2
    assert [policy for policy, _ in asked] == policies
    assert not scorer.training
    monkeypatch.setattr(reading_out, "is_right", lambda problem, text: False)
    with pytest.raises(
        ValueError, match="0 pairs of a right and a wrong solution are less than one batch of 4"
    ):
        reading_out.learned_scorer(short, policies)


def test_all_read_outs_are_of_the_same_weights_and_samples(short, monkeypatch):
    calls = []
    real = looks.solutions

    def spy(pipeline, policy, problems, *, samples):
        texts = real(pipeline, policy, problems, samples=samples)
        calls.append((policy, texts))
        return texts

    monkeypatch.setattr(looks, "solutions", spy)
    policy = starts.start_of(short, "the reader")
    told = reading_out.read_outs(short, {"one": policy, "same": policy})
    assert [called for called, _ in calls] == [policy, policy]  # one pool for each
    assert calls[0][1] == calls[1][1]
    assert told["one"] == told["same"]


@pytest.mark.parametrize("variant", ["", *RECIPE.variants])
def test_the_whole_recipe(short, variant):
    settings = {**RECIPE.settings_of(variant), "iterations": 2}
    folder = short.kept(RECIPE.train, **settings)
    for step in RECIPE.steps:
        AutoModelForCausalLM.from_pretrained(folder / step)
    start = starts.start_of(short, settings["start"]).state_dict()
    begun = load_file(folder / "sft" / "model.safetensors")
    assert all(torch.equal(weight, start[name]) for name, weight in begun.items())
    told = json.loads((folder / "test_time.json").read_text())
    assert [*told] == [*RECIPE.steps]
    for curves in told.values():
        for name in ("one", "vote", "scorer"):
            assert all(x <= most + 1e-9 for x, most in zip(curves[name], curves["pass"], strict=True))
    assert len(json.loads((folder / "log.json").read_text())) == 2


def test_it_says_that_it_is_a_conjecture():
    assert "conjecture" in RECIPE.title
    assert RECIPE.world == "sums"
    assert any("conjecture" in line for line in RECIPE.departures)
    assert all(line in ("Not stated",) or "ot stated" in line or "undisclosed" in line
               for line in (RECIPE.reward, RECIPE.optimiser, RECIPE.anchor, RECIPE.rounds))  # fmt: skip
