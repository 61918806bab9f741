"""What the comparison with TRL costs is measured in processes of their own, and memory means what is said."""

import subprocess
import sys
from pathlib import Path

import pytest

from rlhf_mini.chapters.real import beside_costs, beside_data
from rlhf_mini.chapters.real.beside_costs import Work
from rlhf_mini.chapters.real.beside_grpo import GroupShared
from rlhf_mini.chapters.real.beside_trl import Shared
from rlhf_mini.data.tokenizer import train_tokenizer
from rlhf_mini.models import new_llama

needs_linux = pytest.mark.skipif(not beside_costs.STATUS.exists(), reason="Linux keeps this account")
NOWHERE = beside_data.Start(policy=Path("policy"), reward_model=Path("reward"))


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    texts = [row["completion"] for row in beside_data.demonstration_rows(16, seed=0)]
    tokenizer = train_tokenizer(texts, vocab_size=300)
    tokens = {name: getattr(tokenizer, f"{name}_id") for name in ("pad_token", "bos_token", "eos_token")}
    policy = new_llama(vocab_size=len(tokenizer), width=16, layers=1, heads=2, context=400, seed=0, **tokens)
    return beside_data.save_start(policy, tokenizer, tmp_path_factory.mktemp("start"), seed=1)


@needs_linux
@pytest.mark.slow  # a process imports torch and transformers
def test_the_cost_of_a_training_in_a_process_of_its_own(start):
    work = Work(method="sft", side="ours", start=start, rows=16, shared=Shared(batch=8))
    found = beside_costs.cost(work)
    assert found.imported > 50  # torch alone
    assert 0 < found.peak < 1000
    assert min(found.seconds, found.setup) > 0


TOUCHED = """
import torch
from rlhf_mini.chapters.real.beside_costs import megabytes
before = megabytes("VmRSS")
torch.ones(25_000_000)  # float32, freed at once
print(before, megabytes("VmHWM"))
"""


@needs_linux
def test_what_is_held_at_most_counts_what_is_touched():
    """A hundred megabytes that are written to are seen.

    In a process of its own, as it is measured: one that has had more before would hide them.
    """
    done = subprocess.run([sys.executable, "-c", TOUCHED], capture_output=True, text=True, check=True)
    before, most = map(float, done.stdout.split())
    assert before + 95 <= most <= before + 150


@needs_linux
@pytest.mark.slow
def test_a_process_that_dies_is_noticed(tmp_path):
    lost = beside_data.Start(policy=tmp_path / "nothing", reward_model=tmp_path / "nothing")
    work = Work(method="sft", side="ours", start=lost, rows=16, shared=Shared())
    with pytest.raises(RuntimeError, match="the process of sft, ours, ended without an answer"):
        beside_costs.cost(work)


def test_without_the_account_nothing_is_claimed(monkeypatch, tmp_path):
    monkeypatch.setattr(beside_costs, "STATUS", tmp_path / "none")
    work = Work(method="sft", side="ours", start=NOWHERE, rows=16, shared=Shared())
    with pytest.raises(ValueError, match="Linux's account"):
        beside_costs.cost(work)


@pytest.mark.parametrize(
    ("method", "side", "shared", "message"),
    [
        ("ppo", "ours", Shared(), "method must be one of sft"),
        ("sft", "theirs", Shared(), "side one of ours, TRL"),
        ("sft", "ours", GroupShared(), "sft cannot be told GroupShared"),
        ("grpo", "TRL", Shared(), "grpo cannot be told Shared"),
    ],
)
def test_works_that_mean_nothing_are_refused(method, side, shared, message):
    with pytest.raises(ValueError, match=message):
        Work(method=method, side=side, start=NOWHERE, rows=8, shared=shared)


def test_rows_of_the_story_world_are_as_their_methods_need_them():
    for method, make in beside_data.ROWS.items():
        rows = make(6, seed=0)
        assert len(rows) == (12 if method == "kto" else 6)
        assert rows == make(6, seed=0) != make(6, seed=1)
    pair, (good, bad) = beside_data.preference_rows(1, seed=0)[0], beside_data.verdict_rows(1, seed=0)
    assert (good["completion"], good["label"]) == (pair["chosen"], True)
    assert (bad["completion"], bad["label"]) == (pair["rejected"], False)
    assert len(set(beside_data.request_texts(20, seed=0))) == 20


def test_gold_is_the_reward():
    prompt = beside_data.request_texts(1, seed=0)[0]
    good = beside_data.demonstration_rows(40, seed=0)
    told = [beside_data.story_reward(row["prompt"], row["completion"]) for row in good]
    assert max(told) > beside_data.story_reward(prompt, "no story at all")


def test_other_programs_are_seen(monkeypatch, tmp_path):
    """Two processors, of which one was at work for half of the time between two looks."""
    accounts = [
        "cpu  100 0 0 300 0 0 0 0 0 0\ncpu0 1\ncpu1 1\nintr 5\n",
        "cpu  150 0 0 400 50 0 0 0 0 0\ncpu0 1\ncpu1 1\n",
    ]
    kept = tmp_path / "stat"
    kept.write_text(accounts[0], "ascii")
    monkeypatch.setattr(beside_costs, "PROCESSORS", kept)
    monkeypatch.setattr(beside_costs.time, "sleep", lambda seconds: kept.write_text(accounts[1], "ascii"))
    assert beside_costs.processors_in_use() == pytest.approx(2 * 50 / 200)
    monkeypatch.setattr(beside_costs, "PROCESSORS", tmp_path / "none")
    with pytest.raises(ValueError, match="Linux's account"):
        beside_costs.processors_in_use()
