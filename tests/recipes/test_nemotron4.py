"""Nemotron-4: a regression on ratings, filtered pairs, DPO, and three rounds whose reference is renewed."""

import json
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from rlhf_mini.losses import dpo_loss
from rlhf_mini.methods import iterated_rpo as rounds
from rlhf_mini.methods.dpo import Compared, kept_reference
from rlhf_mini.methods.reward_model import scores
from rlhf_mini.models import freeze
from rlhf_mini.recipes import nemotron4, nemotron4_data
from rlhf_mini.recipes.nemotron4 import RECIPE


def weights(folder, step):
    return load_file(folder / step / "model.safetensors")


def same(one, other):
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def rated(built):
    folder = built.kept(nemotron4_data.rated_reward_model)
    return freeze(AutoModelForSequenceClassification.from_pretrained(folder))


def test_the_recipe_and_its_variants_run_step_by_step(built):
    folders = {name: built.kept(RECIPE.train, **RECIPE.settings_of(name)) for name in ("", *RECIPE.variants)}
    for folder in folders.values():
        kept = [weights(folder, step) for step in RECIPE.steps]
        assert len(kept) == 4
        assert not any(same(one, other) for one, other in pairwise(kept))
        log = json.loads((folder / "log.json").read_text())
        assert len(log) == 4
    dpo, first, second = (
        [weights(folder, step) for folder in folders.values()] for step in ("dpo", "rpo 1", "rpo 2")
    )
    assert same(dpo[0], dpo[1])
    assert same(dpo[0], dpo[2])
    assert same(first[0], first[1])  # the first reference is DPO's policy either way
    assert not same(first[0], first[2])
    assert not same(second[0], second[1])


def test_each_round_s_reference_is_the_last_step_and_the_reward_stays(built, monkeypatch, tmp_path):
    references, pairs = [], []

    def watched(reference, given):
        references.append({name: tensor.clone() for name, tensor in reference.state_dict().items()})
        pairs.append(given)
        return kept_reference(reference, given)

    monkeypatch.setattr(rounds, "kept_reference", watched)
    RECIPE.train(built, tmp_path, **RECIPE.settings)
    assert len(references) == 3
    for reference, step in zip(references, RECIPE.steps, strict=False):
        assert same(weights(tmp_path, step), reference)
    assert pairs[0] is pairs[1] is pairs[2]


def test_the_reward_learns_ratings_of_answers_it_will_not_label(built, monkeypatch, tmp_path):
    seen = {}

    def watched(model, ratings, *, config, **options):
        seen.update(ratings=ratings, batch=config.batch)
        return []

    monkeypatch.setattr(nemotron4_data, "train_on_ratings", watched)
    nemotron4_data.rated_reward_model(built, tmp_path)
    half = built.profile.pairs // 2
    assert len(seen["ratings"]) == 2 * half
    assert seen["batch"] == 2 * built.profile.reward_model.batch
    assert set(seen["ratings"].ratings.tolist()) <= {1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0}
    rows = built.preferences("train")
    labelled = nemotron4_data.labelled_pairs(built, rated(built))
    assert len(labelled.pairs) == half
    assert {*rows["prompt"][:half]}.isdisjoint(rows["prompt"][half:])


def test_the_better_scored_answer_is_the_chosen_one_with_its_score(built):
    model = rated(built)
    found = nemotron4_data.labelled_pairs(built, model)
    assert (found.chosen >= found.rejected).all()
    torch.testing.assert_close(scores(model, found.pairs.chosen), found.chosen, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(scores(model, found.pairs.rejected), found.rejected, rtol=1e-4, atol=1e-5)
    assert getattr(model.config, "std", 1.0) == 1.0  # rating points


def test_dpo_s_filter_is_the_stricter(built):
    every = nemotron4_data.labelled_pairs(built, rated(built))
    few, many = (
        nemotron4_data.best_chosen(every, share=share) for share in (nemotron4.DPO_SHARE, nemotron4.RPO_SHARE)
    )
    assert (len(few.pairs), len(many.pairs)) == (8, 15)
    assert few.chosen.min() >= every.chosen.median()
    assert set(few.chosen.tolist()) <= set(many.chosen.tolist())


def test_dpo_with_its_sft_term_by_hand():
    """A lead of 0 costs log 2; an answer of four tokens and −8 nats adds 0.1 · 2."""
    pair = Compared(
        chosen=torch.tensor([-8.0]),
        rejected=torch.tensor([-5.0]),
        chosen_ref=torch.tensor([-9.0]),
        rejected_ref=torch.tensor([-6.0]),
        chosen_length=torch.tensor([4]),
        rejected_length=torch.tensor([2]),
        place=torch.tensor([0]),
    )
    loss = nemotron4.dpo_with_sft(pair, kl_weight=1.0, sft_weight=0.1)
    expected = dpo_loss(torch.ones(1), torch.ones(1), kl_weight=1.0) + 0.2
    torch.testing.assert_close(loss, expected)
    assert float(loss) == pytest.approx(0.6931 + 0.2, abs=1e-4)
