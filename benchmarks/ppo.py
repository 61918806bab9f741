"""One PPO iteration, ours and TRL 1.12's, at equal work.

Both: 64 prompts of 16 tokens, 48 drawn tokens each without a stop, policy, value, reward and reference models
of the same size, one minibatch of 64, float32. Ours runs in this process and TRL in its own, in turns.
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import torch

from benchmarks import trl_ppo
from benchmarks.measure import Record, record
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.ppo import PPOConfig, ppo
from rlhf_mini.models import new_value_model, sequence_scores


def ppo_iteration(trl: Path, *, turns: int = 3, iterations: int = 6) -> list[Record]:
    """Records of the median iteration with one epoch and with four; each turn's first is discarded."""
    rows = []
    for epochs in (1, 4):
        seconds: dict[str, list[float]] = {"trl 1.12.0": [], "rlhf_mini": []}
        for _ in range(turns):
            seconds["trl 1.12.0"] += theirs(trl, iterations=iterations, epochs=epochs)[1:]
            seconds["rlhf_mini"] += ours(iterations=iterations, epochs=epochs)[1:]
        median = {name: statistics.median(values) for name, values in seconds.items()}
        name = f"PPO iteration 64×48, {epochs} epoch{'s' * (epochs > 1)}"
        for method, value in median.items():
            rows.append(record(name, method, value, times_trl=median["trl 1.12.0"] / value))
    return rows


def theirs(trl: Path, *, iterations: int, epochs: int) -> list[float]:
    """Seconds of each of TRL's iterations."""
    command = [sys.executable, "-m", "benchmarks.trl_ppo", "--trl", str(trl.resolve())]
    command += ["--iterations", str(iterations), "--epochs", str(epochs)]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"TRL's PPO did not run:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])["seconds"]


def ours(*, iterations: int, epochs: int) -> list[float]:
    """Seconds of each of our iterations."""
    policy, reference, reward, _ = trl_ppo.models()
    config = PPOConfig(
        iterations=iterations,
        episodes=trl_ppo.EPISODES,
        minibatch=trl_ppo.EPISODES,
        epochs=epochs,
        max_new_tokens=trl_ppo.RESPONSE,
        kl_weight=0.05,
        optimizer=OptimizerConfig(learning_rate=3e-6),
    )
    # An end token outside the vocabulary is never drawn: all responses have full length, as TRL's have.
    tokenizer = SimpleNamespace(eos_token_id=trl_ppo.VOCABULARY, pad_token_id=0)
    log = ppo(
        policy,
        new_value_model(reward),
        reference,
        lambda batch: sequence_scores(reward, batch.tokens, batch.mask),
        tokenizer,  # type: ignore[arg-type]
        trl_ppo.prompts(trl_ppo.EPISODES),
        config=config,
        generator=torch.Generator().manual_seed(0),
    )
    return [entry["seconds"] for entry in log]
