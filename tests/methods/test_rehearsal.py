"""Rehearsal: two losses, one step."""

import pytest
import torch

from rlhf_mini.batch import pack_rows
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.rehearsal import RehearsalConfig, sft_with_rehearsal
from rlhf_mini.methods.sft import SFTConfig, response_loss, sft
from rlhf_mini.models import copy_of

DOCUMENTS = [[9, 9, 14, 2], [10, 14, 2]]


def settings(*, epochs=1, batch=4, learning_rate=1e-2):
    return SFTConfig(epochs=epochs, batch=batch, optimizer=OptimizerConfig(learning_rate=learning_rate))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def documents():
    return pack_rows([[1]] * 2, DOCUMENTS, pad_token=0)


def test_the_loss_is_the_sum_of_two_means(model, demonstrations, documents):
    answers, texts = response_loss(model, demonstrations), response_loss(model, documents)
    (entry,) = sft_with_rehearsal(
        model,
        demonstrations,
        documents,
        config=settings(),
        rehearsal=RehearsalConfig(documents_per_step=2, document_weight=0.25),
        generator=seeded(),
    )
    assert entry["answer_loss"] == pytest.approx(answers, abs=1e-5)
    assert entry["document_loss"] == pytest.approx(texts, abs=1e-5)
    assert entry["loss"] == pytest.approx(answers + 0.25 * texts, abs=1e-5)


def test_what_is_rehearsed_is_kept(model, demonstrations, documents):
    plain = copy_of(model)
    sft(plain, demonstrations, config=settings(epochs=40), generator=seeded())
    sft_with_rehearsal(
        model,
        demonstrations,
        documents,
        config=settings(epochs=40),
        rehearsal=RehearsalConfig(documents_per_step=2),
        generator=seeded(),
    )
    assert response_loss(model, demonstrations) < 0.2
    # Which of the two documents comes, nobody can know: log 2 once in 7 tokens, twice, is 0.198 a token.
    assert response_loss(model, documents) < 0.25 < 0.5 < response_loss(plain, documents)


def test_as_many_steps_as_sft_takes(model, demonstrations, documents):
    seen = []
    model.eval()
    history = sft_with_rehearsal(
        model,
        demonstrations,
        documents,
        config=settings(epochs=3, batch=2),
        rehearsal=RehearsalConfig(documents_per_step=1),
        generator=seeded(),
        hooks=[lambda step, entry: seen.append(step)],
    )
    assert len(history) == 6
    assert seen == [1, 2, 3, 4, 5, 6]
    assert model.training


@pytest.mark.parametrize("which", ["demonstrations", "documents"])
def test_rows_longer_than_the_context_are_refused(model, demonstrations, documents, which):
    long = pack_rows([[1] * 9], [[3, 4, 5, 2]], pad_token=0)
    given = {"demonstrations": demonstrations, "documents": documents, which: long}
    with pytest.raises(ValueError, match="13 tokens"):
        sft_with_rehearsal(
            model,
            given["demonstrations"],
            given["documents"],
            config=settings(batch=1),
            rehearsal=RehearsalConfig(documents_per_step=1),
            generator=seeded(),
        )


@pytest.mark.parametrize("which", ["demonstrations", "documents"])
@pytest.mark.parametrize("seed", range(4))
def test_a_long_row_is_refused_before_the_first_step(model, demonstrations, documents, which, seed):
    """Even if its turn would come later."""
    long = pack_rows([[1], [1], [1] * 9], [[9, 2], [10, 2], [3, 4, 5, 2]], pad_token=0)
    given, seen = {"demonstrations": demonstrations, "documents": documents, which: long}, []
    with pytest.raises(ValueError, match="13 tokens"):
        sft_with_rehearsal(
            model,
            given["demonstrations"],
            given["documents"],
            config=settings(batch=1, epochs=2),
            rehearsal=RehearsalConfig(documents_per_step=1),
            generator=seeded(seed),
            hooks=[lambda step, entry: seen.append(step)],
        )
    assert not seen


def test_fewer_demonstrations_than_a_batch_are_refused(model, demonstrations, documents):
    with pytest.raises(ValueError, match="4 rows do not fill one batch of 5"):
        sft_with_rehearsal(
            model,
            demonstrations,
            documents,
            config=settings(batch=5),
            rehearsal=RehearsalConfig(documents_per_step=1),
            generator=seeded(),
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"documents_per_step": 0},
        {"documents_per_step": 1, "document_weight": 0.0},
        {"documents_per_step": 1, "document_weight": float("nan")},
    ],
)
def test_settings_that_cannot_be_are_refused(changes):
    with pytest.raises(ValueError, match="documents_per_step must be at least 1 and document_weight above 0"):
        RehearsalConfig(**changes)
    assert RehearsalConfig(documents_per_step=1).document_weight == 1.0
