"""Chapter 06's two sides, what each rule keeps, best of K, and the ladder."""

import math
from types import SimpleNamespace

import pytest
import torch
from datasets import load_from_disk

from rlhf_mini.chapters.llama2 import best_of_k, checks, combining, sides
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories
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


def test_a_pool_is_drawn_and_scored_once(built, few):
    drawn = combining.pool(built, unkind=True, samples=4)
    assert drawn["helpfulness"].shape == drawn["safety"].shape == (3, 4)
    assert all(stories.read_request(prompt).unkind for prompt in drawn["prompts"])
    packed = pack_texts(built.tokenizer(), [drawn["prompts"][1]] * 4, drawn["answers"][1])
    expected = sides.probabilities(sides.model_of(built, side="safety"), packed)
    torch.testing.assert_close(drawn["safety"][1], expected, atol=1e-4, rtol=0)
    again = combining.pool(built, unkind=True, samples=4)
    assert again["answers"] == drawn["answers"]
    assert torch.equal(again["safety"], drawn["safety"])


def test_best_of_k_curves_begin_with_the_mean_and_end_with_the_best(built, few):
    found = best_of_k.curve(built, temperature=1.0, unkind=False)
    drawn = combining.pool(built, unkind=False, prompts=3, samples=8, temperature=1.0)
    rewards = torch.logit(combining.combined(drawn, unkind=False), eps=1e-6)
    assert found["reward"][0] == pytest.approx(float(rewards.mean()), abs=1e-4)
    assert found["gold"][0] == pytest.approx(float(best_of_k.golds_of(drawn).mean()), abs=1e-4)
    assert found["reward"] == sorted(found["reward"])
    assert found["kl"][0] == pytest.approx(0.0, abs=1e-9)
    assert all(kl <= bound + 1e-9 for kl, bound in zip(found["kl"], found["bound"], strict=True))


def test_the_mix_is_llama_2_s(built, few):
    own = sides.training_pairs(built, side="safety", mixed=False)
    mixed = sides.training_pairs(built, side="safety", mixed=True)
    assert len(own) == 16
    assert len(mixed) == 16 + 16 // 9
    helpful = sides.training_pairs(built, side="helpfulness", mixed=True)
    assert len(helpful) == built.profile.pairs + 16


# ------------------------------------------------------------------------------------------- the ladder


def test_the_random_choice_is_held_against_its_error(built, few, monkeypatch):
    assert "standard error" in checks.random_choice(built)[1]
    monkeypatch.setattr(checks, "random_of", lambda golds, generator: golds.argmax(1))
    monkeypatch.setattr(best_of_k, "golds_of", lambda drawn: torch.arange(12.0).view(3, 4))
    assert not checks.random_choice(built)[0]


def test_the_last_rungs_read_what_was_picked(built, monkeypatch):
    picks = {
        rule: {"kind_gold": gold, "unkind_gold": gold} for rule, gold in (("any", 2.0), ("piecewise", 2.8))
    }
    monkeypatch.setattr(checks.combining, "picks", None)
    monkeypatch.setattr(built, "measured", lambda experiment, **_: picks)
    assert checks.real(built)[0]
    assert checks.in_the_band(built)[0]  # no seeds of the miniature profile are on record
    picks["piecewise"]["unkind_gold"] = 2.6
    assert not checks.real(built)[0]


def test_the_band_is_that_of_one_more_seed(built, monkeypatch):
    """Five seeds, mean 3, deviation 0.1: 95% of further ones within 2.776 · 0.1 · √(1 + 1/5) = 0.304 of 3."""
    spread = [-0.126491, -0.063246, 0.0, 0.063246, 0.126491]  # deviation 0.1 with n − 1
    rows = [SimpleNamespace(metrics={"kind_gold_piecewise": 3 + x}) for x in spread]
    monkeypatch.setattr(checks, "read_records", lambda *_, **__: rows)
    for gold, inside in ((2.68, False), (2.71, True), (3.29, True), (3.32, False)):
        monkeypatch.setattr(built, "measured", lambda *_, g=gold, **__: {"piecewise": {"kind_gold": g}})
        assert checks.in_the_band(built)[0] == inside, gold


@pytest.mark.parametrize("rung", [checks.exact, checks.own_prompt, checks.known_optimum])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_rungs_that_need_no_model_hold(rung, seed):
    right, seen = rung(Pipeline("quick", seed=seed))
    assert right, seen
