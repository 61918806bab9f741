"""Chapter 06's experiments: that they measure what they say."""

import json
import math
import random

import pytest
import torch
from datasets import load_from_disk

from rlhf_mini.chapters.llama2 import (
    attention,
    best_of_k,
    bug_hunt,
    checks,
    combining,
    margins,
    ratings,
    rounds,
    sides,
)
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.losses import pairwise_loss
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories.annotators import Annotator
from rlhf_mini.worlds.stories.demonstrators import HASTY, demonstrate
from rlhf_mini.worlds.stories.plots import DECLINES

REQUEST = stories.Request("fox", "kite", "proud")
UNKIND = stories.Request("fox", "kite", "proud", unkind="steal")
STORY = (
    "Long ago, on a golden morning, a fox came to live near the lake. The fox wanted a kite more than "
    "anything. With help from the baker, the fox made the kite. The fox felt proud all week."
)
THEFT = STORY.replace(
    "With help from the baker, the fox made the kite.", "The fox stole the kite from the baker."
)


# ------------------------------------------------------------------------------------------- ratings


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def test_the_chances_of_ratings_by_hand():
    # One judge without position bias, temperature 2, gold 4 against 0: P(felt > x) = σ((4 − x)/2).
    judge = Annotator(name="x", temperature=2.0)
    wins, losses = ratings.rating_chances(REQUEST.text, STORY, "", panel=(judge,))
    above = [sigmoid((4 - edge) / 2) for edge in (0, 0.25, 1.2, 2.5)]
    assert wins == pytest.approx([above[0] - above[1], above[1] - above[2], above[2] - above[3], above[3]])
    below = [sigmoid((-4 - edge) / 2) for edge in (0, 0.25, 1.2, 2.5)]
    assert losses == pytest.approx([below[0] - below[1], below[1] - below[2], below[2] - below[3], below[3]])
    assert sum(wins) + sum(losses) == pytest.approx(1)


def test_the_chances_of_ratings_are_those_of_drawn_labels():
    """4,000 draws: five standard deviations of a share, at most 0.04."""
    prompt, rng = REQUEST.text, random.Random(0)
    other = demonstrate(REQUEST, HASTY, rng)
    rows = [{"prompt": prompt, "first": STORY, "second": other}] * 2000
    rows += [{"prompt": prompt, "first": other, "second": STORY}] * 2000
    judged = stories.annotate(rows, seed=1)
    wins, losses = ratings.rating_chances(prompt, STORY, other)
    for counts, winner in ((wins, STORY), (losses, other)):
        for rating, chance in zip(stories.RATINGS, counts, strict=True):
            seen = sum(row["chosen"] == winner and row["rating"] == rating for row in judged) / len(judged)
            assert abs(seen - chance) < 0.04


def test_accuracy_by_rating_by_hand():
    wins = torch.tensor([[0.1, 0.2, 0.1, 0.3], [0.2, 0.1, 0.1, 0.0]])
    losses = torch.tensor([[0.1, 0.1, 0.1, 0.0], [0.2, 0.2, 0.1, 0.1]])
    # right about the first (wins), wrong about the second (its losses are what the other sign would get)
    found = ratings.accuracy_by_rating(torch.tensor([1.0, 0.5]), wins, losses)
    assert found == pytest.approx([0.3 / 0.6, 0.3 / 0.6, 0.2 / 0.4, 0.3 / 0.4, 1.1 / 2])
    tied = ratings.accuracy_by_rating(torch.zeros(2), wins, losses)
    assert tied == pytest.approx([0.5] * 5)
    assert ratings.ceiling_by_rating(wins, losses)[-1] == pytest.approx((0.7 + 0.6) / 2)
    assert ratings.shares(wins, losses) == pytest.approx([0.3, 0.3, 0.2, 0.2])


def test_two_points_are_bimodal_and_a_bell_is_not():
    drawn = torch.randn(20_000, generator=torch.Generator().manual_seed(0)).double()
    assert margins.bimodality(drawn) == pytest.approx(1 / 3, abs=0.02)
    assert margins.bimodality(torch.tensor([-1.0, 1.0] * 50)) == pytest.approx(1.0)


# ------------------------------------------------------------------------------------------- two sides


def test_unkind_requests_are_unkind_and_on_their_side_of_the_split():
    for held_out in (False, True):
        found = sides.unkind_requests(30, seed=3, held_out=held_out)
        assert len(found) == 30
        assert all(request.unkind for request in found)
        assert all(stories.is_held_out(r.hero, r.object) == held_out for r in found)
    assert len({request.text for request in found}) == 30


def pool(helpfulness, safety):
    """One unkind prompt with three answers: a decline, a theft, a kind story."""
    return {
        "prompts": [UNKIND.text],
        "answers": [[DECLINES[0], THEFT, STORY]],
        "helpfulness": torch.tensor([helpfulness]),
        "safety": torch.tensor([safety]),
    }


def test_what_each_rule_keeps():
    drawn = pool([0.05, 0.95, 0.7], [0.9, 0.02, 0.3])
    piecewise = combining.outcome(drawn, combining.combined(drawn, unkind=True))
    assert (piecewise["politely"], piecewise["told"], piecewise["gold"]) == (1.0, 0.0, 4.0)
    linear = combining.outcome(drawn, combining.weighted(drawn, safety_weight=0.3))
    assert (linear["declined"], linear["told"]) == (0.0, 1.0)
    assert (linear["helpfulness"], linear["gold"]) == (
        3.0,
        0.0,
    )  # of 4: its second sentence is another plot's
    # the prompt not marked: the threshold catches the theft, and helpfulness chooses among the others
    unmarked = combining.outcome(drawn, combining.combined(drawn, unkind=False))
    assert (unmarked["told"], unmarked["declined"]) == (0.0, 0.0)


def test_the_divergence_of_a_pool():
    # four different rewards, best of 2: picks k with chance (k² − (k − 1)²)/16 = 1, 3, 5, 7 sixteenths
    expected = sum(q / 16 * math.log(4 * q / 16) for q in (1, 3, 5, 7))
    assert best_of_k.kl(torch.tensor([[0.1, 0.2, 0.3, 0.4]]), 2) == pytest.approx(expected)
    assert best_of_k.kl(torch.tensor([[1.0, 1.0, 1.0]]), 3) == pytest.approx(0.0)
    same_text_twice = torch.tensor([[0.5, 0.5 + 1e-6]])
    assert best_of_k.kl(same_text_twice, 2) == pytest.approx(0.0)


@pytest.fixture
def few(monkeypatch):
    """Small numbers, for the miniature pipeline."""
    monkeypatch.setattr(sides, "SAFETY_PAIRS", {"train": 16, "test": 8})
    monkeypatch.setattr(sides, "REFERENCE_ANSWERS", 8)
    monkeypatch.setattr(combining, "PROMPTS", 3)
    monkeypatch.setattr(rounds, "PROMPTS", 16)
    monkeypatch.setattr(rounds, "PAIRS", {"helpfulness": 16, "safety": 8})
    monkeypatch.setattr(attention, "DIALOGUES", 16)
    monkeypatch.setattr(attention, "CONTEXT", 512)
    monkeypatch.setattr(attention, "LONGEST_ANSWER", 24)


def test_the_sides_pairs_are_judged_by_their_panels(built, few, tmp_path):
    for side in sides.SIDES:
        sides.side_pairs(built, tmp_path / side, side=side)
        for split in ("train", "test"):
            rows = load_from_disk(str(tmp_path / side / split))
            assert {judge.name for judge in sides.PANELS[side]} >= set(rows["annotator"])
            if side == "safety":
                assert all(rows["safety_prompt"])
            else:
                shared = built.preferences(split)
                assert rows["prompt"] == shared["prompt"]
                for row, one in zip(rows, shared, strict=True):
                    assert {row["chosen"], row["rejected"]} == {one["chosen"], one["rejected"]}


def test_red_team_pairs_have_unsafe_answers_in_either_place(built):
    requests = sides.unkind_requests(60, seed=1, held_out=False)
    rows = sides.red_team_pairs(built, requests, purpose="test")
    unsafe = [[stories.gold(r["prompt"], r[place]).safety < 0 for r in rows] for place in ("first", "second")]
    assert min(map(sum, unsafe)) > 5


def test_the_mix_is_llama_2_s(built, few):
    own = sides.training_pairs(built, side="safety", mixed=False)
    mixed = sides.training_pairs(built, side="safety", mixed=True)
    assert len(own) == 16
    assert len(mixed) == 16 + 16 // 9
    helpful = sides.training_pairs(built, side="helpfulness", mixed=True)
    assert len(helpful) == built.profile.pairs + 16


# ------------------------------------------------------------------------------------------- rounds


def test_nobody_asks_for_harm_after_the_shift():
    pipeline = Pipeline("quick", seed=0)
    early = rounds.fresh_requests(pipeline, 100, round_=rounds.SHIFT - 1, purpose="prompts")
    late = rounds.fresh_requests(pipeline, 100, round_=rounds.SHIFT, purpose="prompts")
    assert any(request.unkind for request in early)
    assert not any(request.unkind for request in late)
    assert len(early) == len(late) == 100


def test_a_campaign_keeps_every_version(built, few, tmp_path):
    for memory, learned in (("all", [16, 32]), ("last", [16, 16])):
        folder = tmp_path / memory
        folder.mkdir()
        rounds.campaign(built, folder, choose="best", memory=memory, rounds=2)
        history = json.loads((folder / "history.json").read_text())
        assert len(history) == 3
        assert [entry["learned"] for entry in history[1:]] == learned
        assert (folder / "v2" / "model.safetensors").exists()
        assert (folder / "safety" / "model.safetensors").exists()


def test_the_combined_score_knows_which_prompts_are_unkind(built):
    packed = pack_texts(built.tokenizer(), [UNKIND.text, REQUEST.text], [STORY, STORY])
    assert rounds.asks_for_harm(built, packed).tolist() == [True, False]


# ------------------------------------------------------------------------------------------- ghost attention


def test_ghost_dialogues_name_the_hero_once(built, few):
    for attached in (True, False):
        planned = attention.training_plans(built)
        dialogues = attention.ghost_dialogues(built, attached=attached)
        assert [len(turns) for turns in dialogues] == [len(plan.questions) for plan in planned]
        for plan, turns in zip(planned, dialogues, strict=True):
            assert turns[0][0] == attention.naming(plan.hero)(plan.questions[0])
            assert [question for question, _ in turns[1:]] == plan.questions[1:]


def test_adherence_is_measured_turn_by_turn(built, few):
    found = attention.adherence(built, model="sft", dialogues=4, turns=3)
    assert {len(values) for values in found.values()} == {3}
    assert all(0 <= share <= 1 for share in found["hero"] + found["object"] + found["finished"])


def test_the_instruction_names_the_hero():
    attach = attention.naming("owl")
    assert attach("Tell me a short sad story about a drum.") == (
        "Tell me a short sad story about an owl and a drum."
    )
    pipeline = Pipeline("quick", seed=0)
    for held_out in (False, True):
        for plan in attention.plans(pipeline, 20, turns=3, held_out=held_out):
            assert len(plan.questions) == 3
            assert not any(plan.hero in question.split("story about")[1] for question in plan.questions)
            for request in plan.requests:
                assert (request.hero, request.length) == (plan.hero, "short")
                assert stories.is_held_out(request.hero, request.object) == held_out


def test_training_conversations_have_one_to_three_turns():
    planned = attention.training_plans(Pipeline("quick", seed=0))
    turns = [len(plan.questions) for plan in planned]
    assert set(turns) == {1, 2, 3}
    assert len(planned) == attention.DIALOGUES


# ------------------------------------------------------------------------------------------- the bug hunt


def test_the_hunted_loss_mixes_every_pair_with_every_margin():
    chosen, rejected, margin = torch.tensor([[2.0], [1.0]]), torch.zeros(2, 1), torch.tensor([3.0, 0.0])
    right = pairwise_loss(chosen[:, 0], rejected[:, 0], margin=margin)
    assert bug_hunt.pair_loss_right(chosen, rejected, margin) == pytest.approx(float(right.mean()))
    mixed = [math.log1p(math.exp(-(c - m))) for c in (2.0, 1.0) for m in (3.0, 0.0)]
    assert bug_hunt.pair_loss_wrong(chosen, rejected, margin) == pytest.approx(sum(mixed) / 4)


# ------------------------------------------------------------------------------------------- the ladder


@pytest.mark.parametrize("rung", [checks.exact, checks.own_prompt, checks.known_optimum])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_rungs_that_need_no_model_hold(rung, seed):
    right, seen = rung(Pipeline("quick", seed=seed))
    assert right, seen
