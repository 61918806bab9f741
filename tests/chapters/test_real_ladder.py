"""The ladder of chapter 15: its rungs hold where all is well, and each falls for a planted bug."""

from dataclasses import replace

import pytest
import torch

from rlhf_mini.chapters.real import beside_trl, ladder
from rlhf_mini.evaluation.training_cost import FLOAT32
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.profiles import QUICK
from rlhf_mini.reader import ladder as climb


@pytest.fixture
def small():
    return ladder.SmallModel(0)


RUNGS = (ladder.footprint, ladder.reloaded, ladder.templated, ladder.scored_at_the_end, ladder.divided)


@pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.__name__)
def test_the_rungs_hold(small, rung):
    held, seen = rung(small)
    assert held, seen


def test_the_footprint_rung_falls_for_a_moment_less(small, monkeypatch):
    monkeypatch.setattr(ladder, "FLOAT32", replace(FLOAT32, optimizer=4))
    assert not ladder.footprint(small)[0]


def test_the_reloading_rung_falls_where_half_the_digits_are_saved(small, monkeypatch):
    usual = ladder.save_start

    def halved(policy, tokenizer, folder, *, seed):
        return usual(ladder.copy_of(policy).to(torch.bfloat16), tokenizer, folder, seed=seed)

    monkeypatch.setattr(ladder, "save_start", halved)
    assert not ladder.reloaded(small)[0]


def test_the_template_rung_falls_without_the_end_token(small):
    words = small.tokenizer
    words.chat_template = words.chat_template.replace("eos_token", "'' if true else eos_token")
    assert not ladder.templated(small)[0]


def test_the_template_rung_falls_where_rows_are_cut_off(small):
    rows = small.batch
    small.__dict__["batch"] = ladder.Sequences(
        rows.tokens[:, :40], rows.mask[:, :40], rows.response[:, :40] | (torch.arange(40) == 39)
    )
    assert not ladder.templated(small)[0]


def test_the_score_rung_falls_where_padding_is_the_end_token(small):
    """The reward model's configuration is the policy's; its rows are padded with the end token."""
    end = small.tokenizer.eos_token_id
    batch = small.batch
    small.__dict__["batch"] = ladder.Sequences(
        batch.tokens.where(batch.mask, end), batch.mask, batch.response
    )
    usual = ladder.new_reward_model

    def with_end_as_padding(policy, *, seed):
        model = usual(policy, seed=seed)
        model.config.pad_token_id = end
        return model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ladder, "new_reward_model", with_end_as_padding)
        assert not ladder.scored_at_the_end(small)[0]


def test_the_divided_rung_falls_for_a_mean_of_means(small, monkeypatch):
    def each_by_itself(fn, *tensors):
        """Each part's log-probabilities, scaled as a mean over parts would scale their losses."""
        response = tensors[2]
        parts = [fn(*(tensor[rows] for tensor in tensors)) for rows in torch.arange(len(response)).split(3)]
        counts = [response[rows].sum() for rows in torch.arange(len(response)).split(3)]
        factors = [response.sum() / (len(parts) * count) for count in counts]
        return torch.cat([part * factor for part, factor in zip(parts, factors, strict=True)])

    usual, calls = ladder.by_rows, []

    def second_time(fn, *tensors):
        calls.append(fn)
        return (usual if len(calls) == 1 else each_by_itself)(fn, *tensors)

    monkeypatch.setattr(ladder, "by_rows", second_time)
    assert not ladder.divided(small)[0]


def test_the_order_of_the_rungs(tmp_path):
    pipeline = Pipeline(QUICK, seed=0, cache=tmp_path)
    names = [rung.name for rung in ladder.rungs(pipeline, trl=False)]
    assert names == ["footprint", "saved and loaded", "template", "score's place", "divided batch"]
    assert [rung.name for rung in ladder.rungs(pipeline, trl=True)][5:] == ["TRL's first step", "one curve"]
    climbed = climb(ladder.rungs(pipeline, trl=False))
    assert climbed.holds, climbed.text


# ------------------------------------------------------------------------------------------------- beside TRL


@pytest.mark.bridge
@pytest.mark.slow  # TRL takes seconds to import
@pytest.mark.parametrize("rung", [ladder.first_step, ladder.one_curve], ids=lambda rung: rung.__name__)
def test_the_rungs_beside_trl_hold_and_fall_for_another_setting(small, rung, monkeypatch):
    pytest.importorskip("trl")
    held, seen = rung(small)
    assert held, seen
    usual = beside_trl.trl_side
    wrong = {"dpo": {"beta": 0.11}, "sft": {"adam_beta2": 0.999}}

    def told_otherwise(method, start, rows, shared, told=None):
        return usual(method, start, rows, shared, wrong[method])

    monkeypatch.setattr(beside_trl, "trl_side", told_otherwise)
    assert not rung(small)[0]
