"""What the chapter claims of memory, rows and number types, measured on models that are built here, in a second each."""

import gc
import itertools
import tempfile
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid
from transformers import PreTrainedModel

from rlhf_mini.batch import Sequences
from rlhf_mini.chapters.real import sizes
from rlhf_mini.chapters.real.beside_data import demonstration_rows
from rlhf_mini.chapters.real.small import sum_rows, tokenizer_for, untrained, write_lines
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.data.load import load_text
from rlhf_mini.data.streaming import batched, shuffled, stream_text
from rlhf_mini.losses import next_token_loss
from rlhf_mini.models import response_logp
from rlhf_mini.models.checkpoints import checkpoint_activations
from rlhf_mini.models.counted import Holding, counted
from rlhf_mini.models.footprint import Shape, training_flops
from rlhf_mini.models.lora import add_lora
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.split import rows_at_once
from rlhf_mini.tensors import masked_mean

KINDS = ("Qwen2", "GPT-NeoX", "Llama")
ROWS, AT_ONCE = 24, 4
Loss = Callable[[Tensor, Tensor], Tensor]


def token_mean(logp: Tensor, response: Tensor) -> Tensor:
    """SFT's loss: the mean over all answer tokens of the batch."""
    return masked_mean(next_token_loss(logp), response)


def against_the_batch(logp: Tensor, response: Tensor) -> Tensor:
    """A loss with a statistic of the batch in it, as KTO has one: each answer against the mean of all."""
    answers = 0.1 * (logp * response).sum(1)
    return -logsigmoid(answers - answers.mean().detach()).mean()


LOSSES: Mapping[str, Loss] = {"token mean": token_mean, "batch baseline": against_the_batch}


def story_batch(seed: int, *, rows: int = ROWS) -> tuple[PreTrainedModel, Sequences]:
    """An untrained Qwen2, and demonstrations as one batch, the shorter ones first."""
    tokenizer = tokenizer_for(seed)
    drawn = demonstration_rows(rows, seed=seed)
    batch = pack_texts(tokenizer, [row["prompt"] for row in drawn], [row["completion"] for row in drawn])
    return untrained("Qwen2", tokenizer, seed=seed), batch.rows(batch.response.sum(1).argsort(stable=True))


def gradient(model: PreTrainedModel, batch: Sequences, loss: Loss) -> Tensor:
    """The gradient of a batch's loss by all weights, in one row."""
    model.zero_grad()
    logp = response_logp(model, batch.tokens, batch.mask, batch.response)
    loss(logp, batch.response).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def kept_bytes(model: PreTrainedModel, batch: Sequences) -> int:
    """What autograd holds of a batch between its forward and its backward pass, weights left out."""
    with Holding(model) as held:
        response_logp(model, batch.tokens, batch.mask, batch.response)
    return held.total


def a_few_rows(pipeline: Pipeline) -> dict[str, float]:
    """How far the gradient of `ROWS` rows is from the whole one, as a part of its length, by two ways of reading `AT_ONCE`
    rows at a time: `rows …`, `rows_at_once`; `micro …`, the mean of the micro-batches' own gradients. And `kept`, the share
    of the batch's activations that is held at most."""
    model, batch = story_batch(pipeline.seed)
    found: dict[str, float] = {}
    for name, loss in LOSSES.items():
        whole = gradient(model, batch, loss)
        with rows_at_once(AT_ONCE):
            parts = gradient(model, batch, loss)
        slices = [batch.rows(part) for part in torch.arange(ROWS).split(AT_ONCE)]
        micro = torch.stack([gradient(model, part, loss) for part in slices]).mean(0)
        found[f"rows {name}"] = float((parts - whole).norm() / whole.norm())
        found[f"micro {name}"] = float((micro - whole).norm() / whole.norm())
    whole_bytes, some = kept_bytes(model, batch), kept_bytes(model, batch.rows(torch.arange(ROWS)[-AT_ONCE:]))
    with rows_at_once(AT_ONCE):
        between = kept_bytes(model, batch)
    return found | {"whole MB": whole_bytes / 1e6, "kept": (between + some) / whole_bytes}


def two_halves(pipeline: Pipeline) -> dict[str, float]:
    """How far the mean of two processes' own means is from the mean of all tokens, in the gradient, as a part of its
    length: `sorted`, where one process has the shorter half; `shuffled`, where the halves are drawn."""
    model, batch = story_batch(pipeline.seed)
    whole = gradient(model, batch, token_mean)
    drawn = torch.randperm(ROWS, generator=torch.Generator().manual_seed(pipeline.seed))
    found: dict[str, float] = {}
    for name, order in {"sorted": torch.arange(ROWS), "shuffled": drawn}.items():
        halves = [gradient(model, batch.rows(half), token_mean) for half in order.chunk(2)]
        found[name] = float((torch.stack(halves).mean(0) - whole).norm() / whole.norm())
        tokens = [float(batch.rows(half).response.sum()) for half in order.chunk(2)]
        found[f"tokens {name}"] = max(tokens) / min(tokens)
    return found


# ----------------------------------------------------------------------------------------------------- memory


def eval_mode(pipeline: Pipeline) -> dict[str, float]:
    """The share of activations that is held with checkpoints, by `ours` and by the method of `transformers` (`theirs`), in
    train and in eval mode: `ours eval Qwen2` and so on."""
    tokenizer = tokenizer_for(pipeline.seed)
    tokens = torch.zeros(4, 64, dtype=torch.int64)

    def held(kind: str, mode: str, ask: Callable[[PreTrainedModel], Any]) -> int:
        model = untrained(kind, tokenizer, seed=pipeline.seed).train(mode == "train")
        ask(model)
        with Holding(model) as kept:
            model.base_model(input_ids=tokens, use_cache=False)
        return kept.total

    found: dict[str, float] = {}
    for kind, mode in itertools.product(KINDS, ("train", "eval")):
        whole = held(kind, mode, lambda model: None)
        for whose, ask in {"ours": checkpoint_activations, "theirs": ask_transformers}.items():
            found[f"{whose} {mode} {kind}"] = held(kind, mode, ask) / whole
    return found


def ask_transformers(model: PreTrainedModel) -> None:
    """Checkpoints by the method of `transformers`, whichever of its two names it has."""
    name = "activation_checkpointing_enable"
    getattr(model, name if hasattr(model, name) else "gradient_checkpointing_enable")()


def counts(pipeline: Pipeline) -> dict[str, float]:
    """What is counted without weights, less what a real model holds, in bytes: `apart Qwen2 float32` and so on, `held …` what
    that is. `operations`: those of a training pass of a Llama by the formula, without attention's own, as a part of those that
    PyTorch counts: on a CPU it does not count fused attention."""
    tokenizer = tokenizer_for(pipeline.seed)
    found: dict[str, float] = {}
    for kind, way in itertools.product(KINDS, ("float32", "bfloat16", "LoRA")):

        def build(kind: str = kind, way: str = way) -> PreTrainedModel:
            model = untrained(kind, tokenizer, seed=pipeline.seed).train()
            return _with_lora(model.requires_grad_(True)) if way == "LoRA" else model.requires_grad_(True)

        said = counted(build, sequences=3, tokens=40, bfloat16=way == "bfloat16")
        model, tokens = build(), torch.zeros(3, 40, dtype=torch.int64)
        mask = torch.ones_like(tokens)
        mask[0, 20:] = 0  # a row that is padded: attention keeps its mask
        with (
            Holding(model) as held,
            torch.autocast("cpu", dtype=torch.bfloat16, enabled=way == "bfloat16"),
        ):
            model.base_model(input_ids=tokens, attention_mask=mask, use_cache=False)
        found[f"apart {kind} {way}"] = float(said.activations - held.total)
        found[f"held {kind} {way}"] = float(held.total)
        if kind == "Llama" and way == "float32":
            formula = 3 * 40 * training_flops(Shape.of(model.config), keys=0)
            found["operations"] = formula / said.training_flops
    return found


def lora(pipeline: Pipeline) -> dict[str, float]:
    """What stays in memory after a step with LoRA of rank 4, as a share of what stays with all weights trained, and the same
    of activations: measured on a small Qwen2. `7B`: the share that the formula gives at 7B in mixed precision."""
    model, batch = story_batch(pipeline.seed, rows=8)
    full = _stepped(model.requires_grad_(True), batch)
    small = _stepped(_with_lora(untrained("Qwen2", tokenizer_for(pipeline.seed), seed=pipeline.seed)), batch)
    formula = [sizes.memory("7B", way).kept for way in ("LoRA", "full")]
    return {
        "kept": small["kept"] / full["kept"],
        "activations": small["activations"] / full["activations"],
        "trained": small["trained"] / full["trained"],
        "7B": formula[0] / formula[1],
    }


def _with_lora(model: PreTrainedModel) -> PreTrainedModel:
    add_lora(model, rank=4, alpha=8, generator=torch.Generator().manual_seed(0))
    return model


def _stepped(model: PreTrainedModel, batch: Sequences) -> dict[str, float]:
    """Bytes after one step of AdamW: of weights, gradients and moments, and of activations before it."""
    learning = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-3)
    activations = kept_bytes(model, batch)
    gradient(model, batch, token_mean)
    optimizer.step()
    moments = [state[name] for state in optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]
    tensors: list[Tensor] = [*model.parameters(), *(p.grad for p in learning if p.grad is not None), *moments]
    return {
        "kept": float(sum(tensor.nbytes for tensor in tensors)),
        "activations": float(activations),
        "trained": float(sum(p.numel() for p in learning)),
    }


def rounding(pipeline: Pipeline) -> dict[str, float]:
    """The share of weights that one step of AdamW at a rate of 1e-7 moves, by their number type."""
    found: dict[str, float] = {}
    for name, dtype in {"float32": torch.float32, "bfloat16": torch.bfloat16}.items():
        model, batch = story_batch(pipeline.seed, rows=8)
        model = model.to(dtype)
        before = _numbers(model)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-7, weight_decay=0.0)
        model(batch.tokens, attention_mask=batch.mask.long()).logits.float().logsumexp(-1).mean().backward()
        optimizer.step()
        learns = torch.cat([p.grad.flatten() != 0 for p in model.parameters() if p.grad is not None])
        found[name] = float((_numbers(model) != before)[learns].double().mean())
    return found


def _numbers(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten().clone() for p in model.parameters()])


# ------------------------------------------------------------------------------------------------------- data


def bounded(pipeline: Pipeline) -> dict[str, float]:
    """The most memory that Python's objects took, in MB, while a file of so many `rows` was read: `loaded` whole, and
    `streamed` through a buffer of 64 rows in batches of 16; `same` is 1 if both gave the same rows."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            {"text": f"{number}. " + row["question"] * 20}
            for number, row in enumerate(sum_rows(6000, seed=pipeline.seed))
        ]
        file = write_lines(Path(folder) / "rows.jsonl", rows)
        found: dict[str, float] = {"rows": float(len(rows)), "file": file.stat().st_size / 1e6}
        del rows
        peaks, seen = {}, {}
        for name, read in {"loaded": _whole, "streamed": _in_a_stream}.items():
            gc.collect()
            tracemalloc.start()
            seen[name] = read(file, pipeline.seed)
            peaks[name] = tracemalloc.get_traced_memory()[1] / 1e6
            tracemalloc.stop()
    return found | peaks | {"same": float(seen["loaded"] == seen["streamed"])}


def _whole(file: Path, seed: int) -> int:
    texts = load_text(file)
    return sum(map(len, texts))


def _in_a_stream(file: Path, seed: int) -> int:
    generator = torch.Generator().manual_seed(seed)
    rows = batched(shuffled(stream_text(file), buffer=64, generator=generator), size=1)
    return sum(len(text) for batch in rows for text in batch)
