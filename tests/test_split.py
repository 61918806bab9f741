"""Rows in parts: the same values and gradients, fewer rows at a time; and what launchers leave behind.

What needs several processes is in `tests/distributed`.
"""

from collections.abc import Iterator
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

import rlhf_mini.models.forward as forward
from rlhf_mini.loop import OptimizerConfig, Training
from rlhf_mini.models import (
    copy_of,
    response_logp_and_entropy,
    sample,
    sequence_scores,
    token_logits,
    token_values,
)
from rlhf_mini.models.build import new_reward_model, new_value_model
from rlhf_mini.models.forward import hidden_states
from rlhf_mini.split import (
    alone,
    average_gradients,
    by_rows,
    from_main,
    main_process,
    process_group,
    rank,
    require_same,
    rows_at_once,
    wait_for_all,
    world_size,
)
from rlhf_mini.tensors import masked_mean
from tests.models.tiny import END, PAD, PROMPTS, llama, other

Batch = tuple[Tensor, Tensor, Tensor]


class Both(NamedTuple):
    squares: Tensor
    positive: Tensor


@pytest.fixture
def batch() -> Batch:
    """Seven right-padded rows of very different lengths, the last three tokens at most the response."""
    torch.manual_seed(1)
    lengths = torch.tensor([9, 5, 12, 2, 30, 3, 3])
    column = torch.arange(30)
    mask = column < lengths[:, None]
    response = mask & (column >= lengths[:, None] - 3)
    return torch.randint(3, 48, mask.shape).masked_fill(~mask, PAD), mask, response


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many rows the lean Llama was given, call by call."""
    rows: list[int] = []
    original = forward.llama_hidden

    def watched(model: nn.Module, tokens: Tensor, mask: Tensor) -> Tensor:
        rows.append(len(tokens))
        return original(model, tokens, mask)

    monkeypatch.setattr(forward, "llama_hidden", watched)
    return rows


def gradients(model: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def mixing_loss(model: nn.Module, batch: Batch) -> Tensor:
    """A loss in which every row's part depends on all others: whitened, and divided by all tokens."""
    logp, entropy = response_logp_and_entropy(model, *batch)
    centred = (logp - masked_mean(logp, batch[2])).tanh() * logp.std()
    return masked_mean(centred - 0.1 * entropy, batch[2])


# ------------------------------------------------------------------------------------- one process, no limit


def test_alone_and_without_limit_it_is_the_call_itself() -> None:
    x = nn.Parameter(torch.ones(5, 2))
    result = Both(x, x)
    assert by_rows(lambda one: result, x) is result
    assert by_rows(lambda one, two: two, x, torch.ones(3)) is not None  # not even the rows are counted
    assert (world_size(), rank(), main_process(), from_main(False)) == (1, 0, True, False)
    wait_for_all()
    require_same(torch.tensor(1.0), what="a step")
    x.grad = torch.ones_like(x)
    before = x.grad
    average_gradients([x])
    assert x.grad is before


# -------------------------------------------------------------------------------------------- rows at a time


@pytest.mark.parametrize("count", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("name", ["llama", "neox"])
def test_the_gradient_is_that_of_the_whole_batch(batch: Batch, count: int, name: str) -> None:
    """Double precision throughout, so that nothing but the order of sums may differ."""
    model = (llama() if name == "llama" else other(name)).double()
    loss = mixing_loss(model, batch)
    whole = gradients(model, loss)
    with rows_at_once(count):
        loss_in_parts = mixing_loss(model, batch)
    in_parts = gradients(model, loss_in_parts)
    torch.testing.assert_close(loss_in_parts, loss)
    assert in_parts.keys() == whole.keys()
    for key, gradient in whole.items():
        # logits are float32 in the library, whatever the model is
        torch.testing.assert_close(in_parts[key], gradient, rtol=1e-4, atol=1e-6)


def test_the_model_never_sees_more_rows(batch: Batch, seen: list[int]) -> None:
    """Two rows at a time forward; backward reads each part once more, and not before it is asked for."""
    model = llama()
    with rows_at_once(2):
        loss = mixing_loss(model, batch)
    assert seen == [2, 2, 2, 1]
    loss.backward()
    assert sorted(seen) == [1, 1, 2, 2, 2, 2, 2, 2]


def saved_by(model: nn.Module, batch: Batch, *, count: int | None) -> list[Tensor]:
    """Every tensor that autograd keeps for backward of the whole loss."""
    saved: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), rows_at_once(count):
        mixing_loss(model, batch)
    return saved


def test_what_is_kept_for_backward_is_little(batch: Batch) -> None:
    """Of a batch's activations nothing is kept, of its numbers (B, T) what the loss itself needs."""
    model = llama()
    parameters = {p.data_ptr() for p in model.parameters()}

    def held(count: int | None) -> int:
        tensors = {t.data_ptr(): t.nbytes for t in saved_by(model, batch, count=count)}
        return sum(size for place, size in tensors.items() if place not in parameters)

    assert held(2) < held(None) / 20


def test_without_gradients_parts_are_only_read_in_turn(batch: Batch, seen: list[int]) -> None:
    tokens, mask, _ = batch
    scorer = new_reward_model(llama(), seed=1)
    with torch.no_grad():
        expected = sequence_scores(scorer, tokens, mask)
        with rows_at_once(3):
            scores = sequence_scores(scorer, tokens, mask)
    assert seen == [7, 3, 3, 1]
    torch.testing.assert_close(scores, expected)


def test_everything_that_is_asked_of_a_model_is_divided(batch: Batch, seen: list[int]) -> None:
    tokens, mask, response = batch
    model, scorer = llama(), new_reward_model(llama(), seed=1)
    values = new_value_model(scorer)
    calls = [
        lambda: hidden_states(model, tokens, mask)[mask],
        lambda: token_logits(model, tokens, mask)[mask],
        lambda: forward.response_logp(model, tokens, mask, response, temperature=0.7),
        lambda: response_logp_and_entropy(model, tokens, mask, response).entropy,
        lambda: sequence_scores(scorer, tokens, mask),
        lambda: token_values(values, tokens, mask),
    ]
    for call in calls:
        expected = call()
        seen.clear()
        with rows_at_once(4):
            torch.testing.assert_close(call(), expected, rtol=1e-5, atol=1e-5)
        assert seen == [4, 3]


def test_the_same_samples_a_few_rows_at_a_time() -> None:
    def drawn() -> list[list[int]]:
        generator = torch.Generator().manual_seed(3)
        options = {"max_new_tokens": 9, "stop_tokens": [END], "pad_token": PAD, "generator": generator}
        return sample(llama(), PROMPTS, **options).tokens.tolist()

    expected = drawn()
    with rows_at_once(3):
        assert drawn() == expected


def test_a_limit_holds_within_its_context_only(batch: Batch, seen: list[int]) -> None:
    tokens, mask, _ = batch
    with rows_at_once(2):
        with rows_at_once(None):
            hidden_states(llama(), tokens, mask)
        with rows_at_once(6):
            hidden_states(llama(), tokens, mask)
        with alone():
            hidden_states(llama(), tokens, mask)
        with pytest.raises(RuntimeError, match="left"), rows_at_once(1):
            raise RuntimeError("left")
        hidden_states(llama(), tokens, mask)
    assert seen == [7, 6, 1, 7, 2, 2, 2, 1]


def test_a_training_step_is_the_same_in_parts(batch: Batch) -> None:
    """The trained weights, too: one step of plain gradient descent would show a factor, AdamW's two do."""
    start = llama().double()
    ends = []
    for count in (None, 3):
        model = copy_of(start)
        training = Training(model, optimizer=OptimizerConfig(learning_rate=1e-3), steps=2)
        with training, rows_at_once(count):
            for _ in range(2):
                training.step(batch, lambda batch, model=model: (mixing_loss(model, batch), {}))
        ends.append((model.state_dict(), [entry["grad_norm"] for entry in training.history]))
    (whole, norms), (in_parts, norms_in_parts) = ends
    assert norms_in_parts == pytest.approx(norms, rel=1e-5)
    for key, weight in whole.items():
        torch.testing.assert_close(in_parts[key], weight, rtol=0, atol=2e-5)


def test_dropout_is_drawn_once_for_each_part() -> None:
    """What is computed again is what was computed, dropout included."""
    dropout, weight = nn.Dropout(0.5), nn.Parameter(torch.ones(8, 64))
    with rows_at_once(2):
        result = by_rows(lambda rows: dropout(rows * weight[: len(rows)]), torch.ones(8, 64))
    (slope,) = torch.autograd.grad(result.sum(), weight)
    torch.testing.assert_close(slope[:2], result.view(4, 2, 64).sum(0).detach())


@pytest.mark.parametrize("count", [0, -1])
def test_less_than_a_row_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1 row, got {count}"), rows_at_once(count):
        pass


def test_unlike_numbers_of_rows_are_refused() -> None:
    with rows_at_once(1), pytest.raises(ValueError, match=r"as many rows in each tensor, got \[2, 3\]"):
        by_rows(lambda one, two: one, torch.ones(2), torch.ones(3))


# ---------------------------------------------------------------------------------------- what launchers say


def test_half_an_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    expected = "WORLD_SIZE is 2, and LOCAL_RANK, MASTER_ADDR, MASTER_PORT not set"
    with pytest.raises(ValueError, match=expected), process_group():
        pass


def test_a_launcher_s_only_process_joins_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    with process_group():
        assert not torch.distributed.is_initialized()


def test_a_process_that_has_not_joined_the_others_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.warns(UserWarning, match=r"one of 4 processes, and has not joined .*process_group\(\)"):
        Training(nn.Linear(1, 1), optimizer=OptimizerConfig(learning_rate=0.1), steps=1)
