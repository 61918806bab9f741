"""Several reward models as one score: members in their own unit, every rule, PPO's place."""

from functools import partial

import pytest
import torch

from rlhf_mini.batch import pack_rows
from rlhf_mini.estimators.ensembles import mean_score, uncertainty_weighted_score, worst_score
from rlhf_mini.methods.ensemble_score import doubt, ensemble_score, member_scores
from rlhf_mini.methods.reward_model import normalise, scores
from rlhf_mini.methods.rollouts import scored
from rlhf_mini.models import freeze, new_llama, new_reward_model

SIZES = {"vocab_size": 16, "width": 8, "layers": 1, "heads": 2, "context": 32}
TOKENS = {"pad_token": 0, "eos_token": 2, "bos_token": 1}


@pytest.fixture
def answers():
    return pack_rows([[1, 3]] * 5, [[5, 2], [6, 7, 2], [8, 2], [9, 9, 9, 2], [10, 2]], pad_token=0)


@pytest.fixture
def members(answers):
    models = [freeze(new_reward_model(new_llama(**SIZES, **TOKENS, seed=s), seed=s)) for s in range(3)]
    for model in models:
        normalise(model, answers)
    return models


@pytest.mark.parametrize(
    ("combine", "by_hand"),
    [
        (mean_score, lambda rows: sum(rows) / 3),
        (worst_score, min),
        (
            partial(uncertainty_weighted_score, weight=0.5),
            lambda rows: sum(rows) / 3 - 0.5 * sum((row - sum(rows) / 3) ** 2 for row in rows) / 3,
        ),
    ],
)
def test_the_rule_is_applied_to_the_members_normalised_scores(members, answers, combine, by_hand):
    found = ensemble_score(members, combine=combine)(answers).tolist()
    told = [scores(member, answers).tolist() for member in members]
    assert found == pytest.approx([by_hand(column) for column in zip(*told, strict=True)], abs=1e-5)


def test_members_speak_in_their_own_unit(members, answers):
    table = member_scores(members, answers)
    assert table.shape == (3, 5)
    torch.testing.assert_close(table.mean(1), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(table.std(1), torch.ones(3), rtol=0, atol=1e-4)


def test_a_louder_member_changes_nothing_once_it_is_normalised(members, answers):
    before = ensemble_score(members, combine=mean_score)(answers)
    with torch.no_grad():
        members[1].score.weight.mul_(100.0)
    normalise(members[1], answers)
    torch.testing.assert_close(
        ensemble_score(members, combine=mean_score)(answers), before, rtol=0, atol=1e-4
    )


def test_doubt_is_the_members_spread(members, answers):
    told = [scores(member, answers).tolist() for member in members]
    means = [sum(column) / 3 for column in zip(*told, strict=True)]
    spread = [
        (sum((row - mean) ** 2 for row in column) / 3) ** 0.5
        for column, mean in zip(zip(*told, strict=True), means, strict=True)
    ]
    assert doubt(members, answers).tolist() == pytest.approx(spread, abs=1e-5)
    torch.testing.assert_close(doubt(members[:1], answers), torch.zeros(5))


def test_it_stands_where_ppo_asks_for_a_score(members, answers):
    found = scored(ensemble_score(members, combine=worst_score), answers)
    assert found.shape == (5,)
    assert not found.requires_grad


def test_wrong_input_is_refused(members, answers):
    for build in (lambda: ensemble_score([], combine=mean_score), lambda: member_scores([], answers)):
        with pytest.raises(ValueError, match="at least one member"):
            build()
    with pytest.raises(ValueError, match=r"here \(5,\) of \(3, 5\); it made \(3, 5\)"):
        ensemble_score(members, combine=lambda table: table)(answers)
