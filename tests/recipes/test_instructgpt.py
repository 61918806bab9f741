"""InstructGPT on the miniature pipeline: start, whole rankings, the scores' zero, PPO-ptx, the average."""

import json
import random
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from rlhf_mini.methods import reward_model as reward_models
from rlhf_mini.methods.ppo import ppo, value_model_for
from rlhf_mini.methods.reward_model import raw_scores, scores
from rlhf_mini.models import copy_of
from rlhf_mini.pipeline import prompts_for_ppo
from rlhf_mini.recipes import instructgpt
from rlhf_mini.recipes.instructgpt import RECIPE, K
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories.demonstrators import CAREFUL

LAST, AVERAGED = RECIPE.steps[1:]
FEW = {**RECIPE.settings, "documents": 4, "remembered": 0.5}


def weights(folder):
    return load_file(folder / "model.safetensors")


def same(first, second):
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


@pytest.fixture(scope="module")
def trained(built, tmp_path_factory):
    """The recipe, and the same without pretraining gradients."""
    found = {}
    for name, changes in (("ptx", {}), ("plain", RECIPE.variants["without pretraining gradients"])):
        found[name] = tmp_path_factory.mktemp(name)
        RECIPE.train(built, found[name], **{**FEW, **changes})
    return found


def test_the_reference_is_the_start_and_not_the_sft_model(built, trained):
    start = weights(trained["ptx"] / RECIPE.steps[0])
    assert not same(start, weights(built.get("sft")))
    assert not same(start, weights(built.get("base")))
    assert same(start, weights(built.kept(instructgpt.start, rehearsed=0.1)))
    # the first rollout's KL is 0: the policy begins where the KL is measured from
    log = json.loads((trained["ptx"] / "log.json").read_text())
    assert log[0]["kl_k1"] == pytest.approx(0, abs=1e-4)
    assert log[1]["kl_k1"] != pytest.approx(0, abs=1e-4)


def test_a_tenth_of_what_the_start_reads_is_pretraining_text(built, monkeypatch, tmp_path):
    """Nine parts answers and one part documents: a weight of 1/9, and one document beside 8 answers."""
    seen = {}
    monkeypatch.setattr(instructgpt, "sft_with_rehearsal", lambda *rows, **settings: seen.update(settings))
    instructgpt.start(built, tmp_path, rehearsed=0.1)
    assert seen["rehearsal"].document_weight == pytest.approx(1 / 9)
    assert seen["rehearsal"].documents_per_step == 1
    assert seen["config"] == built.profile.sft


def test_rankings_are_whole_orders_of_as_many_answers_as_the_pairs_have(built):
    rows = json.loads((built.kept(instructgpt.rankings) / "rows.json").read_text())
    assert len(rows) * K == 2 * built.profile.pairs
    assert all(len(row["answers"]) == K for row in rows)
    ranked = instructgpt.ranked(built)
    assert (len(ranked), ranked.k) == (len(rows), K)


def test_people_rank_good_answers_first(built, monkeypatch, tmp_path):
    """One good answer and three of nothing, four points of gold apart: missed once in twenty at most."""
    rng = random.Random(0)

    def good(prompt):
        return stories.demonstrate(stories.read_request(prompt), replace(CAREFUL, declines=1.0), rng)

    def drawn(policy, tokenizer, prompts, **settings):
        return [good(prompt) if place % K == 2 else "" for place, prompt in enumerate(prompts)]

    monkeypatch.setattr(instructgpt, "answer", drawn)
    instructgpt.rankings(built, tmp_path)
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert sum(row["answers"][0] != "" for row in rows) >= 16  # of 20; fewer by chance: less than 1 in 300
    assert all(row["answers"].count("") == K - 1 for row in rows)


def test_all_pairs_of_a_prompt_are_in_one_batch_and_each_answer_is_read_once(built, monkeypatch, tmp_path):
    """Every batch is whole groups of K rows with one prompt each, and over the run no prompt comes twice."""
    batches = []

    def watched(model, sequences):
        if model.training:
            batches.append(sequences)
        return raw_scores(model, sequences)

    monkeypatch.setattr(reward_models, "raw_scores", watched)
    instructgpt.reward_model(built, tmp_path)
    prompts = []
    for batch in batches:
        asked = [
            tuple(tokens[given].tolist())
            for tokens, given in zip(batch.tokens, batch.mask & ~batch.response, strict=True)
        ]
        assert len(asked) == 2 * built.profile.reward_model.batch  # as many answers as a batch of pairs has
        groups = [asked[place : place + K] for place in range(0, len(asked), K)]
        assert all(len({*group}) == 1 for group in groups)
        prompts += [group[0] for group in groups]
    assert len(prompts) == len({*prompts}) == built.profile.pairs // 2


def test_demonstrations_score_0_and_the_unit_is_log_odds(built):
    reward, shown = instructgpt.reward_model_of(built), instructgpt.demonstrated(built)
    told = scores(reward, shown)
    assert float(told.mean()) == pytest.approx(0, abs=1e-5)
    assert reward.config.std == 1.0
    raw = raw_scores(reward, shown)
    torch.testing.assert_close(told[:-1] - told[1:], raw[:-1] - raw[1:], atol=1e-5, rtol=0)


def test_without_pretraining_gradients_it_is_ppo_to_the_last_bit(built, trained):
    reward, reference = instructgpt.reward_model_of(built), instructgpt.start_of(built, rehearsed=0.1)
    policy, (prompts, _) = copy_of(reference), prompts_for_ppo(built)
    ppo(
        policy,
        value_model_for(reward).requires_grad_(True),
        reference,
        lambda sequences: scores(reward, sequences),
        built.tokenizer(),
        prompts,
        config=replace(built.profile.ppo, kl_weight=0.02),
        generator=built.generator("ppo"),
    )
    found = AutoModelForCausalLM.from_pretrained(trained["plain"] / LAST)
    assert same(dict(policy.named_parameters()), dict(found.named_parameters()))
    assert not same(weights(trained["plain"] / LAST), weights(trained["ptx"] / LAST))


def test_only_the_mixed_run_practises_documents(trained):
    logs = {name: json.loads((folder / "log.json").read_text()) for name, folder in trained.items()}
    assert all("auxiliary_loss" in entry for entry in logs["ptx"])
    assert not any("auxiliary_loss" in entry for entry in logs["plain"])
    # the documents have random numbers of their own: the first rollouts are alike, gold included
    assert logs["ptx"][0]["score"] == logs["plain"][0]["score"]
    assert logs["ptx"][0]["gold"] == logs["plain"][0]["gold"]


def test_the_average_lies_between_the_start_and_the_last_weights(trained):
    """Four steps, of which the last two are remembered, a decay of ½: nearer to the end than to the start."""
    start, last, average = (weights(trained["ptx"] / step) for step in RECIPE.steps)
    to_start = sum(float((average[name] - start[name]).square().sum()) for name in average)
    to_last = sum(float((average[name] - last[name]).square().sum()) for name in average)
    whole = sum(float((last[name] - start[name]).square().sum()) for name in average)
    assert 0 < to_last < to_start < whole


def test_the_recipe_s_page():
    assert RECIPE.steps[-1] == AVERAGED
    assert RECIPE.settings_of("ten times the KL instead")["kl_weight"] == 10 * RECIPE.settings["kl_weight"]
    assert json.loads(json.dumps(dict(RECIPE.settings))) == RECIPE.settings
