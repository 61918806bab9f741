"""What `make bench` measures; run from a clone as `python -m benchmarks.bench [--trl FOLDER]`.

Every ratio compares medians of the same rounds of one run. The rate of the machine is that of PyTorch's own
product of two large matrices, because it is what a PyTorch program can expect; the rate of oneDNN, which the
lean forward calls, stands beside it, and on some processors is far higher.
"""

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

import torch
from tqdm import tqdm
from transformers import GenerationConfig

from benchmarks import workload
from benchmarks.measure import Record, interleaved, medians, peak_memory, record
from benchmarks.reward_model import reward_model_step
from rlhf_mini.devices import describe
from rlhf_mini.evaluation.records import Record as BookRecord
from rlhf_mini.evaluation.records import write_records
from rlhf_mini.models import sample
from rlhf_mini.models.linear import linear

SIZE = 2048
NEW_TOKENS = 96


def run_all(*, trl: Path | None = None) -> int:
    """Measure everything, print it, and keep the records in `book/results/bench.json`."""
    print(
        f"{describe(torch.device('cpu'))}, {torch.get_num_threads()} threads; medians of interleaved rounds"
    )
    experiments = [training_step, reward_model_step, sampling, memory]
    if find_spec("trl") is not None:
        from benchmarks.dpo import dpo_step
        from benchmarks.grpo import grpo_step

        experiments += [dpo_step, grpo_step]
    if trl is not None:
        from benchmarks.ppo import ppo_iteration

        experiments.append(lambda: ppo_iteration(trl))
    rows: list[Record] = []
    for experiment in tqdm(experiments, desc="benchmarks", file=sys.stderr):
        rows += experiment()
    print_table(rows)
    path = write_records("bench", [BookRecord(**row) for row in rows])
    print(f"records in {path}")
    return 0


def training_step(*, rounds: int = 21) -> list[Record]:
    """Forward, backward and AdamW: `transformers` and the lean forward, beside the rate of the machine."""
    rows = []
    for name, batch in (("full blocks", workload.full_batch()), ("mixed lengths", workload.mixed_batch())):
        base = workload.model()
        theirs, ours = workload.Trainer(base, batch), workload.Trainer(base, batch)
        first = theirs.transformers(), ours.lean()
        assert abs(first[0] - first[1]) < 1e-4, f"the two losses differ: {first}"
        square = torch.randn(SIZE, SIZE)
        contestants = {
            "torch.mm": lambda square=square: square @ square,
            "oneDNN": lambda square=square: linear(square, square),
            "transformers": theirs.transformers,
            "rlhf_mini": ours.lean,
        }
        seconds = medians(interleaved(contestants, rounds=rounds))
        rows += _training_rows(f"training step, {name}", seconds, workload.training_flops(base, batch[1]))
    return rows


def _training_rows(experiment: str, seconds: dict[str, float], flops: float) -> list[Record]:
    rates = {name: 2 * SIZE**3 / seconds[name] for name in ("torch.mm", "oneDNN")}
    rows = [
        record(experiment, f"{name}, {SIZE}²", seconds[name], gflops=rate / 1e9)
        for name, rate in rates.items()
    ]
    for name in ("transformers", "rlhf_mini"):
        achieved = flops / seconds[name]
        metrics = {
            "gflops": achieved / 1e9,
            "fraction_of_torch_mm": achieved / rates["torch.mm"],
            "fraction_of_onednn": achieved / rates["oneDNN"],
            "times_transformers": seconds["transformers"] / seconds[name],
        }
        rows.append(record(experiment, name, seconds[name], **metrics))
    return rows


def sampling(*, rounds: int = 7) -> list[Record]:
    """The sampler against `generate`: without stop tokens, and with ends at different times.

    A fresh model draws all tokens about equally often, so 20 stop tokens of 1,024 end a response after about
    43 tokens in the mean, and one in seven reaches the limit of 96.
    """
    rows = []
    for name, count, stops in (
        ("all of 96 tokens, batch 64", 64, 0),
        ("mixed ends, batch 64", 64, 20),
        ("mixed ends, batch 256", 256, 20),
    ):
        model, prompts = workload.model().eval(), workload.prompts(count)
        stop_tokens = list(range(3, 3 + stops))
        contestants = {
            "generate": lambda m=model, p=prompts, s=stop_tokens: generate(m, p, s),
            "rlhf_mini": lambda m=model, p=prompts, s=stop_tokens: ours(m, p, s),
        }
        seconds = medians(interleaved(contestants, rounds=rounds, warm_up=2))
        for method in contestants:
            metrics = {"times_generate": seconds["generate"] / seconds[method]}
            rows.append(record(f"sampling, {name}", method, seconds[method], **metrics))
    return rows


def generate(model, prompts, stop_tokens) -> torch.Tensor:  # type: ignore[no-untyped-def]
    """`transformers`' own sampling, prompts padded on the left as it wants them."""
    longest = max(map(len, prompts))
    padded = [[workload.PAD] * (longest - len(prompt)) + prompt for prompt in prompts]
    mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    config = GenerationConfig(
        do_sample=True,
        top_k=0,
        max_new_tokens=NEW_TOKENS,
        eos_token_id=stop_tokens or None,
        pad_token_id=workload.PAD,
    )
    return model.generate(
        input_ids=torch.tensor(padded), attention_mask=torch.tensor(mask), generation_config=config
    )


def ours(model, prompts, stop_tokens):  # type: ignore[no-untyped-def]
    """The same draws with the library's sampler, which also returns log-probabilities."""
    return sample(model, prompts, max_new_tokens=NEW_TOKENS, stop_tokens=stop_tokens, pad_token=workload.PAD)


def memory() -> list[Record]:
    """The most memory that three training steps or one round of sampling need, in a fresh process each."""
    runs = {
        ("training step", "transformers"): _train_transformers,
        ("training step", "rlhf_mini"): _train_lean,
        ("sampling", "generate"): _sample_generate,
        ("sampling", "rlhf_mini"): _sample_ours,
    }
    return [
        record(f"peak memory, {work}", method, 0.0, megabytes=peak_memory(run))
        for (work, method), run in runs.items()
    ]


def _train_transformers() -> None:
    trainer = workload.Trainer(workload.model(), workload.mixed_batch())
    for _ in range(3):
        trainer.transformers()


def _train_lean() -> None:
    trainer = workload.Trainer(workload.model(), workload.mixed_batch())
    for _ in range(3):
        trainer.lean()


def _sample_generate() -> None:
    generate(workload.model().eval(), workload.prompts(256), [])


def _sample_ours() -> None:
    ours(workload.model().eval(), workload.prompts(256), [])


def print_table(rows: list[Record]) -> None:
    """One line a record."""
    for row in rows:
        metrics = "  ".join(f"{name} {value:.3g}" for name, value in row["metrics"].items())  # type: ignore[attr-defined]
        print(f"{row['experiment']:34} {row['method']:18} {row['seconds']:8.4f} s  {metrics}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trl", type=Path, help="a folder with trl==1.12.0")
    sys.exit(run_all(trl=parser.parse_args().trl))
