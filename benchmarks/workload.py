"""The work that is measured: the model and the batches of the chapters' quick profile."""

import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from rlhf_mini.models import new_llama, response_logp
from rlhf_mini.models.build import copy_of

VOCABULARY, WIDTH, LAYERS = 1024, 128, 2
PAD, BEGIN, END = 0, 1, 2


def model() -> LlamaForCausalLM:
    return new_llama(
        vocab_size=VOCABULARY,
        width=WIDTH,
        layers=LAYERS,
        heads=4,
        context=192,
        pad_token=PAD,
        bos_token=BEGIN,
        eos_token=END,
        seed=0,
    )


def texts(lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Random tokens of the given lengths, right-padded, and their mask."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    tokens = torch.randint(3, VOCABULARY, mask.shape, generator=generator)
    return tokens.masked_fill(~mask, PAD), mask


def full_batch() -> tuple[Tensor, Tensor]:
    """Pretraining: 64 blocks of 96 tokens."""
    return texts(torch.full((64,), 96))


def mixed_batch() -> tuple[Tensor, Tensor]:
    """SFT, reward model, PPO: 64 texts of 30 to 110 tokens."""
    lengths = torch.randint(30, 111, (64,), generator=torch.Generator().manual_seed(1))
    return texts(lengths)


def prompts(count: int) -> list[list[int]]:
    """Prompts of 8 to 24 tokens."""
    generator = torch.Generator().manual_seed(2)
    lengths = torch.randint(8, 25, (count,), generator=generator).tolist()
    return [
        [BEGIN, *torch.randint(3, VOCABULARY, (length - 1,), generator=generator).tolist()]
        for length in lengths
    ]


def training_flops(causal_lm: LlamaForCausalLM, mask: Tensor) -> float:
    """Floating-point operations that one training step on the real tokens needs by the model's equations.

    For each matrix weight and token 6: 2 forward, 4 backward (the embedding's look-up costs none; its tied
    matrix counts once, as the projection). For each layer and each pair of a token and one that it
    attends to, itself included, 12·D: 4·D forward (scores and weighted sum), twice that backward.
    """
    weights = sum(parameter.numel() for parameter in causal_lm.parameters() if parameter.ndim == 2)
    lengths = mask.sum(dim=1).double()
    pairs = float((lengths * (lengths + 1)).sum()) / 2
    return 6 * weights * float(lengths.sum()) + 12 * LAYERS * WIDTH * pairs


class Trainer:
    """Forward, backward and AdamW on one batch again and again; the two ways to compute the loss."""

    def __init__(self, causal_lm: LlamaForCausalLM, batch: tuple[Tensor, Tensor]):
        self.model = copy_of(causal_lm)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)
        self.tokens, self.mask = batch
        self.labels = self.tokens.masked_fill(~self.mask, -100)

    def transformers(self) -> float:
        loss = self.model(
            input_ids=self.tokens, attention_mask=self.mask.long(), labels=self.labels, use_cache=False
        ).loss
        return step(self.optimizer, loss)

    def lean(self) -> float:
        logp = response_logp(self.model, self.tokens, self.mask, self.mask)
        return step(self.optimizer, -logp.sum() / self.mask[:, 1:].sum())


def step(optimizer: torch.optim.Optimizer, loss: Tensor) -> float:
    """Backward and one update; returns the loss."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return float(loss.detach())
