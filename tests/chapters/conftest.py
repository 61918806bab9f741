"""Small numbers for the rooms' experiments, so that they run on the miniature pipeline."""

import pytest


@pytest.fixture
def few(monkeypatch):
    """Small numbers for chapter 06 on the miniature pipeline."""
    from rlhf_mini.chapters.llama2 import attention, best_of_k, combining, margins, rounds, sides, wear

    monkeypatch.setattr(sides, "SAFETY_PAIRS", {"train": 16, "test": 8})
    monkeypatch.setattr(sides, "REFERENCE_ANSWERS", 8)
    monkeypatch.setattr(combining, "PROMPTS", 3)
    monkeypatch.setattr(rounds, "PROMPTS", 16)
    monkeypatch.setattr(rounds, "PAIRS", {"helpfulness": 16, "safety": 8})
    monkeypatch.setattr(rounds, "START", {"helpfulness": 16, "safety": 8})
    monkeypatch.setattr(rounds, "ROUNDS", 2)
    monkeypatch.setattr(rounds, "REFERENCE_ANSWERS", 4)
    monkeypatch.setattr(rounds, "UNKIND_LOOKS", 8)
    monkeypatch.setattr(wear, "REQUESTS", 24)
    monkeypatch.setattr(best_of_k, "PROMPTS", 3)
    monkeypatch.setattr(best_of_k, "SIZES", (1, 2, 4, 8))
    monkeypatch.setattr(best_of_k, "TEMPERATURES", (0.7, 1.0))
    monkeypatch.setattr(margins, "RUNS", 2)
    monkeypatch.setattr(attention, "DIALOGUES", 32)
    monkeypatch.setattr(attention, "CONTEXT", 512)
    monkeypatch.setattr(attention, "LONGEST_ANSWER", 24)
    monkeypatch.setattr(attention, "TESTED_DIALOGUES", 4)
    monkeypatch.setattr(attention, "TESTED_TURNS", 3)
