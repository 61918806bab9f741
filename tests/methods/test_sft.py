"""Supervised fine-tuning: which tokens are learned from, and how they are averaged."""

import pytest
import torch

from rlhf_mini.batch import pack_rows
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.sft import SFTConfig, response_loss, sft
from rlhf_mini.models import copy_of, sample

PROMPTS = [[1, 5, 6], [1, 7], [1, 8, 9, 10], [1, 6]]
RESPONSES = [[11, 2], [3, 4, 5, 6, 2], [7, 2], [12, 13, 2]]


def settings(*, epochs=1, batch=2, learning_rate=1e-2, **optimizer):
    return SFTConfig(
        epochs=epochs, batch=batch, optimizer=OptimizerConfig(learning_rate=learning_rate, **optimizer)
    )


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def plain_loss(model):
    """Mean −log p of the responses' tokens, row by row, through transformers' own forward, unpadded."""
    losses = []
    for prompt, response in zip(PROMPTS, RESPONSES, strict=True):
        logits = model(torch.tensor([prompt + response])).logits[0].double()
        for place, token in enumerate(response, start=len(prompt)):
            losses.append(-logits[place - 1].log_softmax(0)[token])
    return torch.stack(losses).mean()


def test_loss_and_gradient_are_those_of_a_plain_loop_over_response_tokens(model, demonstrations):
    expected = plain_loss(model)
    expected.backward()
    norm = torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).norm()
    (entry,) = sft(model, demonstrations, config=settings(batch=4), generator=seeded())
    assert entry["loss"] == pytest.approx(expected.item(), abs=1e-5)
    assert entry["grad_norm"] == pytest.approx(norm.item(), rel=1e-4)


def test_what_is_behind_the_masks_changes_neither_loss_nor_gradient(model, demonstrations):
    (plain,) = sft(copy_of(model), demonstrations, config=settings(batch=4), generator=seeded())
    demonstrations.tokens[~demonstrations.mask] = 15
    (junk,) = sft(copy_of(model), demonstrations, config=settings(batch=4), generator=seeded())
    assert (junk["loss"], junk["grad_norm"]) == (plain["loss"], plain["grad_norm"])


def test_response_loss_is_the_same_mean_whatever_the_batch(model, demonstrations):
    expected = plain_loss(model).item()
    for batch in (1, 3, 128):
        assert response_loss(model, demonstrations, batch=batch) == pytest.approx(expected, abs=1e-5)


def test_a_few_demonstrations_are_learned_by_heart(model, demonstrations):
    # The first rung of the ladder: four prompts overfitted, end token included.
    history = sft(model, demonstrations, config=settings(epochs=60, batch=4), generator=seeded())
    assert len(history) == 60
    assert history[-1]["loss"] < 0.05
    told = sample(model, PROMPTS, max_new_tokens=6, temperature=0.0, stop_tokens=[2], pad_token=0)
    answers = [tokens[drawn].tolist() for tokens, drawn in zip(told.tokens, told.response, strict=True)]
    assert answers == RESPONSES


def test_fewer_rows_than_a_batch_are_refused(model, demonstrations):
    with pytest.raises(ValueError, match="4 rows do not fill one batch of 5: give more rows or a smaller"):
        sft(model, demonstrations, config=settings(batch=5), generator=seeded())


def test_a_row_longer_than_the_context_is_refused_before_training(
    model, demonstrations, weights_of, same_weights
):
    before = weights_of(model)
    long = pack_rows([*PROMPTS, [1] * 9], [*RESPONSES, [3, 4, 5, 2]], pad_token=0)
    with pytest.raises(ValueError, match=r"row 5 has 13 tokens.* context of 12"):
        sft(model, long, config=settings(batch=1), generator=seeded())
    assert same_weights(before, weights_of(model))


@pytest.mark.parametrize("changes", [{"epochs": 0}, {"batch": 0}])
def test_settings_that_cannot_be_are_refused(changes):
    with pytest.raises(ValueError, match="epochs and batch must be at least 1"):
        settings(**changes)
