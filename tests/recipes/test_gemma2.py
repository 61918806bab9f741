"""Gemma 2's recipe: how large its reward model is, what is averaged and when, and what WARP does instead."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from rlhf_mini.chapters.reward_scaling.sizes import sized
from rlhf_mini.data.tokenizer import encode_prompt
from rlhf_mini.models import copy_of, new_llama
from rlhf_mini.models.averaging import uniform_average, weighted_average
from rlhf_mini.models.task_vectors import spherical_interpolation
from rlhf_mini.profiles import FULL, QUICK
from rlhf_mini.recipes import gemma2, larger
from rlhf_mini.recipes.gemma2 import RECIPE


def weights(folder):
    return load_file(folder / "model.safetensors")


def assert_same(ours, theirs, *, atol=0.0):
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=atol)


def nudged(start, size):
    model = copy_of(start)
    generator = torch.Generator().manual_seed(round(1000 * size))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(size * torch.randn(weight.shape, generator=generator))
    return model.requires_grad_(False)


@pytest.fixture
def without_training(built, monkeypatch):
    """The runs of reinforcement learning add noise to their start; gives start, run and settings of each."""
    seen = []

    def run(pipeline, start, reward_model, *, rate, purpose, **settings):
        policy = nudged(start, 0.01 * rate + 0.001 * len(seen))
        seen.append((start, policy, settings))
        return policy, []

    monkeypatch.setattr(gemma2, "reinforced", run)
    return seen


# ------------------------------------------------------------------------------------- the large reward model


def test_parameters_are_counted_as_models_have_them(miniature):
    for width, layers, heads in ((16, 1, 2), (48, 2, 2), (64, 3, 4)):
        model = new_llama(
            vocab_size=100,
            width=width,
            layers=layers,
            heads=heads,
            context=16,
            pad_token=0,
            eos_token=1,
            bos_token=2,
            seed=0,
        )
        found = larger.parameters(vocab_size=100, width=width, layers=layers)
        assert found == model.num_parameters()


def test_the_larger_model_has_ten_times_the_parameters_and_is_the_smallest_such(miniature):
    for profile in (QUICK, FULL, miniature):
        changes = larger.larger(profile, times=10)
        bigger = dataclasses.replace(profile, **changes)
        k = changes["width"] // profile.width

        def count(width, layers, profile=profile):
            return larger.parameters(vocab_size=profile.vocab_size, width=width, layers=layers)

        own = count(profile.width, profile.layers)
        assert count(bigger.width, bigger.layers) >= 10 * own > count((k - 1) * profile.width, bigger.layers)
        assert bigger.width // bigger.heads == profile.width // profile.heads
        assert bigger.pretrain.optimizer.learning_rate == profile.pretrain.optimizer.learning_rate / k
        assert bigger.reward_model.optimizer.learning_rate == profile.reward_model.optimizer.learning_rate / k
        assert bigger.pretrain.steps == profile.pretrain.steps // 4
    assert larger.larger(QUICK, times=1) == {}


def test_the_kept_reward_model_is_ten_times_the_policy_and_an_average_of_its_runs(built):
    settings = {"rates": [1.0, 0.5], "times": 10}
    read = AutoModelForSequenceClassification.from_pretrained
    model = read(built.kept(gemma2.judge, **settings))
    assert model.num_parameters() >= 10 * built.policy("sft").num_parameters()
    assert model.config.std > 0
    assert model.config.std != 1
    alone = read(built.kept(gemma2.judge, rates=[1.0], times=10))
    source = sized(built, larger.larger(built.profile, times=10)).policy("base")
    name = "model.embed_tokens.weight"
    begun, both, one = (m.state_dict()[name] for m in (source, model, alone))
    # the second run has half the learning rate, and so the average lies nearer the start than the first run
    assert 0 < (both - begun).norm() < (one - begun).norm()


# ------------------------------------------------------------------------------------------- averages


def test_an_average_comes_after_each_phase(built, tmp_path, without_training):
    gemma2.train(built, tmp_path, **RECIPE.settings)
    members = [
        AutoModelForCausalLM.from_pretrained(built.kept(gemma2.tuned, rate=rate, member=number))
        for number, rate in enumerate((1.0, 0.5))
    ]
    start = uniform_average(members)
    assert_same(weights(tmp_path / "sft"), weights_of(start))
    assert len(without_training) == 2
    for begun, _, settings in without_training:
        assert_same(weights_of(begun), weights_of(start))
        assert settings["anchor_rate"] == 0
    runs = [run for _, run, _ in without_training]
    assert_same(weights(tmp_path / "rl"), weights_of(uniform_average(runs)))
    told = json.loads((tmp_path / "log.json").read_text())
    assert told["reward_parameters"] >= 10
    assert 80 < told["rounds"][0]["angle"] < 100  # noise and noise


def weights_of(model):
    return {name: weight for name, weight in model.state_dict().items() if name != "lm_head.weight"}


def test_without_averages_it_is_a_single_run(built, tmp_path, without_training):
    gemma2.train(built, tmp_path, **RECIPE.settings_of("one run"))
    assert len(without_training) == 1
    assert_same(weights(tmp_path / "rl"), weights_of(without_training[0][1]))
    assert_same(weights(tmp_path / "sft"), weights(built.kept(gemma2.tuned, rate=1.0, member=0)))


def test_warp_merges_on_the_arc_goes_back_and_starts_again_from_there(built, tmp_path, without_training):
    gemma2.train(built, tmp_path, **RECIPE.settings_of("WARP"))
    (start, one, settings), (_, other, _), (second, three, _), (_, four, _) = without_training
    assert settings["anchor_rate"] == 0.1
    assert settings["iterations"] == 1  # two rounds share the profile's two
    between = weighted_average([start, spherical_interpolation(start, one, other)], weights=[0.7, 0.3])
    assert_same(weights_of(second), weights_of(between), atol=1e-6)
    last = weighted_average([second, spherical_interpolation(second, three, four)], weights=[0.7, 0.3])
    assert_same(weights(tmp_path / "rl"), weights_of(last), atol=1e-6)


def test_a_way_back_of_0_ends_where_it_began(built, tmp_path, without_training):
    gemma2.train(built, tmp_path, **{**RECIPE.settings_of("WARP"), "back": 0.0})
    assert_same(weights(tmp_path / "rl"), weights(tmp_path / "sft"))


def test_the_arc_is_between_two(built):
    policy = built.policy("sft")
    with pytest.raises(ValueError, match="merges two runs, got 3"):
        gemma2.spherical(policy, [policy] * 3)


# -------------------------------------------------------------------------------- reinforcement learning


def reinforced(pipeline, **changes):
    settings = {"rate": 1.0, "iterations": 2, "kl_weight": 0.05, "anchor_rate": 0.0, "purpose": "a test"}
    return gemma2.reinforced(
        pipeline, pipeline.policy("sft"), pipeline.reward_model(), **{**settings, **changes}
    )


def test_kl_is_paid_in_the_reward_and_to_the_anchor(built):
    _, fixed = reinforced(built)
    _, moving = reinforced(built, anchor_rate=1.0)
    for entry in fixed:
        paid = entry["score_reward model"] + built.profile.ppo.missing_eos_penalty * entry["score_ended"]
        assert entry["reward"] == pytest.approx(paid - 0.05 * entry["kl_k1"], abs=1e-4)
    assert fixed[1]["kl_k3"] > 1e-6
    assert moving[1]["kl_k3"] == pytest.approx(0, abs=1e-6)  # the anchor has become the policy


def test_the_start_stays_as_it_was_and_the_prompts_are_those_of_fine_tuning(built, monkeypatch):
    asked = []
    real = gemma2.grpo

    def spy(policy, reference, tokenizer, prompts, *rest, **more):
        asked.extend(prompts)
        return real(policy, reference, tokenizer, prompts, *rest, **more)

    monkeypatch.setattr(gemma2, "grpo", spy)
    before = weights_of(built.policy("sft"))
    policy, log = reinforced(built, anchor_rate=0.5)
    assert_same(weights_of(built.policy("sft")), before)
    assert not policy.training
    assert len(log) == 2
    words = built.tokenizer()
    assert asked == [encode_prompt(words, row["prompt"]) for row in gemma2.demonstrated(built)]
    assert len(asked) == built.profile.demonstrations


@pytest.mark.parametrize("variant", ["", *RECIPE.variants])
def test_the_whole_recipe(built, variant):
    folder = built.kept(RECIPE.train, **RECIPE.settings_of(variant))
    start = weights(folder / "sft")
    ended = weights(folder / RECIPE.steps[-1])
    assert any(not torch.equal(ended[name], start[name]) for name in ended)
    AutoModelForCausalLM.from_pretrained(folder / "rl")
    rounds = json.loads((folder / "log.json").read_text())["rounds"]
    assert len(rounds) == RECIPE.settings_of(variant)["rounds"]
