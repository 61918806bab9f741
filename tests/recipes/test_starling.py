"""Starling's recipe: seven answers and their ranking, another family's reward model, alpha, beta."""

import json
import random

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from rlhf_mini.chapters.rlaif import judges, schooling
from rlhf_mini.losses import all_pairs_loss, pairwise_loss, plackett_luce_loss
from rlhf_mini.recipes import ranked_answers, starling
from rlhf_mini.recipes.starling import RECIPE
from rlhf_mini.worlds import stories


@pytest.fixture
def few(monkeypatch):
    """A judge that has had few lessons, about demonstrators' answers."""
    monkeypatch.setattr(schooling, "WRITTEN", {"general": 20, "red team": 20})
    monkeypatch.setattr(judges, "EXAMPLES", 24)
    monkeypatch.setattr(judges, "BATCH", 8)

    def drawn(pipeline, purpose, *, rows, count, held_out=False):
        prompts = schooling.requests_for(pipeline, purpose, rows=rows, count=4, held_out=held_out)
        return schooling.written(prompts, random.Random(0))

    monkeypatch.setattr(schooling, "drawn", drawn)


def weights(folder):
    return load_file(folder / "model.safetensors")


def kept(pipeline, variant="", **changes):
    return pipeline.kept(RECIPE.train, **{**RECIPE.settings_of(variant), **changes})


def changed(folder, other):
    ours, theirs = weights(folder), weights(other)
    return {name for name in ours if not torch.equal(ours[name], theirs[name])}


# ------------------------------------------------------------------------------------------- the rankings


def test_seven_answers_a_prompt_of_seven_authors(built):
    prompts, texts = ranked_answers.written(built)
    assert len(prompts) == built.profile.pairs // 8
    assert all(len(row) == 7 for row in texts)
    assert len(ranked_answers.WRITERS) == 5
    for prompt, row in zip(prompts, texts, strict=True):
        asked = stories.read_request(prompt)
        for text in row[5:]:  # the demonstrators', whose words the parser knows
            told = stories.read_story(text)
            assert told.sentences or told.declined, (asked, text)
    assert ranked_answers.written(built) == (prompts, texts)


def test_the_judge_s_favourite_stands_first(built, monkeypatch, tmp_path):
    """A judge that likes long answers, asked about 21 pairs a prompt under one principle."""
    asked = []

    def ask(comparisons):
        asked.extend(comparisons)
        return torch.tensor([0.5 + 0.4 * ((len(o.first) > len(o.second)) - (len(o.first) < len(o.second)))
                             for o in comparisons])  # fmt: skip

    monkeypatch.setattr(ranked_answers, "ask_of", lambda pipeline, choice: ask)
    ranked_answers.rankings(built, tmp_path)
    told = json.loads((tmp_path / "rankings.json").read_text())
    assert len(asked) == 21 * len(told["prompts"])
    assert {one.principle for one in asked} == {schooling.ALL_IN_ALL}
    for row in told["answers"]:
        assert [len(text) for text in row] == sorted(map(len, row), reverse=True)


def test_kept_rankings_come_in_groups_of_one_prompt(built, few):
    learned = ranked_answers.ranked_answers(built)
    assert (len(learned), learned.k) == (5, 7)
    prompts = learned.answers.mask & ~learned.answers.response
    for group in learned.answers.tokens.where(prompts, torch.tensor(-1)).split(7):
        assert bool((group == group[0]).all())


def test_plackett_luce_is_the_pairwise_loss_of_two_and_not_the_mean_over_pairs_of_seven():
    ranked = torch.randn(3, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        plackett_luce_loss(ranked[:, :2].contiguous()), pairwise_loss(ranked[:, 0], ranked[:, 1])
    )
    assert (plackett_luce_loss(ranked) - all_pairs_loss(ranked)).abs().min() > 0.1
    assert starling.LOSSES["Plackett–Luce"] is plackett_luce_loss


def test_the_reward_model_is_of_another_family(built, few):
    model = starling.judge_of(built, loss="Plackett–Luce")
    assert model.config.hidden_size == built.profile.width // 2
    assert model.config.std > 0
    assert not model.training
    assert starling.judge_of(built, loss="pairs").config.std != model.config.std


# ------------------------------------------------------------------------------------------- alpha and beta


def test_alpha_is_apa_from_the_sft_model(built, few):
    folder = kept(built)
    log = json.loads((folder / "alpha.json").read_text())
    assert len(log) == built.profile.ppo.iterations
    assert log[0]["kl_k1"] == pytest.approx(0, abs=1e-4)
    assert {"distance", "policy_loss", "gold"} <= {*log[0]}
    assert {entry["kl_weight"] for entry in log} == {0.0}  # no price in the reward
    assert "clip_fraction" not in log[0]
    assert changed(folder / "alpha", built.get("sft"))


def test_beta_does_not_go_on_from_alpha(built, few):
    told = json.loads((kept(built) / "beta.json").read_text())
    assert told["ppo"][0]["kl_k1"] == pytest.approx(0, abs=1e-4)
    assert "clip_fraction" in told["ppo"][0]


def test_the_critic_learns_before_the_policy_moves(built, few):
    told = json.loads((kept(built) / "beta.json").read_text())
    assert len(told["critic"]) == RECIPE.settings["critic_iterations"]
    without = json.loads((kept(built, critic_iterations=0) / "beta.json").read_text())
    assert without["critic"] == []
    # the same first answers of the same policy, and another critic
    assert told["ppo"][0]["score"] == without["ppo"][0]["score"]
    assert told["ppo"][0]["value_loss"] != without["ppo"][0]["value_loss"]


def test_a_shift_adds_to_every_score(built, few):
    one, none = (json.loads((kept(built, shift=c) / "beta.json").read_text()) for c in (1.0, 0.0))
    assert one["ppo"][0]["score"] == pytest.approx(none["ppo"][0]["score"] + 1, rel=1e-6)
    assert one["critic"][0]["score"] == pytest.approx(none["critic"][0]["score"] + 1, rel=1e-6)


def test_all_parameters_train_and_in_the_variant_the_top_layer_alone(built, few):
    start = built.get("sft")
    everything = changed(kept(built) / "beta", start)
    assert "model.embed_tokens.weight" in everything
    top = changed(kept(built, top_layer=True) / "beta", start)
    last = f"model.layers.{built.profile.layers - 1}."
    assert top
    assert all(name.startswith((last, "model.norm")) for name in top)


def test_the_top_layer_of_several(built):
    policy = starling.top_layer_only(two_layers())
    moving = {name for name, weight in policy.named_parameters() if weight.requires_grad}
    assert {name.split(".")[1] for name in moving} == {"layers", "norm"}
    assert all(name.startswith("model.layers.1.") or name == "model.norm.weight" for name in moving)


def two_layers():
    from tests.models.tiny import llama

    return llama()


@pytest.mark.parametrize("variant", ["", *RECIPE.variants])
def test_the_whole_recipe(built, few, variant):
    folder = kept(built, variant)
    for step in RECIPE.steps:
        assert changed(folder / step, built.get("sft"))
        assert {path.name for path in (folder / step).iterdir()} >= {"config.json", "model.safetensors"}
        AutoModelForCausalLM.from_pretrained(folder / step)
    if variant == "PPO without the fixes":  # alpha is not PPO's matter
        assert not changed(folder / "alpha", kept(built) / "alpha")
