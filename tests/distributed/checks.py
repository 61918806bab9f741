"""What `rlhf_mini.split` promises, asserted inside each of two processes."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from rlhf_mini.data.handover import hand_over_model, hand_over_rows
from rlhf_mini.data.tokenizer import train_tokenizer
from rlhf_mini.loop import OptimizerConfig, Training
from rlhf_mini.models import new_llama
from rlhf_mini.models.adapters import save_adapters
from rlhf_mini.models.lora import add_lora
from rlhf_mini.split import (
    ProcessesApartError,
    alone,
    average_gradients,
    by_rows,
    from_main,
    main_process,
    rank,
    require_same,
    rows_at_once,
    world_size,
)
from rlhf_mini.tensors import masked_mean


class Both(NamedTuple):
    squares: Tensor
    positive: Tensor


def rows(count: int, width: int = 3, *, seed: int = 0) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gradient(x: Tensor, *, together: bool) -> tuple[Tensor, Tensor]:
    """A loss that mixes the rows of tanh(x W), and its gradient with respect to W."""
    weight = nn.Parameter(rows(3, 2, seed=1))

    def fn(part: Tensor) -> Tensor:
        return (part @ weight).tanh()

    hidden = by_rows(fn, x) if together else fn(x)
    loss = ((hidden - 0.7 * hidden.mean(0)) / hidden.norm()).pow(3).sum() + weight.square().sum()
    loss.backward()
    if together:
        average_gradients([weight])
    return loss.detach(), weight.grad


def shares() -> None:
    """Each process reads its consecutive share only, the first the larger one."""
    read: list[Tensor] = []

    def fn(part: Tensor) -> Tensor:
        read.append(part)
        return part * 2

    x = rows(5)
    assert torch.equal(by_rows(fn, x), 2 * x)
    assert torch.equal(read[0], [x[:3], x[3:]][rank()])


def any_number_of_rows() -> None:
    """As many as processes, more, fewer; the results are equal, and so are the gradients."""
    for count in (1, 2, 3, 4, 7, 16):
        x = rows(count, seed=count)
        for one, other in zip(gradient(x, together=True), gradient(x, together=False), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def one_row_at_a_time_too() -> None:
    x = rows(7)
    with rows_at_once(2):
        together = gradient(x, together=True)
    for one, other in zip(together, gradient(x, together=False), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def several_outputs_of_every_type() -> None:
    x = rows(5)
    both = by_rows(lambda part: Both(part.square(), part > 0), x)
    assert isinstance(both, Both)
    assert torch.equal(both.squares, x.square())
    assert torch.equal(both.positive, x > 0)
    for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.int64, torch.uint8, torch.bool):
        for wide in (x.to(dtype), x[:, 0].to(dtype), x[:, :, None].expand(-1, -1, 2).to(dtype)):
            kept, also = by_rows(lambda part: (part, part.clone()), wide)
            assert kept.dtype == dtype
            assert torch.equal(kept, wide)
            assert torch.equal(also, wide)


def nothing_is_divided_within() -> None:
    """A model call inside of a model call, and one that a process makes alone."""
    read: list[int] = []

    def inner(part: Tensor) -> Tensor:
        read.append(len(part))
        return part

    x = rows(6)
    assert torch.equal(by_rows(lambda part: by_rows(inner, part), x), x)
    if main_process():
        with alone():
            by_rows(inner, x)
    assert read == ([3, 6] if main_process() else [3])


def gradients_are_averaged() -> None:
    """Over all processes; one that only this process has counts, and one that nobody has stays None."""
    everyone, mine, nobody = (nn.Parameter(torch.ones(2)) for _ in range(3))
    half = nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    everyone.grad = torch.full((2,), float(rank()))
    half.grad = torch.full((3,), 2.0 * rank(), dtype=torch.bfloat16)
    if main_process():
        mine.grad = torch.full((2,), 4.0)
    average_gradients([everyone, half, mine, nobody])
    assert everyone.grad.tolist() == [0.5, 0.5]
    assert (half.grad.dtype, half.grad.tolist()) == (torch.bfloat16, [1.0, 1.0, 1.0])
    assert mine.grad.tolist() == [2.0, 2.0]
    assert nobody.grad is None


def what_the_first_says() -> None:
    assert from_main(main_process()) is True
    assert from_main(not main_process()) is False


def going_apart_is_noticed() -> None:
    require_same(torch.tensor(1.0 + 1e-6 * rank()), what="step 1")  # rounding
    require_same(torch.tensor(torch.nan), what="step 1")  # `Training` says what it thinks of that
    with pytest.raises(ProcessesApartError, match=r"apart at step 2: they have 0, 1\. All must run the same"):
        require_same(torch.tensor(float(rank())), what="step 2")
    module = nn.Linear(1, 1)
    torch.manual_seed(rank())  # the mistake: a seed of its own for each process
    batch = torch.randn(4, 1)
    with Training(module, optimizer=OptimizerConfig(learning_rate=0.1), steps=3) as training:
        before = module.weight.clone()
        with pytest.raises(ProcessesApartError, match="apart at step 1 of 3"):
            training.step(batch, lambda x: (by_rows(module, x).square().mean() + x.sum(), {}))
        assert torch.equal(module.weight, before)


def means_of_their_own_would_be_wrong() -> None:
    """Rows of 1 and of 9 tokens: the mean over tokens is not the mean of the processes' means.

    What a process would see that averages over its own rows, as `DistributedDataParallel` has it by default.
    """
    counted = torch.arange(9) < torch.tensor([9, 9, 1, 1])[:, None]  # (4, 9): 18 tokens, and 2
    x, weight = rows(4, 9), nn.Parameter(torch.linspace(-1, 1, 9, dtype=torch.float64))

    def losses(part: Tensor) -> Tensor:
        return (part * weight - 0.3).square()

    def slope_of(loss: Tensor) -> Tensor:
        weight.grad = None
        loss.backward()
        average_gradients([weight])
        return weight.grad.clone()

    whole = slope_of(masked_mean(losses(x), counted))
    ours = slope_of(masked_mean(by_rows(losses, x), counted))
    own = slice(2 * rank(), 2 * rank() + 2)
    of_means = slope_of(masked_mean(losses(x[own]), counted[own]))
    torch.testing.assert_close(ours, whole, rtol=1e-12, atol=1e-14)
    assert not torch.allclose(of_means, whole, rtol=0.2)
    # by hand: a row's tokens weigh 1/20 each, and 1/2 · 1/18 or 1/2 · 1/2 in the mean of two means
    slope = 2 * (x * weight.detach() - 0.3) * x * counted
    torch.testing.assert_close(whole, slope.sum(0) / 20, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(of_means, slope[:2].sum(0) / 36 + slope[2:].sum(0) / 4, rtol=1e-12, atol=1e-14)


def the_first_alone_writes() -> None:
    """Two processes that write one file would tear it; all are told where it is."""
    tokenizer = train_tokenizer(["Name a fox.", "Finn."], vocab_size=270)
    sizes = {"vocab_size": len(tokenizer), "width": 8, "layers": 1, "heads": 1, "context": 16}
    policy, changed = (new_llama(**sizes, pad_token=0, bos_token=1, eos_token=2, seed=0) for _ in range(2))
    add_lora(changed, rank=2, alpha=4, generator=torch.Generator().manual_seed(0))
    rows = [{"prompt": "Name a fox.", "completion": "Finn."}]
    with TemporaryDirectory() as place:
        folder = Path(place)
        written = [
            hand_over_model(policy, tokenizer, folder / "policy"),
            hand_over_rows(rows, tokenizer, folder / "rows.jsonl", trainer="trl.SFTTrainer"),
            save_adapters(changed, folder / "adapters", base_model="policy"),
        ]
        assert [path.name for path in written] == ["policy", "rows.jsonl", "adapters"]
        assert sorted(path.exists() for path in written) == [main_process()] * 3


def there_are_two() -> None:
    assert (world_size(), rank()) in [(2, 0), (2, 1)]


CHECKS: dict[str, Callable[[], None]] = {
    check.__name__: check
    for check in (
        there_are_two,
        shares,
        any_number_of_rows,
        one_row_at_a_time_too,
        several_outputs_of_every_type,
        nothing_is_divided_within,
        gradients_are_averaged,
        what_the_first_says,
        going_apart_is_noticed,
        means_of_their_own_would_be_wrong,
        the_first_alone_writes,
    )
}
