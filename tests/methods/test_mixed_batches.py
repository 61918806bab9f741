"""Fine-tuning in which an answer counts whole: against plain sums, and at a policy's own samples."""

import pytest
import torch

from rlhf_mini.batch import Sequences, pack_rows
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.mixed_batches import fine_tune_mixed, mixed_batches
from rlhf_mini.methods.sft import SFTConfig
from rlhf_mini.models import copy_of
from tests.methods.toy_words import LANGUAGE, logp_after, seeded


def still(**changes) -> SFTConfig:
    """Training that moves nothing, so that all batches are seen by the same model."""
    return SFTConfig(
        **{"epochs": 1, "batch": 2, "optimizer": OptimizerConfig(learning_rate=1e-12), **changes}
    )


def plain_logp(model, sequences) -> torch.Tensor:
    """The whole log-probability of each answer, one row at a time, from the model's own logits."""
    found = []
    for tokens, response in zip(sequences.tokens, sequences.response, strict=True):
        logp = model(tokens[None]).logits[0].log_softmax(-1)
        found.append(sum(logp[place - 1, tokens[place]] for place in response.nonzero().flatten().tolist()))
    return torch.stack(found)


def test_every_epoch_comes_in_a_new_order_and_drops_what_is_left_over():
    epochs = list(mixed_batches(7, batch=2, epochs=3, generator=seeded()))
    assert [len(rows) for rows in epochs] == [2] * 9
    orders = [torch.cat(epochs[start : start + 3]).tolist() for start in (0, 3, 6)]
    assert all(len(set(order)) == 6 for order in orders)
    assert len({tuple(order) for order in orders}) == 3


def test_the_generator_alone_decides_on_the_order():
    drawn = []
    for seed in (0, 1):
        torch.manual_seed(seed)  # must not matter
        batches = mixed_batches(40, batch=8, epochs=2, generator=seeded(3))
        drawn.append(torch.stack(list(batches)).tolist())
    assert drawn[0] == drawn[1]


def test_batches_do_not_look_at_lengths():
    """Long rows beside short ones: with sorted batches no batch would hold both. Miss: (1/2)^19 or so."""
    long = torch.arange(200) < 100
    mixed = [
        bool(long[rows].any() and not long[rows].all())
        for rows in mixed_batches(200, batch=20, epochs=1, generator=seeded())
    ]
    assert all(mixed)


def test_the_losses_of_an_epoch_add_up_to_the_whole_log_probability(model, demonstrations):
    history = fine_tune_mixed(copy_of(model), demonstrations, config=still(), generator=seeded())
    expected = -plain_logp(model, demonstrations).sum() / demonstrations.response.sum()  # nats per token
    assert sum(entry["loss"] for entry in history) / 2 == pytest.approx(float(expected.detach()), abs=1e-5)


def test_the_gradient_is_that_of_weighted_whole_log_probabilities(model, demonstrations):
    weights = torch.tensor([0.5, 3.0, 0.0, 1.0])
    loss = (
        -(weights * plain_logp(model, demonstrations)).sum()
        / (weights * demonstrations.response.sum(1)).sum()
    )
    loss.backward()
    norm = torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).norm()
    (entry,) = fine_tune_mixed(
        copy_of(model), demonstrations, config=still(batch=4), weights=weights, generator=seeded()
    )
    assert entry["loss"] == pytest.approx(float(loss.detach()), abs=1e-5)
    assert entry["grad_norm"] == pytest.approx(float(norm), rel=1e-4)


def test_a_policys_own_samples_do_not_move_it(toy_policy):
    """All texts, each at its probability: Σ π ∇ log π = 0. Weighted per token instead, it would be moved."""
    weights = logp_after(toy_policy).exp().float()
    tokens = LANGUAGE.tokens.clone()
    tokens[:, 0] = 1
    texts = Sequences(tokens, LANGUAGE.mask, LANGUAGE.response)
    whole = still(batch=len(texts))
    (entry,) = fine_tune_mixed(copy_of(toy_policy), texts, config=whole, weights=weights, generator=seeded())
    assert entry["grad_norm"] < 1e-5
    by_length = weights / LANGUAGE.response.sum(1)
    (entry,) = fine_tune_mixed(
        copy_of(toy_policy), texts, config=whole, weights=by_length, generator=seeded()
    )
    assert entry["grad_norm"] > 1e-2


def test_hooks_see_every_step_of_a_model_in_training_mode(model, demonstrations):
    seen = []
    fine_tune_mixed(
        model.eval(),
        demonstrations,
        config=still(epochs=2),
        generator=seeded(),
        hooks=[lambda step, entry: seen.append((step, model.training))],
    )
    assert seen == [(step, True) for step in (1, 2, 3, 4)]


def test_what_is_behind_the_masks_does_not_matter(model, demonstrations):
    (plain,) = fine_tune_mixed(copy_of(model), demonstrations, config=still(batch=4), generator=seeded())
    demonstrations.tokens[~demonstrations.mask] = 15
    (junk,) = fine_tune_mixed(copy_of(model), demonstrations, config=still(batch=4), generator=seeded())
    assert (junk["loss"], junk["grad_norm"]) == (plain["loss"], plain["grad_norm"])


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, 1.0], "weights must be 4 finite numbers"),
        ([1.0, 1.0, 1.0, -1.0], "weights must be 4 finite numbers"),
        ([1.0, 1.0, 1.0, float("nan")], "weights must be 4 finite numbers"),
        ([0.0] * 4, "nothing to learn from"),
    ],
)
def test_bad_weights_are_refused(model, demonstrations, weights, message):
    with pytest.raises(ValueError, match=message):
        fine_tune_mixed(
            model, demonstrations, config=still(), weights=torch.tensor(weights), generator=seeded()
        )


def test_too_few_rows_and_too_long_ones_are_refused_before_training(
    model, demonstrations, weights_of, same_weights
):
    before = weights_of(model)
    with pytest.raises(ValueError, match="4 rows do not fill one batch of 5"):
        fine_tune_mixed(model, demonstrations, config=still(batch=5), generator=seeded())
    long = pack_rows([[1] * 9], [[3, 4, 5, 2]], pad_token=0)
    with pytest.raises(ValueError, match="context of 12"):
        fine_tune_mixed(model, long, config=still(batch=1), generator=seeded())
    assert same_weights(before, weights_of(model))
