"""Qwen2: offline first, then online on best and worst of the current policy, merged at every step."""

import json

import pytest
import torch
from safetensors.torch import load_file

from rlhf_mini.loop import OptimizerConfig, Training
from rlhf_mini.methods import best_worst_dpo as episodes
from rlhf_mini.models import copy_of
from rlhf_mini.recipes import qwen2
from rlhf_mini.recipes.qwen2 import RECIPE, merging_hooks, online_settings


def weights(folder, step):
    return load_file(folder / step / "model.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def state(model):
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def nothing_to_learn(model):
    return lambda batch: (0.0 * sum(weight.sum() for weight in model.parameters()), {})


def test_the_recipe_and_its_variants_run(built):
    folders = [built.kept(RECIPE.train, **RECIPE.settings_of(name)) for name in ("", *RECIPE.variants)]
    kept = [[weights(folder, step) for step in RECIPE.steps] for folder in folders]
    for offline, online in kept:
        assert not same(offline, online)
    for place in (0, 1):  # of either stage: what the merging changes is seen in both
        assert not same(kept[0][place], kept[1][place])
        assert not same(kept[0][place], kept[2][place])
    log = json.loads((folders[0] / "log.json").read_text())
    assert len(log["offline"]) == built.profile.pairs // 2 // built.profile.reward_model.batch
    assert len(log["online"]) == built.profile.ppo.iterations


def test_without_merging_offline_is_plain_dpo_and_so_it_is_with_nothing_merged_and_all_kept(built, tmp_path):
    plain = built.kept(RECIPE.train, **RECIPE.settings_of("AdamW"))
    RECIPE.train(built, tmp_path, merging="OnDARE", merge_rate=0.0, keep=1.0)
    for step in RECIPE.steps:
        assert same(weights(plain, step), weights(tmp_path, step))


def test_onties_runs_too(built, tmp_path):
    RECIPE.train(built, tmp_path, merging="OnTIES", merge_rate=5e-4, keep=0.5)
    assert not same(weights(tmp_path, "offline"), weights(tmp_path, "online"))


def test_the_task_vector_leads_from_the_base_to_the_sft_model(built):
    policy = copy_of(built.policy("sft"))
    hooks = merging_hooks(built, policy, merging="OnDARE", merge_rate=0.5, keep=1.0)
    config = OptimizerConfig(learning_rate=1e-3)
    with Training(policy, optimizer=config, steps=1, hooks=hooks) as training:
        training.step(None, nothing_to_learn(policy))
    base, tuned = state(built.policy("base")), state(built.policy("sft"))
    for name, tensor in state(policy).items():
        expected = tuned[name] + 0.5 * (tuned[name] - base[name])
        torch.testing.assert_close(tensor, expected, rtol=0, atol=1e-6)


def test_online_begins_where_offline_ended_and_answers_are_the_current_policy_s(built, monkeypatch, tmp_path):
    asked, draw_answers = [], episodes.draw_answers

    def watched(model, *given, **options):
        asked.append(state(model))
        return draw_answers(model, *given, **options)

    monkeypatch.setattr(episodes, "draw_answers", watched)
    RECIPE.train(built, tmp_path, **RECIPE.settings)
    assert len(asked) == built.profile.ppo.iterations == 2
    assert same(
        asked[0], weights(tmp_path, "offline") | {k: v for k, v in asked[0].items() if "lm_head" in k}
    )
    assert not same(asked[0], asked[1])


def test_the_reference_of_both_stages_is_the_sft_model(built, monkeypatch, tmp_path):
    references = []
    dpo, best_worst = qwen2.dpo, qwen2.best_worst_dpo

    def offline(policy, reference, *given, **options):
        references.append(state(reference))
        return dpo(policy, reference, *given, **options)

    def online(policy, reference, *given, **options):
        references.append(state(reference))
        return best_worst(policy, reference, *given, **options)

    monkeypatch.setattr(qwen2, "dpo", offline)
    monkeypatch.setattr(qwen2, "best_worst_dpo", online)
    RECIPE.train(built, tmp_path, **RECIPE.settings)
    assert len(references) == 2
    assert all(same(found, state(built.policy("sft"))) for found in references)


def test_as_many_episodes_as_ppo_has_iterations_and_twice_its_answers(built):
    config, usual = online_settings(built), built.profile.ppo
    assert config.episodes == usual.iterations
    assert config.prompts * config.drawing.samples == 2 * usual.episodes


def test_another_merging_is_refused(built):
    with pytest.raises(ValueError, match="unknown merging 'SLERP': choose one of OnDARE, OnTIES, none"):
        merging_hooks(built, built.policy("sft"), merging="SLERP", merge_rate=0.1, keep=0.5)
