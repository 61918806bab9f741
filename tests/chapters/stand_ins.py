"""What several rooms' tests put in the place of data and of large numbers."""

import torch

from rlhf_mini.chapters.hindsight import arithmetic


def numbers(*shape, seed=0):
    """Standard normal numbers, the same for the same seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def few_sums(monkeypatch):
    """Small numbers for chapter 08's sums: nothing is learned."""
    monkeypatch.setattr(arithmetic, "DEMONSTRATIONS", 60)
    monkeypatch.setattr(arithmetic, "PROBLEMS", 56)
    monkeypatch.setattr(arithmetic, "HELD_OUT", 12)
    monkeypatch.setattr(arithmetic, "EPOCHS", dict.fromkeys(arithmetic.EPOCHS, 1))
    monkeypatch.setattr(arithmetic, "MAX_NEW_TOKENS", 8)
