"""The ladder of chapter 15: what to test, from the exact to the real, when a training on a real model goes wrong.

Every rung here runs in seconds, on a model of some ten thousand numbers: the same functions take any other.
Two more compare with TRL, where it is installed.
"""

import importlib.util
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaForCausalLM,
    PreTrainedTokenizerBase,
)

from rlhf_mini.batch import Sequences
from rlhf_mini.chapters.real import beside_trl
from rlhf_mini.chapters.real.beside_data import (
    Start,
    demonstration_rows,
    preference_rows,
    save_start,
)
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.data.tokenizer import train_tokenizer
from rlhf_mini.evaluation.training_cost import FLOAT32, MicroBatch, full_memory
from rlhf_mini.losses import next_token_loss
from rlhf_mini.models import copy_of, new_llama, new_reward_model, response_logp
from rlhf_mini.models.footprint import Shape
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import Rung
from rlhf_mini.split import by_rows, rows_at_once
from rlhf_mini.tensors import masked_mean

Seen = tuple[bool, str]
ROWS = 16
SETTINGS = beside_trl.Shared(batch=8, epochs=1)


@dataclass(frozen=True)
class SmallModel:
    """A tokenizer of stories and a Llama that has learned nothing, by one seed."""

    seed: int

    @cached_property
    def rows(self) -> list[dict[str, str]]:
        """Demonstrations."""
        return demonstration_rows(ROWS, seed=self.seed)

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Trained on what they say."""
        return train_tokenizer([row["completion"] for row in self.rows], vocab_size=300)

    @cached_property
    def policy(self) -> LlamaForCausalLM:
        """Take copies of it."""
        words = self.tokenizer
        return new_llama(
            vocab_size=len(words), width=16, layers=2, heads=2, context=400, pad_token=words.pad_token_id,
            eos_token=words.eos_token_id, bos_token=words.bos_token_id, seed=self.seed,
        ).eval()  # fmt: skip

    @cached_property
    def batch(self) -> Sequences:
        """All rows as one batch."""
        return pack_texts(
            self.tokenizer, [r["prompt"] for r in self.rows], [r["completion"] for r in self.rows]
        )


def footprint(small: SmallModel) -> Seen:
    """Parameters, gradients and AdamW's moments as the formula has them, to the byte."""
    model = copy_of(small.policy)
    optimizer = torch.optim.AdamW(model.parameters())
    model(small.batch.tokens[:2]).logits.sum().backward()
    optimizer.step()
    kept = full_memory(Shape.of(model.config), MicroBatch(sequences=1, tokens=1), precision=FLOAT32)
    moments = [state[name] for state in optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]
    measured = (
        _bytes(model.parameters()),
        _bytes(p.grad for p in model.parameters() if p.grad is not None),
        _bytes(moments),
    )
    said = (kept.weights, kept.gradients, kept.optimizer)
    return measured == said, f"{_listed(said)} bytes by the formula, {_listed(measured)} measured"


def reloaded(small: SmallModel) -> Seen:
    """What is saved comes back bit by bit: the weights, the tokenizer, the template."""
    with tempfile.TemporaryDirectory() as folder:
        start = save_start(small.policy, small.tokenizer, Path(folder), seed=0)
        again = AutoModelForCausalLM.from_pretrained(start.policy).eval()
        words = AutoTokenizer.from_pretrained(start.policy)
    with torch.no_grad():
        logits = [model(small.batch.tokens).logits for model in (small.policy, again)]
    moved = float((logits[0] - logits[1]).abs().max())
    same_words = words.get_vocab() == small.tokenizer.get_vocab()
    held = moved == 0 and same_words and words.chat_template == small.tokenizer.chat_template
    return held, f"logits moved by {moved:.0e}; {len(words):,} tokens"


def templated(small: SmallModel) -> Seen:
    """What the chat template makes of messages are the tokens that our methods train on."""
    unlike = 0
    for row, tokens, mask in zip(small.rows, small.batch.tokens, small.batch.mask, strict=True):
        messages = [
            {"role": "user", "content": row["prompt"]},
            {"role": "assistant", "content": row["completion"]},
        ]
        theirs = small.tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
        unlike += list(theirs) != tokens[mask].tolist()
    ends = bool((_last(small.batch) == small.tokenizer.eos_token_id).all())
    return unlike == 0 and ends, f"{unlike} of {len(small.rows)} rows differ; " + (
        "each ends with the end token" if ends else "not each ends with the end token"
    )


def divided(small: SmallModel) -> Seen:
    """The gradient of a batch read three rows at a time is that of the batch read at once."""
    batch = small.batch

    def gradient(at_once: int | None) -> Tensor:
        model = copy_of(small.policy).requires_grad_(True)

        def logps(tokens: Tensor, mask: Tensor, response: Tensor) -> Tensor:
            return response_logp(model, tokens, mask, response)

        with rows_at_once(at_once):
            logp = by_rows(logps, batch.tokens, batch.mask, batch.response)
        masked_mean(next_token_loss(logp), batch.response).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    whole, parts = gradient(None), gradient(3)
    apart = float((whole - parts).norm() / whole.norm())
    return apart < 1e-5, f"apart by {apart:.0e} of its length, which is {float(whole.norm()):.2f}"


def scored_at_the_end(small: SmallModel) -> Seen:
    """A score does not change with the padding beside it, and does if the text does not end."""
    model = new_reward_model(small.policy, seed=small.seed).eval()
    batch, words = small.batch, small.tokenizer
    with torch.no_grad():
        together = model(batch.tokens, attention_mask=batch.mask.long()).logits[:, 0]
        rows = [tokens[mask][None] for tokens, mask in zip(batch.tokens, batch.mask, strict=True)]
        alone = torch.stack([model(row).logits[0, 0] for row in rows])
        cut = torch.stack([model(row[:, :-1]).logits[0, 0] for row in rows])
    padded, ended = float((together - alone).abs().max()), float((together - cut).abs().min())
    held = padded < 1e-4 and ended > 1e-3 and words.pad_token_id != words.eos_token_id
    return held, f"padding moves scores by {padded:.0e}, the end token by at least {ended:.2f}"


# ------------------------------------------------------------------------------------------------- beside TRL


def first_step(small: SmallModel) -> Seen:
    """One step of DPO here and in TRL: one loss, one gradient norm, one end."""
    found = _with_start(small, lambda start: beside_trl.dpo_beside_trl(
        start.policy, preference_rows(8, seed=small.seed), shared=SETTINGS
    ))  # fmt: skip
    held = found.loss_apart < 1e-5 and found.norm_apart < 1e-4 and found.weights_apart < 1e-2
    return held, _told(found)


def one_curve(small: SmallModel) -> Seen:
    """Eight steps of SFT here and in TRL: the same losses, and weights that end in one place."""
    shared = beside_trl.Shared(batch=8, epochs=4, optimizer=SETTINGS.optimizer)
    found = _with_start(
        small, lambda start: beside_trl.sft_beside_trl(start.policy, small.rows, shared=shared)
    )
    fell = found.ours.loss[0] - found.ours.loss[-1]
    held = found.loss_apart < 1e-5 and found.weights_apart < 1e-3 and fell > 0
    return held, f"{_told(found)}; the loss falls by {fell:.2f}"


def _with_start(small: SmallModel, run: Callable[[Start], beside_trl.Beside]) -> beside_trl.Beside:
    with tempfile.TemporaryDirectory() as folder:
        return run(save_start(small.policy, small.tokenizer, Path(folder), seed=0))


def _told(found: beside_trl.Beside) -> str:
    return f"losses {found.loss_apart:.0e} apart, ends {found.weights_apart:.0e} of the way"


def _bytes(tensors: object) -> int:
    return sum(tensor.nbytes for tensor in tensors)  # type: ignore[attr-defined]


def _listed(numbers: tuple[int, ...]) -> str:
    return " + ".join(f"{number:,}" for number in numbers)


def _last(batch: Sequences) -> Tensor:
    return batch.tokens.gather(1, batch.lengths[:, None] - 1)[:, 0]


def rungs(pipeline: Pipeline, *, trl: bool | None = None) -> list[Rung]:
    """The five rungs that run anywhere, and two beside TRL; `trl` says whether, None looks if it is there."""
    small = SmallModel(pipeline.seed)
    climbed = [
        Rung("footprint", "the formula's bytes are those of a model that was built", lambda: footprint(small)),
        Rung("saved and loaded", "logits, tokens and template come back bit by bit", lambda: reloaded(small)),
        Rung("template", "messages become the tokens that are trained on, with an end", lambda: templated(small)),
        Rung("score's place", "padding does not move a score, the end token does", lambda: scored_at_the_end(small)),
        Rung("divided batch", "the gradient of parts is that of the whole", lambda: divided(small)),
    ]  # fmt: skip
    if importlib.util.find_spec("trl") is not None if trl is None else trl:
        climbed += [
            Rung("TRL's first step", "DPO's first loss and gradient are TRL's", lambda: first_step(small)),
            Rung("one curve", "eight steps of SFT are TRL's, and end in one place", lambda: one_curve(small)),
        ]
    return climbed
