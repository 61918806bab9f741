"""Zephyr-ORPO: no reference, no demonstrations before it, and the chosen answers alone where λ is 0."""

import json

import pytest
import torch
from safetensors.torch import load_file

from rlhf_mini.chapters.rlaif import judges, schooling
from rlhf_mini.loop import fit
from rlhf_mini.methods import orpo as method
from rlhf_mini.methods.dpo import answer_logps
from rlhf_mini.models import copy_of
from rlhf_mini.recipes import zephyr_orpo as recipe
from rlhf_mini.recipes.zephyr_orpo import RECIPE
from rlhf_mini.worlds import stories


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(schooling, "WRITTEN", {"general": 20, "red team": 20})
    monkeypatch.setattr(schooling, "DRAWN", {"general": 4, "red team": 4})
    monkeypatch.setattr(judges, "EXAMPLES", 24)
    monkeypatch.setattr(judges, "BATCH", 8)


def train(pipeline, folder, variant=""):
    folder.mkdir()
    RECIPE.train(pipeline, folder, **RECIPE.settings_of(variant))
    weights = [load_file(folder / step / "model.safetensors") for step in RECIPE.steps]
    return weights, json.loads((folder / "log.json").read_text())


def same(one, other):
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_a_run_saves_each_of_its_three_epochs(built, few, tmp_path):
    pairs = recipe.pairs_of(built)
    batches = len(pairs) // built.profile.sft.batch
    weights, log = train(built, tmp_path / "run")
    assert len(log) == 3 * batches > 3
    assert not any(same(weights[place], weights[place + 1]) for place in (0, 1))
    again, _ = train(built, tmp_path / "again")
    assert same(weights[-1], again[-1])


def test_it_starts_from_the_base_and_asks_no_reference(built, few, tmp_path, monkeypatch):
    """The only model that the pipeline is asked for is the base; the variant asks for the fine-tuned one."""
    asked = []
    policy = built.policy

    def watched(stage):
        asked.append(stage)
        return policy(stage)

    recipe.pairs_of(built)
    monkeypatch.setattr(built, "policy", watched)
    train(built, tmp_path / "run")
    assert asked == ["base"]
    train(built, tmp_path / "after", "after fine-tuning")
    assert asked == ["base", "sft"]


def test_without_odds_it_is_fine_tuning_on_the_chosen_answers(built, few, tmp_path):
    """The weights of the variant, from a loop of its own that never sees a rejected answer."""
    weights, _ = train(built, tmp_path / "alone", "chosen answers alone")
    pairs, model = recipe.pairs_of(built), copy_of(built.policy("base")).eval()
    config = recipe.config_for(built, len(pairs), odds_weight=0.0)
    generator = built.generator("recipe Zephyr-ORPO")

    def batches():
        rows = method.shuffled_batches(
            pairs.lengths, batch=config.batch, epochs=config.epochs, generator=generator
        )
        for row in rows:
            yield pairs.chosen.rows(row)

    def loss(batch):
        logp = torch.stack([row.sum() for row in method.answer_logp(model, batch)])
        return -(logp / batch.response.sum(1)).mean(), {}

    fit(model, batches(), loss, optimizer=config.optimizer, steps=config.steps(len(pairs)))
    for name, tensor in model.state_dict().items():
        if name in weights[-1]:
            torch.testing.assert_close(weights[-1][name], tensor, rtol=0, atol=1e-6)


def test_odds_hold_the_rejected_answers_down(built, few, tmp_path):
    """Against the chosen answers alone, same start and same batches, with a λ that can be seen."""
    pairs, lead = recipe.pairs_of(built), {}
    for odds_weight in (0.0, 2.0):
        model = copy_of(built.policy("base"))
        config = recipe.config_for(built, len(pairs), odds_weight=odds_weight)
        method.orpo(model, pairs, config=config, generator=built.generator("test"))
        sides = (pairs.chosen, pairs.rejected)
        means = [answer_logps(model, side) / side.response.sum(1) for side in sides]
        lead[odds_weight] = float((means[0] - means[1]).mean())
    assert lead[2.0] > lead[0.0]


def test_best_and_worst_are_the_judge_s(built, monkeypatch, tmp_path):
    """A judge that counts words: the chosen answer is the longest of three, the rejected one the shortest."""

    def rate(prompts, texts):
        return torch.tensor([float(len(text.split())) for text in texts])

    monkeypatch.setattr(recipe, "rate_of", lambda pipeline: rate)
    recipe.rated_pairs(built, tmp_path, prompts=20)
    told = json.loads((tmp_path / "pairs.json").read_text())
    assert 0 < len(told["prompts"]) <= 20
    for prompt, chosen, rejected in zip(told["prompts"], told["chosen"], told["rejected"], strict=True):
        stories.read_request(prompt)
        assert len(chosen.split()) > len(rejected.split())


def test_the_rate_warms_up_for_as_large_a_share_as_the_released_run_s(built):
    config = recipe.config_for(built, 650 * built.profile.sft.batch, odds_weight=0.05)
    assert config.optimizer.warmup_steps == 300
    assert config.steps(650 * config.batch) == 1950
    peak = built.profile.sft.optimizer.learning_rate / 2
    assert config.optimizer.rate_at(300, 1950) == pytest.approx(peak)
    assert config.optimizer.rate_at(1200, 1950) == pytest.approx(peak / 2)


def test_what_the_recipe_says():
    assert RECIPE.settings == {"odds_weight": 0.05}
    assert json.loads(json.dumps(RECIPE.settings_of("after fine-tuning"))) == {
        "odds_weight": 0.05,
        "start": "sft",
    }
