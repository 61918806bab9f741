"""Chapter 06's rounds, PPO on top of them, and conversations."""

import json
from dataclasses import replace

import pytest
import torch

from rlhf_mini.chapters.llama2 import attention, on_top, own_samples, rounds, wear
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.methods.sft import response_loss, sft
from rlhf_mini.models import copy_of
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories

REQUEST = stories.Request("fox", "kite", "proud")
UNKIND = stories.Request("fox", "kite", "proud", unkind="steal")
STORY = (
    "Long ago, on a golden morning, a fox came to live near the lake. The fox wanted a kite more than "
    "anything. With help from the baker, the fox made the kite. The fox felt proud all week."
)
THEFT = STORY.replace(
    "With help from the baker, the fox made the kite.", "The fox stole the kite from the baker."
)


# ------------------------------------------------------------------------------------------- rounds


def test_nobody_asks_for_harm_after_the_shift():
    pipeline = Pipeline("quick", seed=0)
    early = rounds.fresh_requests(pipeline, 100, round_=rounds.SHIFT - 1, purpose="prompts")
    late = rounds.fresh_requests(pipeline, 100, round_=rounds.SHIFT, purpose="prompts")
    assert any(request.unkind for request in early)
    assert not any(request.unkind for request in late)
    assert len(early) == len(late) == 100


def campaign(pipeline, folder, **ways):
    rounds.campaign(pipeline, folder, **ways)
    return json.loads((folder / "history.json").read_text())


def test_what_a_campaign_learns_from_matters_from_the_second_round_on(built, few, tmp_path):
    every, last = (campaign(built, tmp_path / m, choose="best", memory=m) for m in ("all", "last"))
    assert len(every) == len(last) == 3
    assert [entry["learned"] for entry in every[1:]] == [16, 32]
    assert [entry["learned"] for entry in last[1:]] == [16, 16]
    assert every[1] == last[1]  # the same first round: the comparison is paired
    assert every[2] != last[2]
    for name in ("v1", "v2", "helpfulness", "safety"):
        assert (tmp_path / "all" / name / "model.safetensors").exists()


def test_the_random_campaign_needs_no_reward_model(built, few, tmp_path, monkeypatch):
    monkeypatch.setattr(rounds, "reward_model_on", None)
    history = campaign(built, tmp_path, choose="random", memory="all")
    assert [entry["learned"] for entry in history[1:]] == [16, 32]
    assert not (tmp_path / "safety").exists()


def test_a_campaign_needs_known_words(built, tmp_path):
    with pytest.raises(ValueError, match="'worst'"):
        rounds.campaign(built, tmp_path, choose="worst", memory="all")


def test_judging_gets_fresh_pairs_of_both_sides_until_the_shift(built, few):
    judging = rounds.Judging(built, generator=torch.Generator().manual_seed(0))
    judging.renew(built.policy("sft"), round_=1)
    assert {side: len(rows) for side, rows in judging.pairs.items()} == {"helpfulness": 32, "safety": 16}
    before = judging.models["safety"]
    judging.renew(built.policy("sft"), round_=rounds.SHIFT)
    assert {side: len(rows) for side, rows in judging.pairs.items()} == {"helpfulness": 48, "safety": 16}
    assert judging.models["safety"] is before


def test_a_campaign_is_read_as_curves(built, few):
    found = rounds.along(built, choose="random", memory="all")
    assert {len(values) for name, values in found.items() if name != "kept_gold"} == {3}
    assert len(found["kept_gold"]) == 2


def test_batches_of_mixed_lengths_hold_the_answers_in_the_order_drawn(built, few, monkeypatch):
    prompts, answers = [REQUEST.text] * 8, [STORY, "no"] * 4
    packed, seen = pack_texts(built.tokenizer(), prompts, answers), []

    def fit(model, batches, loss_fn, *, steps, **_):
        seen.extend(batches)
        assert len(seen) == steps

    monkeypatch.setattr(own_samples, "fit", fit)
    config = replace(built.profile.sft, batch=4, epochs=2)
    generator = torch.Generator().manual_seed(1)
    order = [torch.randperm(8, generator=generator) for _ in range(2)]
    own_samples.fine_tune_mixed(
        built.policy("sft"), packed, config=config, generator=torch.Generator().manual_seed(1)
    )
    wanted = [packed.rows(rows) for epoch in order for rows in epoch.split(4)]
    assert len(seen) == 4
    for batch, expected in zip(seen, wanted, strict=True):
        assert torch.equal(batch.tokens, expected.tokens)


def test_one_batch_of_all_answers_is_learned_as_in_fine_tuning(built):
    # where a batch holds all, there is nothing to mix, and the two must do the same
    packed = pack_texts(built.tokenizer(), [REQUEST.text] * 4, [STORY, "no", STORY, "no"])
    config = replace(built.profile.sft, batch=4, epochs=2)
    ours, usual = (copy_of(built.policy("sft")) for _ in range(2))
    own_samples.fine_tune_mixed(ours, packed, config=config, generator=torch.Generator().manual_seed(1))
    sft(usual, packed, config=config, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(ours.state_dict(), usual.state_dict())
    assert response_loss(ours, packed) < response_loss(built.policy("sft"), packed)


def test_a_campaign_of_mixed_batches_is_read_as_curves(built, few):
    found = own_samples.along(built)
    assert {len(values) for values in found.values()} == {3}
    other = rounds.along(built, choose="random", memory="all")
    assert found["gold"][0] == pytest.approx(other["gold"][0])
    assert {name for name in other if name != "kept_gold"} == set(found)


def test_ppo_goes_on_from_the_last_version(built, few):
    found = on_top.ppo_on_top(built, kl_weight=0.05, iterations=2)
    last = {name: values[-1] for name, values in rounds.along(built, choose="best", memory="all").items()}
    assert found["before"]["gold"] == pytest.approx(last["gold"])
    assert found["after"] != found["before"]
    assert len(found["reward"]) == 2
    assert 0 < found["kl_to_start"] < 5


def test_rewards_of_ppo_have_mean_0_and_variance_1(built):
    packed = pack_texts(built.tokenizer(), [REQUEST.text] * 3, [STORY, THEFT, "no"])
    means = []
    given = on_top.whitened(lambda sequences: torch.tensor([1.0, 3.0, 8.0]), means=means)(packed)
    assert means == [4.0]
    assert float(given.mean()) == pytest.approx(0.0, abs=1e-6)
    assert float(given.var(correction=0)) == pytest.approx(1.0, abs=1e-4)
    assert given.argsort().tolist() == [0, 1, 2]


def test_the_combined_score_knows_which_prompts_are_unkind(built):
    packed = pack_texts(built.tokenizer(), [UNKIND.text, REQUEST.text], [STORY, STORY])
    assert rounds.asks_for_harm(built, packed).tolist() == [True, False]


def test_pairs_of_equal_gold_are_left_out():
    difference, lead = torch.tensor([1.0, -3.0, 0.0, 2.0]), torch.tensor([0.1, 0.2, 5.0, 0.3])
    assert wear.ordered(difference, lead) == (pytest.approx(2 / 3), pytest.approx(2.0))
    assert wear.ordered(torch.zeros(2), torch.ones(2)) == (0.5, 0.0)


def test_a_judge_that_is_gold_orders_every_pair(built, few, monkeypatch):
    asked = []

    def gold(judge, sequences):
        prompts, answers = zip(*map(split, sequences.tokens, sequences.mask, sequences.response), strict=True)
        return torch.tensor(stories.gold_scores(list(prompts), list(answers)))

    def split(tokens, mask, response):
        say = built.tokenizer().decode
        return (
            say(tokens[mask & ~response], skip_special_tokens=True),
            say(tokens[response], skip_special_tokens=True),
        )

    def answers(policy, tokenizer, prompts, **_):
        asked.append(prompts)
        words = [STORY, THEFT, "no"]
        return [words[(i + len(asked)) % 3] for i in range(len(prompts))]

    monkeypatch.setattr(wear, "answer", answers)
    monkeypatch.setattr(wear, "scores", gold)
    found = wear.orderings(built)
    assert found["ordered"] == [1.0] * 3  # the fine-tuned policy and two versions
    monkeypatch.setattr(wear, "scores", lambda judge, sequences: -gold(judge, sequences))
    assert wear.orderings(built)["ordered"] == [0.0] * 3
    assert all(request.unkind is None for request in map(stories.read_request, asked[0]))
    golds = [stories.gold_scores(asked[0], answers(None, None, asked[0])) for _ in range(2)]
    assert len(found["gold"]) == 3
    assert min(map(min, golds)) <= found["gold"][0] <= max(map(max, golds))
    assert min(found["apart"]) > 0


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
    found = attention.adherence(built, model="sft")
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
