"""What counts: prompts in the loss or not, the mean over tokens or over answers, padding or packed rows."""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from rlhf_mini.batch import Sequences
from rlhf_mini.chapters.fine_tuning import runs
from rlhf_mini.data.packed import PackedRows, pack_several, packed_logp
from rlhf_mini.losses import next_token_loss
from rlhf_mini.methods.sft import response_loss, sft
from rlhf_mini.models import copy_of, response_logp
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.tensors import masked_mean


def everything_counts(sequences: Sequences) -> Sequences:
    """The same rows with the loss on every token but the first: prompts are learned too."""
    counted = sequences.mask.clone()
    counted[:, 0] = False
    return Sequences(sequences.tokens, sequences.mask, counted)


def only_prompts_count(sequences: Sequences) -> Sequences:
    """The same rows with the loss on the prompts' tokens only, to measure what is known of prompts."""
    counted = sequences.mask & ~sequences.response
    counted[:, 0] = False
    return Sequences(sequences.tokens, sequences.mask, counted)


def unmasked(pipeline: Pipeline, folder: Path, *, crew: str, batches: int) -> None:
    """A kept run like `runs.fine_tuned`, but with the prompts in the loss."""
    count = batches * pipeline.profile.sft.batch
    rows = runs.demonstration_rows(pipeline, crew=crew, count=count)
    model = copy_of(pipeline.policy("base"))
    history = sft(
        model,
        everything_counts(runs.encode(pipeline, rows)),
        config=runs.settings(pipeline, count),
        generator=pipeline.generator("chapter 03 sft"),
    )
    runs.save(model, history, folder)


def prompt_masking(pipeline: Pipeline, *, batches: int) -> dict[str, float]:
    """Gold, and the loss on held-out answers and prompts, with the prompts left out of the loss and in it."""
    good, _ = runs.good_and_bad(pipeline)
    folders = {
        "masked": runs.run_on(pipeline, crew="mixed", batches=batches),
        "unmasked": pipeline.kept(unmasked, crew="mixed", batches=batches),
    }
    numbers: dict[str, float] = {}
    for name, folder in folders.items():
        model = runs.load(folder)
        metrics = runs.judged(pipeline, model).metrics()
        numbers |= {
            f"gold_{name}": metrics["gold"],
            f"followed_{name}": metrics["followed"],
            f"answer_nats_{name}": response_loss(model, good),
            f"prompt_nats_{name}": response_loss(model, only_prompts_count(good)),
        }
    rows = runs.encode(pipeline, runs.demonstration_rows(pipeline, crew="mixed", count=512))
    numbers["prompt_share"] = 1 - float(rows.response.sum() / rows.mask[:, 1:].sum())
    return numbers


def gradients_of(loss: Tensor, model: torch.nn.Module) -> Tensor:
    """All of the model's gradients in one vector."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, parameters)])


def packing(pipeline: Pipeline, *, texts: int = 64, width: int = 256) -> dict[str, float]:
    """Loss, gradient and seconds of one batch: a row for each text, packed rows, and the library's own way.

    The first two go through `transformers`' forward, the third through the lean one, which skips padding. The
    seconds are the fastest of five forwards and backwards.
    """
    model = copy_of(pipeline.policy("base")).float()
    model.config.max_position_embeddings = max(model.config.max_position_embeddings, width)
    rows = runs.encode(pipeline, runs.demonstration_rows(pipeline, crew="mixed", count=texts))
    packed = pack_several(rows, width=width, pad_token=pipeline.tokenizer().pad_token_id)
    leaking = PackedRows(
        packed.tokens,
        torch.where(packed.text < 0, -1, 0),
        torch.arange(width).expand_as(packed.tokens),
        packed.response,
    )

    def padded_loss() -> Tensor:
        alone = PackedRows(
            rows.tokens,
            torch.where(rows.mask, 0, -1),
            torch.arange(rows.tokens.shape[1]).expand_as(rows.tokens),
            rows.response,
        )
        return masked_mean(next_token_loss(packed_logp(model, alone)), rows.response.to(model.device))

    def packed_loss(kind: PackedRows = packed) -> Tensor:
        return masked_mean(next_token_loss(packed_logp(model, kind)), kind.response.to(model.device))

    def lean_loss() -> Tensor:
        part = rows.to(model.device)
        return masked_mean(
            next_token_loss(response_logp(model, part.tokens, part.mask, part.response)), part.response
        )

    ways = {"padded": padded_loss, "packed": packed_loss, "lean": lean_loss}
    losses = {f"loss_{name}": float(way().detach()) for name, way in ways.items()}
    expected, found = (gradients_of(way(), model) for way in (padded_loss, packed_loss))
    return {
        **losses,
        "loss_leaking": float(packed_loss(leaking).detach()),
        "gradient_difference": float((expected - found).norm() / expected.norm()),
        **{f"seconds_{name}": least_seconds(way, model) for name, way in ways.items()},
        "rows_packed": len(packed),
        "padding_padded": 1 - float(rows.mask.float().mean()),
        "padding_packed": float((packed.text < 0).float().mean()),
    }


def least_seconds(way: Callable[[], Tensor], model: torch.nn.Module, *, times: int = 5) -> float:
    """The fastest of some forwards and backwards: what else runs on a machine can only make it slower."""
    seconds = []
    for _ in range(times + 1):
        started = time.perf_counter()
        gradients_of(way(), model)
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])
