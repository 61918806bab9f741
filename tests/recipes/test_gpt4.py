"""GPT-4 on the miniature pipeline: what the rubric adds where, its computed weight, and what is rewritten."""

import json
import random
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from rlhf_mini.chapters.rlaif.schooling import STORY_RUBRIC
from rlhf_mini.data.chat import pack_texts, response_texts
from rlhf_mini.data.tokenizer import encode_prompt
from rlhf_mini.methods.reward_model import scores
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.recipes import gpt4, gpt4_stages
from rlhf_mini.recipes.gpt4 import RECIPE
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories.demonstrators import CAREFUL
from rlhf_mini.worlds.stories.plots import DECLINES
from rlhf_mini.worlds.stories.rubric import RUBRIC, is_unkind_request, rubric_class

UNKIND, NEIGHBOUR = (stories.Request("fox", "kite", "happy", unkind=deed).text for deed in ("steal", None))
THEFT = "The fox stole the kite from the baker."
KIND_STORY = "The fox could not stop smiling."


def truth(prompts, answers):
    """A classifier that is always right and always sure."""
    return torch.tensor([[float(rubric_class(text) == name) for name in RUBRIC] for text in answers])


@pytest.fixture(scope="module")
def apart(built, tmp_path_factory):
    """The built stages in a cache of their own, a classifier that knows the truth, and small numbers."""
    root = tmp_path_factory.mktemp("gpt4") / "cache"
    shutil.copytree(built.store.root, root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpt4_stages, "classifier_of", lambda pipeline: (truth, STORY_RUBRIC))
        for name, value in {"REFUSALS": 8, "PROBED": 3, "PROBES": 2}.items():
            patch.setattr(gpt4_stages, name, value)
        patch.setattr(gpt4, "RED_TEAM", 6)
        yield Pipeline(built.profile, cache=root)


def ppo_parts(pipeline, monkeypatch, folder, **changes):
    """The score and the prompts, in words, with which the recipe calls PPO."""
    seen = []

    def watched(policy, value_model, reference, score, tokenizer, prompts, **rest):
        seen.append((score, {tokenizer.decode(row, skip_special_tokens=True).strip() for row in prompts}))
        return []

    monkeypatch.setattr(gpt4, "ppo", watched)
    RECIPE.train(pipeline, folder, **{**RECIPE.settings, **changes})
    return seen[0]


def red_team(prompts, pipeline):
    """Those prompts that the stage `ppo` does not have."""
    return prompts - {one.text for one in stories.draw_requests(4000, seed=pipeline.seed_for("PPO prompts"))}


# --------------------------------------------------------------------------------------------- the reward


def test_off_the_parts_the_score_is_the_reward_model_s_to_the_last_bit(apart, monkeypatch, tmp_path):
    score, prompts = ppo_parts(apart, monkeypatch, tmp_path, weight=2.5)
    _, reward = gpt4_stages.models_of(apart, rewritten=0.5)
    kind = [one for one in sorted(prompts - red_team(prompts, apart)) if not is_unkind_request(one)][:5]
    rows = pack_texts(apart.tokenizer(), kind, [KIND_STORY, DECLINES[0], THEFT, "", "The"])
    assert torch.equal(score(rows), scores(reward, rows))


def test_on_the_parts_it_differs_by_weight_times_worth(apart, monkeypatch, tmp_path):
    """Unkind: refusal +1, unkind story −1, kind story 0. Their kind neighbours: story +1, all else −1."""
    score, prompts = ppo_parts(apart, monkeypatch, tmp_path, weight=2.5)
    _, reward = gpt4_stages.models_of(apart, rewritten=0.5)
    new = red_team(prompts, apart)
    neighbour = next(one for one in sorted(new) if not is_unkind_request(one))
    texts = [DECLINES[0], THEFT, KIND_STORY]
    for prompt, worths in ((UNKIND, [1.0, -1.0, 0.0]), (neighbour, [-1.0, -1.0, 1.0])):
        rows = pack_texts(apart.tokenizer(), [prompt] * 3, texts)
        torch.testing.assert_close(score(rows) - scores(reward, rows), 2.5 * torch.tensor(worths))


def test_without_the_rubric_it_is_the_reward_model_everywhere(apart, monkeypatch, tmp_path):
    score, _ = ppo_parts(apart, monkeypatch, tmp_path, **RECIPE.variants["without the rubric"])
    _, reward = gpt4_stages.models_of(apart, rewritten=0.0)
    rows = pack_texts(apart.tokenizer(), [UNKIND] * 2, [DECLINES[0], THEFT])
    assert torch.equal(score(rows), scores(reward, rows))


def test_every_red_team_request_is_asked_beside_its_kind_neighbour(apart, monkeypatch, tmp_path):
    _, prompts = ppo_parts(apart, monkeypatch, tmp_path, weight=1.0)
    new = red_team(prompts, apart)
    unkind = {one for one in new if is_unkind_request(one)}
    kind = {gpt4.boundary_of(stories.read_request(one)).text for one in unkind}
    assert len(unkind) == 6
    assert new == unkind | kind
    _, fewer = ppo_parts(apart, monkeypatch, tmp_path, weight=1.0, boundary=False)
    assert red_team(fewer, apart) == unkind


# --------------------------------------------------------------------------------------------- the weight


def test_comparisons_and_the_weight_that_decides_them_by_hand():
    """On the unkind request the refusal scores 0, the theft 3, the kind story 1; their worth is 1, −1, 0.

    The two pairs need 3/2 and 1/1. On its neighbour the story is ahead of the refusal already.
    """
    rows = [
        {"prompt": UNKIND, "answers": [DECLINES[0], THEFT, KIND_STORY]},
        {"prompt": NEIGHBOUR, "answers": [DECLINES[0], KIND_STORY]},
    ]
    rate = gpt4_stages.worth(
        truth,
        STORY_RUBRIC,
        parts=[(is_unkind_request, gpt4_stages.WORTH_UNKIND), (lambda p: True, gpt4_stages.WORTH_KIND)],
    )
    told = torch.tensor([0.0, 3.0, 1.0, -1.0, 1.0])
    wished, other, lead = gpt4_stages.comparisons(rows, told, rate, truth, STORY_RUBRIC)
    assert wished.tolist() == [0.0, 0.0, 1.0]
    assert other.tolist() == [3.0, 1.0, -1.0]
    assert lead.tolist() == [2.0, 1.0, 2.0]
    weight = gpt4_stages.smallest_weight(wished, other, lead)
    assert weight == 1.5
    summed = told[:3] + (weight + 0.01) * rate([UNKIND] * 3, rows[0]["answers"])
    assert int(summed.argmax()) == 0  # the refusal is the best now
    assert int((told[:3] + (weight - 0.01) * rate([UNKIND] * 3, rows[0]["answers"])).argmax()) == 1


def test_the_computed_weight_decides_its_share_on_what_was_probed(apart):
    for boundary in (True, False):
        found = gpt4_stages.computed(apart, rewritten=0.0, boundary=boundary, share=1.0, evasions=True)
        policy, reward = gpt4_stages.models_of(apart, rewritten=0.0)
        rows = gpt4_stages.probed(apart, policy, boundary=boundary, evasions=True)
        assert len(rows) == (6 if boundary else 3)
        kind = {row["prompt"] for row in rows if not is_unkind_request(row["prompt"])}
        assert len(kind) == (3 if boundary else 0)
        rate, won = gpt4_stages.rate_of(apart, kind=kind), []
        for row in rows:
            prompts, texts = [row["prompt"]] * len(row["answers"]), row["answers"]
            told = scores(reward, pack_texts(apart.tokenizer(), prompts, texts))
            summed = told + (found["weight"] + 1e-4) * rate(prompts, texts)
            classes = [rubric_class(text) for text in texts]
            wished = "A" if is_unkind_request(row["prompt"]) else "D"
            assert {*classes} >= {"A", "C" if wished == "A" else "D"}  # a refusal and the story asked for
            won += [
                bool(summed[i] > summed[j])
                for i, name in enumerate(classes)
                for j, another in enumerate(classes)
                if name == wished != another
            ]
        assert all(won)
        assert len(won) == found["pairs"]


def test_evasions_are_harmless_stories_beside_the_refusal_and_what_was_asked_for(apart):
    policy, _ = gpt4_stages.models_of(apart, rewritten=0.0)
    plain, more = (
        gpt4_stages.probed(apart, policy, boundary=True, evasions=evasions) for evasions in (False, True)
    )
    for one, other in zip(plain, more, strict=True):
        if is_unkind_request(one["prompt"]):
            assert len(other["answers"]) == len(one["answers"]) + 1
            assert rubric_class(other["answers"][-1]) == "D"
        else:
            assert len(other["answers"]) == len(one["answers"])


def test_probed_requests_are_held_out(apart):
    policy, _ = gpt4_stages.models_of(apart, rewritten=0.0)
    for row in gpt4_stages.probed(apart, policy, boundary=True, evasions=True):
        request = stories.read_request(row["prompt"])
        assert stories.is_held_out(request.hero, request.object)


# ----------------------------------------------------------------------------------- the start and the labels


def test_the_start_has_seen_polite_refusals_and_begins_with_the_base(apart, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(gpt4_stages, "sft", lambda model, rows, **rest: seen.append((model, rows)))
    gpt4_stages.start(apart, tmp_path)
    model, rows = seen[0]
    base = apart.policy("base").state_dict()
    assert all(torch.equal(tensor, base[name]) for name, tensor in model.state_dict().items())
    texts = response_texts(apart.tokenizer(), rows)
    assert len(texts) == apart.profile.demonstrations + 8
    assert {rubric_class(text) for text in texts[-8:]} == {"A"}


def test_labels_that_contradict_the_rubric_are_rewritten_in_part(apart, monkeypatch, tmp_path):
    """People who look at helpfulness choose the unkind story; half of these choices are exchanged."""
    writer = replace(CAREFUL, declines=0.0)
    told = stories.demonstrate(stories.read_request(UNKIND), writer, random.Random(0))
    rows = [{"prompt": UNKIND, "first": told, "second": DECLINES[place % 3]} for place in range(40)]
    monkeypatch.setattr(gpt4_stages, "annotated_pairs", lambda pipeline: rows)
    chosen = {}
    for share in (0.0, 0.5, 1.0):
        seen = []
        real = gpt4_stages.train_reward_model

        def watched(model, pairs, seen=seen, real=real, **rest):
            seen.append(response_texts(apart.tokenizer(), pairs.chosen))
            return real(model, pairs, **rest)

        with monkeypatch.context() as patch:
            patch.setattr(gpt4_stages, "train_reward_model", watched)
            gpt4_stages.reward_model(apart, tmp_path, rewritten=share)
        chosen[share] = sum(rubric_class(text) == "C" for text in seen[0])
        exchanged = json.loads((tmp_path / "rewritten.json").read_text())
        assert exchanged == round(share * chosen[0.0])
        assert chosen[share] == chosen[0.0] - exchanged
    assert chosen[0.0] > 30  # 4 points of helpfulness against none
    assert chosen[1.0] == 0


# ------------------------------------------------------------------------------------------------ the whole


def test_the_whole_recipe(apart, tmp_path):
    RECIPE.train(apart, tmp_path, **RECIPE.settings)
    start, policy = (load_file(tmp_path / step / "model.safetensors") for step in RECIPE.steps)
    assert not all(torch.equal(tensor, policy[name]) for name, tensor in start.items())
    log = json.loads((tmp_path / "log.json").read_text())
    assert len(log) == apart.profile.ppo.iterations
    assert log[0]["kl_k1"] == pytest.approx(0, abs=1e-4)
    assert all("gold" in entry for entry in log)
    told = gpt4_stages.computed(apart, rewritten=0.5, boundary=True, share=0.9, evasions=True)
    assert json.loads((tmp_path / "weight.json").read_text()) == pytest.approx(told["weight"])
    assert json.loads(json.dumps(dict(RECIPE.settings))) == RECIPE.settings


def test_prompts_read_back_as_they_were_written(apart):
    """The rubric knows a neighbour by its words."""
    tokenizer = apart.tokenizer()
    for text in (UNKIND, NEIGHBOUR):
        assert tokenizer.decode(encode_prompt(tokenizer, text), skip_special_tokens=True) == text
