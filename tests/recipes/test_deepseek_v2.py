"""DeepSeek-V2: a learned judge of what can be checked, then a sum of three rewards; GRPO throughout."""

import json
import random

import pytest
import torch
from safetensors.torch import load_file

from rlhf_mini.batch import pack_rows
from rlhf_mini.chapters.llama2 import sides
from rlhf_mini.chapters.rlaif import schooling
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.methods.group_methods import grpo_method
from rlhf_mini.recipes import deepseek_v2 as recipe
from rlhf_mini.recipes.deepseek_v2 import RECIPE
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories import checks

KIND = stories.Request("fox", "kite", "proud").text


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Small numbers, and demonstrators' answers: of the miniature policy's no check is ever passed."""

    def shown(pipeline):
        prompts = [request.text for request in stories.draw_requests(40, seed=5)]
        return schooling.written(prompts, random.Random(0))

    monkeypatch.setattr(recipe, "annotated_pairs", shown)
    monkeypatch.setattr(recipe, "REQUESTS", 200)
    monkeypatch.setattr(sides, "SAFETY_PAIRS", {"train": 16, "test": 8})
    monkeypatch.setattr(sides, "REFERENCE_ANSWERS", 8)


@pytest.fixture
def watched(monkeypatch):
    """What GRPO was called with, and every draw, stage by stage."""
    calls, grpo = [], recipe.grpo

    def call(policy, reference, tokenizer, prompts, parts, method, **rest):
        state = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
        draws, on_groups = [], rest.pop("on_groups")

        def watch(iteration, groups, metrics):
            draws.append(groups)
            on_groups(iteration, groups, metrics)

        calls.append({"start": state, "parts": parts, "prompts": prompts, "draws": draws, "method": method})
        calls[-1]["config"] = rest["config"]
        return grpo(policy, reference, tokenizer, prompts, parts, method, on_groups=watch, **rest)

    monkeypatch.setattr(recipe, "grpo", call)
    return calls


def train(pipeline, folder, variant=""):
    folder.mkdir()
    RECIPE.train(pipeline, folder, **RECIPE.settings_of(variant))
    weights = [load_file(folder / step / "model.safetensors") for step in RECIPE.steps]
    return weights, json.loads((folder / "log.json").read_text())


# -------------------------------------------------------------------------------------------------- stage one


def test_labels_come_from_the_checks(built):
    pairs = recipe.checked_pairs(built)
    assert pairs
    for row in pairs:
        assert stories.read_request(row["prompt"]).unkind is None
        better, worse = (checks.share_passed(row["prompt"], row[side]) for side in ("chosen", "rejected"))
        assert better > worse


def test_the_checks_are_never_asked_in_training(built, tmp_path, monkeypatch):
    """They have labelled the pairs before; the variant that is paid by them asks at once."""
    built.kept(recipe.reasoning_model)

    def refuse(prompt, text):
        raise AssertionError("the checks were asked")

    monkeypatch.setattr(recipe, "share_passed", refuse)
    monkeypatch.setattr(checks, "checks", refuse)
    train(built, tmp_path / "run")
    with pytest.raises(AssertionError, match="were asked"):
        train(built, tmp_path / "variant", "the checks themselves")


def test_the_learned_judge_and_the_checks_are_two(built, tmp_path):
    """They differ on some answers: this is why the report's first stage is not a verifier's."""
    rows = [row for row in recipe.annotated_pairs(built) if recipe.is_kind(row["prompt"])]
    prompts, texts = [row["prompt"] for row in rows], [row["first"] for row in rows]
    sequences = pack_texts(built.tokenizer(), prompts, texts)
    parts = recipe.reward_parts(built, ["reasoning", "checks"], safety_weight=1.0)
    learned, checked = (part.score(sequences) for part in parts.values())
    expected = [checks.share_passed(*pair) for pair in zip(prompts, texts, strict=True)]
    assert checked.tolist() == pytest.approx(expected)
    assert not torch.equal(learned.argsort(), checked.argsort())


# ------------------------------------------------------------------------------------------------ both stages


def test_the_second_stage_begins_where_the_first_ended(built, tmp_path, watched):
    weights, log = train(built, tmp_path / "run")
    first, second = watched
    sft = built.policy("sft").state_dict()
    assert all(torch.equal(tensor, sft[name]) for name, tensor in first["start"].items())
    for name, tensor in weights[0].items():
        assert torch.equal(second["start"][name], tensor)
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert [entry["stage"] for entry in log] == ["stage 1", "stage 2"]  # two iterations in all, as PPO's
    assert all("gold" in entry and "kl_loss" in entry for entry in log)


def test_the_second_reward_is_a_weighted_sum(built, tmp_path, watched):
    train(built, tmp_path / "run")
    first, second = watched
    assert [*first["parts"]] == ["reasoning"]
    assert [*second["parts"]] == ["helpfulness", "safety", "rule"]
    for groups in second["draws"]:
        helpful, safe, rule = (groups.scores[name] for name in ("helpfulness", "safety", "rule"))
        torch.testing.assert_close(groups.rewards, helpful + 0.4 * safe + 2 * rule)
    for groups in first["draws"]:
        assert torch.equal(groups.rewards, groups.scores["reasoning"])


def test_advantages_are_the_group_s_own(built, tmp_path, watched):
    """Mean 0 and deviation 1 in each group of four; equal rewards teach nothing."""
    train(built, tmp_path / "run")
    for call in watched:
        assert call["config"].drawing.samples == recipe.GROUP
        for groups in call["draws"]:
            rewards, advantages = (
                groups.by_prompt(one) for one in (groups.rewards, groups.answers.advantages)
            )
            assert advantages.mean(1).abs().max() < 1e-5
            deviation = rewards.std(1)
            torch.testing.assert_close(advantages.std(1), deviation / (deviation + 1e-4))
    assert torch.equal(grpo_method().advantage(torch.full((1, 4), 2.5)), torch.zeros(1, 4))


def test_who_is_asked_in_which_stage(built):
    """Kind requests where only what can be checked is paid for, all where preference counts."""
    tokenizer = built.tokenizer()
    checked, every = (recipe.prompts_for(built, names) for names in (["reasoning"], ["reasoning", "safety"]))
    assert {*checked} < {*every}
    assert len(every) == 200
    asked = [tokenizer.decode(tokens, skip_special_tokens=True) for tokens in checked]
    assert all(recipe.is_kind(prompt) for prompt in asked)


def test_the_rule_by_hand(built):
    """Ended and nothing said again; one sentence said three times; the same without an end."""
    tokenizer = built.tokenizer()
    texts = ["It was hard.", "It was hard. It was hard. It was hard."]
    whole = pack_texts(tokenizer, [KIND] * 2, texts)
    prompt, length = whole.tokens[1][~whole.response[1] & whole.mask[1]].tolist(), int(whole.lengths[1])
    cut = pack_rows(
        [prompt], [whole.tokens[1, len(prompt) : length - 1].tolist()], pad_token=tokenizer.pad_token_id
    )
    assert recipe.rule(built)(whole).tolist() == [0, -2]
    assert recipe.rule(built)(cut).tolist() == [-3]


def test_all_at_once_pays_for_four_parts(built, tmp_path, watched):
    train(built, tmp_path / "run", "all parts at once")
    for call in watched:
        assert [*call["parts"]] == ["reasoning", "helpfulness", "safety", "rule"]


def test_mistakes(built, tmp_path):
    with pytest.raises(ValueError, match="unknown parts"):
        recipe.reward_parts(built, ["taste"], safety_weight=1.0)
    with pytest.raises(ValueError, match="of 2 stages, got 1"):
        recipe.train(built, tmp_path, stages=[["checks"]], kl_weight=0.05, safety_weight=1.0)
    assert json.loads(json.dumps(RECIPE.settings)) == RECIPE.settings
