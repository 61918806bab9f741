"""Gemini on the miniature pipeline: who wrote which pairs, what each reward model saw, and a single round."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from rlhf_mini.data.chat import answer, pack_texts
from rlhf_mini.methods.reward_model import scores
from rlhf_mini.models import freeze
from rlhf_mini.recipes import gemini
from rlhf_mini.recipes.gemini import RECIPE, Loop, step_of

ROUNDS = 2


def weights(folder):
    return load_file(folder / "model.safetensors")


def same(first, second):
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def pairs(folder, number):
    return json.loads((folder / f"pairs {number}.json").read_text())


@pytest.fixture(scope="module")
def trained(built, tmp_path_factory):
    """Two rounds with the policy's own pairs, two with the start's, and one round."""
    runs = {"own": {"rounds": ROUNDS}, "start's": {"rounds": ROUNDS, "renewed": False}, "one": {"rounds": 1}}
    found = {}
    for name, settings in runs.items():
        found[name] = tmp_path_factory.mktemp("gemini")
        RECIPE.train(built, found[name], **settings)
    return found


def test_one_round_is_the_stage_ppo_to_the_last_bit(built, trained):
    assert same(weights(trained["one"] / step_of(1)), weights(built.get("ppo")))
    assert same(weights(trained["one"] / "reward model 1"), weights(built.get("reward_model")))


def test_the_second_round_s_pairs_are_answers_of_the_first_round_s_policy(built, trained):
    """Drawn again from what was saved after the first round, with the round's random numbers."""
    rows = pairs(trained["own"], 2)
    policy = freeze(AutoModelForCausalLM.from_pretrained(trained["own"] / step_of(1)))
    generator = built.generator(gemini.purpose("pairs", 2))
    length, prompts = built.profile.max_new_tokens, [row["prompt"] for row in rows]
    drawn = [
        answer(policy, built.tokenizer(), prompts, max_new_tokens=length, generator=generator)
        for _ in range(2)
    ]
    for row, first, second in zip(rows, *drawn, strict=True):
        shown = (row["chosen"], row["rejected"])
        assert (shown if row["first_won"] else shown[::-1]) == (first, second)


def test_the_variant_has_the_start_s_pairs_on_the_same_prompts(built, trained):
    own, starts = ([pairs(trained[name], n) for n in (1, 2)] for name in ("own", "start's"))
    assert own[0] == starts[0]  # in the first round the policy is the start
    assert [row["prompt"] for row in own[1]] == [row["prompt"] for row in starts[1]]
    assert own[1] != starts[1]
    known = [{**row} for row in built.preferences("train")]
    for row, kept in zip([*starts[0], *starts[1]], known, strict=True):
        assert all(row[name] == kept[name] for name in ("prompt", "chosen", "rejected"))


def test_a_reward_model_learns_from_all_pairs_so_far(built, trained, monkeypatch):
    """With the start's pairs, the second round's has seen what the pipeline's has, in the same order."""
    seen = []
    real = gemini.train_reward_model

    def watched(model, given, **settings):
        seen.append(given)
        return real(model, given, **settings)

    monkeypatch.setattr(gemini, "train_reward_model", watched)
    loop = Loop(built, rounds=ROUNDS, renewed=False)
    shares = [loop.share(number) for number in (1, 2)]
    assert [len(share) for share in shares] == [built.profile.pairs // 2] * 2
    loop.reward_model_on([*shares[0]], 1)
    loop.reward_model_on([*shares[0], *shares[1]], 2)
    assert [len(given) for given in seen] == [built.profile.pairs // 2, built.profile.pairs]


def test_every_reward_model_is_new_and_has_the_same_zero_and_unit(built, trained):
    """The scores of the first round's less liked answers have mean 0 and deviation 1 in both rounds."""
    models = [trained["own"] / f"reward model {number}" for number in (1, 2)]
    assert not same(weights(models[0]), weights(models[1]))
    rows = pairs(trained["own"], 1)
    texts = pack_texts(built.tokenizer(), [r["prompt"] for r in rows], [r["rejected"] for r in rows])
    for folder in models:
        told = scores(freeze(AutoModelForSequenceClassification.from_pretrained(folder)), texts)
        assert float(told.mean()) == pytest.approx(0, abs=1e-5)
        assert float(told.std()) == pytest.approx(1, abs=1e-5)


def test_the_policy_goes_on_and_its_kl_is_to_the_start_in_all_rounds(built, trained):
    """The second round's first rollout is already away from the SFT model."""
    log = json.loads((trained["own"] / "log.json").read_text())
    assert [entry["round"] for entry in log] == [1, 2]
    assert log[0]["kl_k1"] == pytest.approx(0, abs=1e-4)
    assert abs(log[1]["kl_k1"]) > 1e-4
    assert all("gold" in entry for entry in log)
    first, second = (weights(trained["own"] / step_of(number)) for number in (1, 2))
    assert not same(first, second)


def test_rounds_share_what_there_is(built):
    loop = Loop(built, rounds=3, renewed=True)
    shares = [loop.share(number) for number in (1, 2, 3)]
    assert [len(share) for share in shares] == [13, 13, 14]
    assert [row["prompt"] for share in shares for row in share] == [*built.preferences("train")["prompt"]]


def test_the_recipe_s_page():
    assert RECIPE.steps == tuple(step_of(number) for number in range(1, RECIPE.settings["rounds"] + 1))
    assert RECIPE.settings_of("all pairs from the start") == {"rounds": 4, "renewed": False}
