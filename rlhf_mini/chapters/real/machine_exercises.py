"""Exercises of chapter 15 on machines: memory, hours, one denominator for all processes, whose rows are whose."""

import torch
from torch import Tensor

from rlhf_mini.reader import Exercise, Mistake

# ----------------------------------------------------------------------------------------- 4 · what must be kept


def kept_bytes(parameters: int, adapters: int) -> int:
    """Bytes that stay in memory between two steps of fine-tuning with AdamW in mixed precision.

    A trained number has a weight and a gradient of 2 bytes each, a float32 copy of the weight, and two float32
    moments. Without adapters (`adapters` is 0) all `parameters` are trained; with LoRA only the adapters'
    numbers are, and the model's are weights of 2 bytes each that never change.
    """
    trained = 2 + 2 + 4 + 4 + 4
    return 2 * parameters + trained * adapters if adapters else trained * parameters


def _no_copy(parameters: int, adapters: int) -> int:
    return 2 * parameters + 12 * adapters if adapters else 12 * parameters


def _weights_only(parameters: int, adapters: int) -> int:
    return 2 * (parameters + adapters)


def _frozen_forgotten(parameters: int, adapters: int) -> int:
    return 16 * adapters if adapters else 16 * parameters


def _all_is_trained(parameters: int, adapters: int) -> int:
    return 16 * (parameters + adapters)


def _frozen_in_float32(parameters: int, adapters: int) -> int:
    return 4 * parameters + 16 * adapters if adapters else 16 * parameters


def _frozen_with_gradients(parameters: int, adapters: int) -> int:
    return 4 * parameters + 14 * adapters if adapters else 16 * parameters


KEPT = Exercise(
    title="What must be kept",
    level="easy",
    minutes=5,
    hints=(
        "Add up the bytes of one trained number first. Then ask of how many numbers you need what.",
        "A trained number takes 2 + 2 + 4 + 4 + 4 = 16 bytes. With LoRA: 2 bytes for each of the model's numbers, and 16 for each of the adapters'.",
    ),
    solution=kept_bytes,
    cases=lambda: [(1_000, 0), (7_000_000_000, 0), (1_000, 10), (7_000_000_000, 40_000_000)],
    mistakes=(
        Mistake(_no_copy, "That makes 12 bytes. AdamW has two moments of 4 bytes each, and there is the float32 copy of the weight besides. Without it, small steps are lost to bfloat16's rounding."),
        Mistake(_weights_only, "You count weights. Training needs gradients and the optimizer's state too, seven times as much again."),
        Mistake(_frozen_forgotten, "With LoRA the frozen model is still there, in 2 bytes a number: it is most of what is kept."),
        Mistake(_all_is_trained, "With LoRA the model's own numbers have no gradient and no moments: they are not trained."),
        Mistake(_frozen_in_float32, "The frozen weights are in 16 bits: nothing is ever added to them, and so nothing can be lost to rounding."),
        Mistake(_frozen_with_gradients, "A frozen weight gets no gradient: gradients pass through it, to what stands before."),
    ),
    tolerance=0,
)  # fmt: skip


# --------------------------------------------------------------------------------------- 5 · hours, and what RLHF adds


def hours(parameters: float, tokens: float, epochs: int, peak: float, share: float) -> tuple[float, float]:
    """Device hours of SFT and of PPO on `tokens` tokens with models of `parameters` numbers each.

    A forward pass takes 2 operations for each parameter and token, a backward pass twice that. SFT trains one
    model once. PPO writes each token, reads it with policy, values, reference and reward model, and then
    trains policy and values, `epochs` times. The device does `peak` operations a second at best, and really a
    `share` of them. Attention's own operations are left out.
    """
    forward = 2 * parameters * tokens / (peak * share) / 3600
    return 3 * forward, (1 + 4 + epochs * 2 * 3) * forward


def _of(
    sft: float | int, ppo: float | int, parameters: float, tokens: float, rate: float
) -> tuple[float, float]:
    forward = 2 * parameters * tokens / rate / 3600
    return sft * forward, ppo * forward


def _at_peak(parameters: float, tokens: float, epochs: int, peak: float, share: float) -> tuple[float, float]:
    return _of(3, 5 + 6 * epochs, parameters, tokens, peak)


def _times_share(
    parameters: float, tokens: float, epochs: int, peak: float, share: float
) -> tuple[float, float]:
    return _of(3 * share, (5 + 6 * epochs) * share, parameters, tokens, peak)


def _one_operation(
    parameters: float, tokens: float, epochs: int, peak: float, share: float
) -> tuple[float, float]:
    return _of(1.5, (5 + 6 * epochs) / 2, parameters, tokens, peak * share)


def _in_seconds(
    parameters: float, tokens: float, epochs: int, peak: float, share: float
) -> tuple[float, float]:
    return _of(3 * 3600, (5 + 6 * epochs) * 3600, parameters, tokens, peak * share)


def _no_values(
    parameters: float, tokens: float, epochs: int, peak: float, share: float
) -> tuple[float, float]:
    return _of(3, 1 + 3 + 3 * epochs, parameters, tokens, peak * share)


def _nobody_reads(
    parameters: float, tokens: float, epochs: int, peak: float, share: float
) -> tuple[float, float]:
    return _of(3, 1 + 6 * epochs, parameters, tokens, peak * share)


def _one_epoch(
    parameters: float, tokens: float, epochs: int, peak: float, share: float
) -> tuple[float, float]:
    return _of(3, 5 + 6, parameters, tokens, peak * share)


def _all_again(
    parameters: float, tokens: float, epochs: int, peak: float, share: float
) -> tuple[float, float]:
    return _of(3, epochs * (5 + 6), parameters, tokens, peak * share)


HOURS = Exercise(
    title="Hours, and what RLHF adds",
    level="medium",
    minutes=15,
    hints=(
        "Count forward passes of a token: a training step is three of them, forward and backward. How many does a token of PPO go through?",
        "SFT: 3, which is the rule 6·N·D. PPO: 1 for writing, 4 for reading, and 2 models × 3 for each epoch. Then 2·N·D operations a pass, by peak × share, by 3600.",
    ),
    solution=hours,
    cases=lambda: [(7e9, 1e9, 1, 1e15, 0.4), (7e10, 1e8, 4, 3e14, 0.5), (1e9, 1e9, 2, 1e15, 0.25)],
    mistakes=(
        Mistake(_at_peak, "No training reaches the peak of the data sheet. Divide by the share that it does reach."),
        Mistake(_times_share, "A smaller share makes it take longer: divide by it."),
        Mistake(_one_operation, "A multiplication and the addition after it are two operations: 2·N for each token."),
        Mistake(_in_seconds, "These are seconds."),
        Mistake(_no_values, "You left the value model out. It reads what was written, and it is trained as the policy is."),
        Mistake(_nobody_reads, "Before anything is learned, four models read what was written: policy, values, reference, reward model."),
        Mistake(_one_epoch, "Each epoch on the draw trains both models once more."),
        Mistake(_all_again, "A draw is written and read once, however many epochs of training are made on it."),
    ),
)  # fmt: skip


# ------------------------------------------------------------------------------------------- 6 · one denominator for all


def own_losses(losses: list[Tensor], masks: list[Tensor]) -> Tensor:
    """What each of several processes calls backward on, (processes,), where their gradients are averaged.

    `losses` and `masks` have one tensor (B, T) a process: losses of tokens, and true where a token counts. The
    average of what is returned must be the mean of all tokens that count, on all processes together.
    """
    total = sum(mask.sum() for mask in masks)
    each = [(loss * mask).sum() * len(losses) / total for loss, mask in zip(losses, masks, strict=True)]
    return torch.stack(each)


def _mean_of_means(losses: list[Tensor], masks: list[Tensor]) -> Tensor:
    return torch.stack([(loss * mask).sum() / mask.sum() for loss, mask in zip(losses, masks, strict=True)])


def _not_times_processes(losses: list[Tensor], masks: list[Tensor]) -> Tensor:
    return own_losses(losses, masks) / len(losses)


def _padding_counts(losses: list[Tensor], masks: list[Tensor]) -> Tensor:
    return own_losses(losses, [torch.ones_like(mask) for mask in masks])


def _masked_sum_by_all(losses: list[Tensor], masks: list[Tensor]) -> Tensor:
    total = sum(mask.numel() for mask in masks)
    each = [(loss * mask).sum() * len(losses) / total for loss, mask in zip(losses, masks, strict=True)]
    return torch.stack(each)


def _all_the_same(losses: list[Tensor], masks: list[Tensor]) -> Tensor:
    return own_losses(losses, masks).mean().expand(len(losses)).clone()


def _by_rows(losses: list[Tensor], masks: list[Tensor]) -> Tensor:
    rows = [(loss * mask).sum(1) / mask.sum(1) for loss, mask in zip(losses, masks, strict=True)]
    return torch.stack([row.sum() * len(losses) / sum(map(len, rows)) for row in rows])


def _two_processes() -> list[tuple[list[Tensor], list[Tensor]]]:
    def tokens(*lengths: int) -> Tensor:
        return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]

    def numbers(seed: int, *shape: int) -> Tensor:
        return torch.rand(shape, generator=torch.Generator().manual_seed(seed))

    return [
        ([torch.tensor([[6.0, 9.0]]), torch.tensor([[1.0, 2.0]])], [tokens(1) & tokens(2), tokens(2)]),
        ([numbers(0, 2, 5), numbers(1, 2, 3)], [tokens(5, 4), tokens(1, 3)]),
        ([numbers(n, 1, 4) for n in range(3)], [tokens(4), torch.tensor([[True, False, False, False]]), tokens(4)]),
    ]  # fmt: skip


OWN_LOSSES = Exercise(
    title="One denominator for all processes",
    level="medium",
    minutes=15,
    hints=(
        "The mean over all tokens is the sum of all losses by the number of all tokens. Each process can give its own sum; the number must be everybody's.",
        "(loss * mask).sum() · processes / all tokens: the average over processes takes the factor away again.",
    ),
    solution=own_losses,
    cases=_two_processes,
    mistakes=(
        Mistake(_mean_of_means, "You take each process's own mean. A process with few tokens then weighs each of them more, and the gradient depends on how rows were dealt out."),
        Mistake(_not_times_processes, "Your losses *add up* to the mean of all tokens; but gradients are averaged over processes, and so come out that many times too small."),
        Mistake(_padding_counts, "Padding counts with you, in both the sum and the number. Where the mask is false, a loss means nothing."),
        Mistake(_masked_sum_by_all, "You divide by all positions, padding included. The more padding, the smaller the step."),
        Mistake(_all_the_same, "On average this is right, but each process can only give the gradient of what it has computed itself: its own tokens."),
        Mistake(_by_rows, "That gives every sequence the same weight. Asked for is the mean over tokens, in which a long one weighs more."),
    ),
)  # fmt: skip


# -------------------------------------------------------------------------------------- 7 · micro-batches that differ


def weights(counts: list[int]) -> list[float]:
    """What to multiply the loss of each micro-batch with before backward, so that their gradients add up to
    that of the whole batch.

    The loss of a micro-batch is the mean over its own tokens, of which it has `counts`; that of the batch is
    the mean over all of its tokens.
    """
    return [count / sum(counts) for count in counts]


def _equal(counts: list[int]) -> list[float]:
    return [1 / len(counts)] * len(counts)


def _not_scaled(counts: list[int]) -> list[float]:
    return [1.0] * len(counts)


def _inverse(counts: list[int]) -> list[float]:
    return [1 / count for count in counts]


def _by_the_mean(counts: list[int]) -> list[float]:
    return [count * len(counts) / sum(counts) for count in counts]


def _by_the_largest(counts: list[int]) -> list[float]:
    return [count / max(counts) for count in counts]


def _raw(counts: list[int]) -> list[float]:
    return [float(count) for count in counts]


WEIGHTS = Exercise(
    title="Micro-batches that differ",
    level="easy",
    minutes=5,
    hints=(
        "Write the mean over all tokens as a sum over micro-batches. What stands in front of each one's own mean?",
        "Σ ℓ / N = Σ_k (n_k / N) · (Σ_k ℓ / n_k), with N = Σ n_k.",
    ),
    solution=weights,
    cases=lambda: [([10, 30],), ([5, 5, 5, 5],), ([1, 2, 97],), ([7],)],
    mistakes=(
        Mistake(_equal, "Dividing by the number of micro-batches is right only where all have as many tokens. This was a bug of widely used trainers until the end of 2024."),
        Mistake(_not_scaled, "Gradients add up over micro-batches: without a weight the step is as many times too large as there are of them."),
        Mistake(_inverse, "The losses are means already; you divide by the number of tokens once more."),
        Mistake(_by_the_mean, "These weights average to 1, and so the gradients add up to as many times the right one as there are micro-batches."),
        Mistake(_by_the_largest, "The denominator is the number of all tokens, not of the longest micro-batch."),
        Mistake(_raw, "That turns means back into sums. Divide by the number of all tokens."),
    ),
)  # fmt: skip


# ------------------------------------------------------------------------------------------------- 8 · whose rows


def rows_of(rows: int, processes: int, rank: int) -> list[int]:
    """The numbers of the rows that process `rank` reads of a batch, of which every process has a share.

    Shares are consecutive, every row is in one of them, and they differ by one row at most: the first
    processes have the longer ones. Rows and processes count from 0.
    """
    size, longer = divmod(rows, processes)
    start = rank * size + min(rank, longer)
    return [*range(start, start + size + (rank < longer))]


def _every_nth(rows: int, processes: int, rank: int) -> list[int]:
    return [*range(rank, rows, processes)]


def _rest_dropped(rows: int, processes: int, rank: int) -> list[int]:
    size = rows // processes
    return [*range(rank * size, (rank + 1) * size)]


def _rest_to_the_last(rows: int, processes: int, rank: int) -> list[int]:
    size = rows // processes
    return [*range(rank * size, rows if rank == processes - 1 else (rank + 1) * size)]


def _rounded_up(rows: int, processes: int, rank: int) -> list[int]:
    size = -(-rows // processes)
    return [*range(rank * size, min(rows, (rank + 1) * size))]


def _everything(rows: int, processes: int, rank: int) -> list[int]:
    return [*range(rows)]


def _starts_too_early(rows: int, processes: int, rank: int) -> list[int]:
    size, longer = divmod(rows, processes)
    return [*range(rank * size, rank * size + size + (rank < longer))]


ROWS = Exercise(
    title="Whose rows are whose",
    level="medium",
    minutes=10,
    hints=(
        "divmod(rows, processes) says how many each has at least, and how many processes have one more.",
        "Before process r come r shares of the smaller size, and one more row for each of the longer ones among them, of which there are min(r, rest).",
    ),
    solution=rows_of,
    cases=lambda: [(8, 2, 1), (5, 3, 0), (5, 3, 1), (5, 3, 2), (7, 4, 3), (2, 4, 1), (2, 4, 3), (10, 4, 2)],
    mistakes=(
        Mistake(_every_nth, "Every n-th row is a fair share too, but the results of all processes, one after the other, would not be in the order of the rows."),
        Mistake(_rest_dropped, "The rows that are left over belong to nobody with you, and are never learned from."),
        Mistake(_rest_to_the_last, "You leave the rest to the last process. Where eight share fifteen rows, it has eight of them, and the others wait."),
        Mistake(_rounded_up, "Rounding up uses up the rows too early: of five rows on four processes the last has none, though there are enough for all."),
        Mistake(_everything, "Every process reads all rows. The gradient is right, and nothing is gained."),
        Mistake(_starts_too_early, "The sizes are right, but shares overlap: longer shares before this one move its beginning."),
    ),
    tolerance=0,
)  # fmt: skip
