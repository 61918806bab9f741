"""ChatGLM-RLHF: balanced pairs, scores over the reference's answer, demonstrations, nothing whitened."""

import json
from functools import partial

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from rlhf_mini.batch import Pairs
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.estimators import gae
from rlhf_mini.losses import next_token_loss, pairwise_loss
from rlhf_mini.methods.reward_model import raw_scores
from rlhf_mini.models import copy_of, response_logp
from rlhf_mini.pipeline import pack_pairs
from rlhf_mini.recipes import chatglm
from rlhf_mini.recipes.chatglm import RECIPE
from rlhf_mini.tensors import masked_mean
from rlhf_mini.worlds import stories


def folder_of(built, variant=""):
    return built.kept(RECIPE.train, **RECIPE.settings_of(variant))


def log_of(built, variant=""):
    return json.loads((folder_of(built, variant) / "log.json").read_text())


@pytest.mark.slow  # in two of the three runs the reference answers 4,000 prompts
def test_the_recipe_runs_and_its_variants_too(built):
    weights = {
        name: load_file(folder_of(built, name) / "ppo" / "model.safetensors")
        for name in ("", *RECIPE.variants)
    }
    assert all(torch.isfinite(tensor).all() for one in weights.values() for tensor in one.values())
    name = "model.embed_tokens.weight"
    for variant in RECIPE.variants:
        assert not torch.equal(weights[""][name], weights[variant][name])
    assert RECIPE.steps == ("ppo",)


def test_the_two_runs_draw_the_same_first_answers_and_are_paid_differently(built):
    """The baseline and the demonstrations have random numbers of their own."""
    ours, bare, unpractised = (log_of(built, name)[0] for name in ("", *RECIPE.variants))
    assert ours["gold"] == bare["gold"] == unpractised["gold"]
    assert ours["length"] == bare["length"]
    assert ours["score"] != bare["score"]
    assert ours["score"] == unpractised["score"]
    assert "auxiliary_loss" in ours
    assert "auxiliary_loss" not in unpractised


def test_nothing_is_whitened_in_either_variant(built, monkeypatch, tmp_path):
    """Advantages and returns are those of plain GAE, without discount, at the profile's λ."""
    estimates = []

    def watched(*given, estimate, **options):
        estimates.append(estimate)
        return []

    monkeypatch.setattr(chatglm, "ppo", watched)
    for variant in ("", "without the baseline"):
        folder = tmp_path / f"run {variant}"
        folder.mkdir()
        RECIPE.train(built, folder, **RECIPE.settings_of(variant))
    generator = torch.Generator().manual_seed(0)
    rewards, values = (torch.randn(3, 5, generator=generator) for _ in range(2))
    response = torch.ones(3, 5, dtype=torch.bool)
    plain = partial(gae, discount=1.0, gae_lambda=built.profile.ppo.gae_lambda)(rewards, values, response)
    assert len(estimates) == 2
    for estimate in estimates:
        for found, expected in zip(estimate(rewards, values, response), plain, strict=True):
            assert torch.equal(found, expected)
        assert abs(float(estimate(rewards + 1, values, response)[0].mean())) > 0.5


def test_the_auxiliary_loss_has_the_gradient_of_sft(built, monkeypatch):
    """0.1 times the mean of −log π over the answers' tokens of demonstrations, and of nothing else."""
    policy, batches = copy_of(built.policy("sft")), []
    original = chatglm.pretraining_mix

    def watched(policy, documents, **options):
        batches.append(documents)
        return original(policy, documents, **options)

    monkeypatch.setattr(chatglm, "pretraining_mix", watched)
    count = built.profile.demonstrations
    monkeypatch.setattr(
        chatglm.stories, "demonstrations", lambda n, seed: stories.demonstrators.demonstrations(8, seed=seed)
    )
    assert built.profile.sft.batch == 8  # so that one batch is all of them, in whatever order
    auxiliary = chatglm.demonstration_mix(built, policy, weight=0.1)
    auxiliary(None).backward()
    found = {name: weight.grad.clone() for name, weight in policy.named_parameters()}
    policy.zero_grad()
    rows = stories.demonstrators.demonstrations(8, seed=built.seed_for("demonstrations"))
    packed = pack_texts(built.tokenizer(), [r["prompt"] for r in rows], [r["completion"] for r in rows])
    logp = response_logp(policy, packed.tokens, packed.mask, packed.response)
    masked_mean(next_token_loss(logp), packed.response).backward()
    for name, weight in policy.named_parameters():
        torch.testing.assert_close(found[name], 0.1 * weight.grad, rtol=1e-4, atol=1e-7)
    assert not batches[0].response[:, :3].any()  # prompts do not count
    assert count == 32


def test_the_reward_model_learns_balanced_pairs_with_a_price_on_far_scores(built, monkeypatch, tmp_path):
    seen = {}

    def watched(model, pairs, *, loss, **options):
        seen.update(pairs=pairs, loss=loss)
        return []

    monkeypatch.setattr(chatglm, "train_reward_model", watched)
    chatglm.balanced_reward_model(built, tmp_path, buckets=4, score_weight=0.5)
    assert isinstance(seen["pairs"], Pairs)
    longer_by = seen["pairs"].chosen.response.sum(1) - seen["pairs"].rejected.response.sum(1)
    assert (longer_by > 0).sum() == (longer_by < 0).sum()
    assert 0 < len(seen["pairs"]) <= len(pack_pairs(built.tokenizer(), built.preferences("train")))
    chosen, rejected = torch.tensor([3.0, 0.0]), torch.tensor([1.0, 2.0])
    expected = pairwise_loss(chosen, rejected) + 0.5 * torch.tensor([10.0, 4.0])
    assert torch.equal(seen["loss"](chosen, rejected), expected)


def test_a_heavier_price_keeps_the_scores_nearer_to_zero(built):
    sizes = []
    pairs = pack_pairs(built.tokenizer(), built.preferences("train"))
    for weight in (0.0, 10.0):
        folder = built.kept(chatglm.balanced_reward_model, buckets=4, score_weight=weight)
        model = AutoModelForSequenceClassification.from_pretrained(folder)
        with torch.no_grad():
            sizes.append(float(raw_scores(model, pairs.chosen).abs().mean()))
    assert sizes[1] < sizes[0]


def test_what_is_said_of_the_report():
    assert len(RECIPE.reported) <= 3
    assert "secondary source" in RECIPE.reported[1]
    with pytest.raises(ValueError, match="no variant"):
        RECIPE.settings_of("with an ensemble")
