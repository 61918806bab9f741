"""The ladder of chapter 07: its rungs hold where all is well, and each falls for a planted bug."""

import math

import pytest
import torch

import rlhf_mini.methods.dpo as dpo_module
from rlhf_mini.chapters.direct import ladder, landing
from rlhf_mini.chapters.direct.toy import ToyWorld
from rlhf_mini.chapters.toy_language import LANGUAGE
from rlhf_mini.losses import dpo_loss
from rlhf_mini.methods.dpo import Compared, KeptReference, answer_logp
from rlhf_mini.models import response_logp
from rlhf_mini.pipeline import Pipeline


def swapped(chosen, rejected, *, kl_weight):
    return dpo_loss(rejected, chosen, kl_weight=kl_weight)


def without_weight(chosen, rejected, *, kl_weight):
    return dpo_loss(chosen, rejected, kl_weight=1.0)


def doubled(chosen, rejected, *, kl_weight):
    return 2 * dpo_loss(chosen, rejected, kl_weight=kl_weight)


def each_by_itself(chosen, rejected, *, kl_weight):
    zero = torch.zeros_like(chosen)
    return (dpo_loss(chosen, zero, kl_weight=kl_weight) + dpo_loss(zero, rejected, kl_weight=kl_weight)) / 2


# ------------------------------------------------------------------------------------------------- exact test


def test_the_exact_rung_holds():
    held, seen = ladder.exact()
    assert held, seen


@pytest.mark.parametrize("wrong", [swapped, without_weight, doubled, each_by_itself])
def test_the_exact_rung_falls(wrong, monkeypatch):
    monkeypatch.setattr(ladder, "dpo_loss", wrong)
    assert not ladder.exact()[0]


def test_the_gradient_at_a_policy_that_is_not_the_optimum_is_none():
    world = ToyWorld(5)
    assert ladder.gradient_at(world, world.best(0.5), kl_weight=0.5) < 1e-12
    assert ladder.gradient_at(world, world.best(0.6), kl_weight=0.5) > 1e-3


# ------------------------------------------------------------------------------------- on a pipeline's models


@pytest.mark.parametrize("rung", [ladder.first_batch, ladder.frozen, ladder.padding, ladder.one_pair])
def test_the_rungs_hold_on_a_pipeline(built, rung):
    held, seen = rung(built)
    assert held, seen


def test_the_first_batch_falls_for_a_reference_that_is_another_model(built, monkeypatch):
    def of_base(model, pairs):
        return dpo_module.kept_reference(built.policy("base"), pairs)

    monkeypatch.setattr(ladder, "kept_reference", of_base)
    assert not ladder.first_batch(built)[0]


def test_the_first_batch_falls_for_rows_in_another_order(built, monkeypatch):
    def by_length(model, pairs):
        kept = dpo_module.kept_reference(model, pairs)
        return KeptReference(kept.chosen.flip(0), kept.rejected.flip(0))

    monkeypatch.setattr(ladder, "kept_reference", by_length)
    assert not ladder.first_batch(built)[0]


def test_the_first_batch_falls_for_a_loss_that_does_not_start_at_log_2(built, monkeypatch):
    monkeypatch.setattr(ladder, "dpo_loss", doubled)
    assert not ladder.first_batch(built)[0]


def test_the_frozen_rung_falls_where_the_reference_is_the_policy(built, monkeypatch):
    model = built.policy("sft")
    monkeypatch.setattr(Pipeline, "policy", lambda self, stage: model)
    monkeypatch.setattr(ladder, "copy_of", lambda model: model.requires_grad_(True))
    held, seen = ladder.frozen(built)
    assert not held
    assert "reference 0e+00" not in seen


def test_the_padding_rung_falls_where_padding_counts(built, monkeypatch):
    def counting(model, sequences, *, batch=256):
        parts = []
        for rows in torch.arange(len(sequences)).split(batch):
            part = sequences.rows(rows)
            everything = torch.ones_like(part.mask)
            parts.append(response_logp(model, part.tokens, everything, part.response | ~part.mask).sum(1))
        return torch.cat(parts).detach()

    monkeypatch.setattr(ladder, "answer_logps", counting)
    assert not ladder.padding(built)[0]


def test_the_one_pair_rung_falls_where_the_reference_moves_along(built, monkeypatch):
    """The chapter's bug: policy less policy."""

    def with_itself(model, rows, pairs, reference):
        better, worse = answer_logp(model, pairs.chosen), answer_logp(model, pairs.rejected)
        one = torch.ones(len(rows), dtype=torch.long)
        return Compared(better, worse, better.detach(), worse.detach(), one, one, rows)

    monkeypatch.setattr(dpo_module, "compare", with_itself)
    assert not ladder.one_pair(built)[0]


def test_the_one_pair_rung_falls_for_exchanged_answers(built, monkeypatch):
    monkeypatch.setattr(ladder, "dpo_loss", swapped)
    assert not ladder.one_pair(built)[0]


# --------------------------------------------------------------------------------------------- known optimum


class Fresh(Pipeline):
    """Of a pipeline its seed, and nothing is kept."""

    def __init__(self):
        self.seed = 0

    def measured(self, experiment, **settings):
        return experiment(self, **settings)


@pytest.mark.slow  # DPO on a small Llama, 200 steps: some seconds
def test_the_known_optimum_is_reached():
    held, seen = ladder.known_optimum(Fresh())
    assert held, seen


@pytest.mark.slow  # the same run with a bug
def test_the_known_optimum_is_missed_where_the_weight_is_left_out(monkeypatch):
    monkeypatch.setattr(landing, "KL_WEIGHT", 0.5)  # so that it shows
    monkeypatch.setattr(landing, "dpo_loss", without_weight)
    assert not ladder.known_optimum(Fresh())[0]


def test_comparisons_stand_there_in_both_orders_with_their_probabilities():
    world = ToyWorld(0)
    pairs, chances = landing.comparisons(world)
    half = len(pairs) // 2
    assert half == 3 * len(LANGUAGE.texts)
    torch.testing.assert_close(chances[:half] + chances[half:], torch.ones(half))
    reward_of = dict(zip(LANGUAGE.texts, world.rewards.tolist(), strict=True))
    seen = set()
    for row in range(len(pairs)):
        chosen, rejected = (
            tuple(side.tokens[row][side.response[row]].tolist()) for side in (pairs.chosen, pairs.rejected)
        )
        lead = reward_of[chosen] - reward_of[rejected]
        assert float(chances[row]) == pytest.approx(1 / (1 + math.exp(-lead)), abs=1e-6)
        seen.add((chosen, rejected))
    assert len(seen) == len(pairs)
    assert all((second, first) in seen for first, second in seen)


def test_the_rungs_are_named(built):
    assert [rung.name for rung in ladder.rungs(built)] == [
        "exact test", "first batch", "frozen", "padding", "one pair", "known optimum", "band of good seeds",
        "real run",
    ]  # fmt: skip
