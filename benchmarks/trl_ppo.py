"""TRL 1.12's PPO on the benchmark's workload: prints the seconds of every iteration as JSON.

    pip install --no-deps --target FOLDER trl==1.12.0
    python -m benchmarks.trl_ppo --trl FOLDER --iterations 6 --epochs 1

1.12.0 is the last release of TRL that has a PPO trainer. It runs in a process of its own, so that another
release may be installed beside it.
"""

import argparse
import itertools
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

EPISODES, PROMPT, RESPONSE, VOCABULARY = 64, 16, 48, 512


def models(seed: int = 0) -> tuple[Any, Any, Any, Any]:
    """Policy, reference, reward and value model: 4 layers of width 128 each."""
    from rlhf_mini.models import copy_of, freeze, new_llama, new_reward_model

    policy = new_llama(
        vocab_size=VOCABULARY,
        width=128,
        layers=4,
        heads=4,
        context=PROMPT + RESPONSE,
        pad_token=0,
        bos_token=1,
        eos_token=2,
        seed=seed,
    )
    reward = new_reward_model(policy, seed=seed)
    return policy, freeze(copy_of(policy)), freeze(reward), copy_of(reward)


def prompts(count: int) -> list[list[int]]:
    import torch

    generator = torch.Generator().manual_seed(0)
    return torch.randint(3, VOCABULARY, (count, PROMPT), generator=generator).tolist()


def seconds_of_iterations(*, iterations: int, epochs: int) -> list[float]:
    """Train, and measure from one iteration's end to the next one's."""
    from datasets import Dataset
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast, TrainerCallback
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    words = {f"w{i}": i for i in range(VOCABULARY)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(words, unk_token="w3")), pad_token="w0", eos_token="w2"
    )
    ends = [time.perf_counter()]

    class Clock(TrainerCallback):
        def on_step_end(self, *args: object, **kwargs: object) -> None:
            ends.append(time.perf_counter())

    policy, reference, reward, value = models()
    dataset = Dataset.from_dict({"input_ids": prompts(EPISODES)})
    with tempfile.TemporaryDirectory() as folder:
        config = PPOConfig(
            output_dir=folder,
            use_cpu=True,
            bf16=False,
            report_to="none",
            save_strategy="no",
            gradient_checkpointing=False,
            per_device_train_batch_size=EPISODES,
            gradient_accumulation_steps=1,
            num_mini_batches=1,
            local_rollout_forward_batch_size=EPISODES,
            num_sample_generations=0,
            total_episodes=EPISODES * iterations,
            response_length=RESPONSE,
            stop_token=None,
            num_ppo_epochs=epochs,
        )
        trainer = PPOTrainer(
            args=config,
            processing_class=tokenizer,
            model=policy,
            ref_model=reference,
            reward_model=reward,
            value_model=value,
            train_dataset=dataset,
            eval_dataset=dataset,
            callbacks=[Clock()],
        )
        ends[0] = time.perf_counter()
        trainer.train()
    return [end - start for start, end in itertools.pairwise(ends)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trl", type=Path, required=True, help="the folder that holds trl==1.12.0")
    parser.add_argument("--iterations", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=1)
    options = parser.parse_args()
    if not (options.trl / "trl").is_dir():
        raise SystemExit(
            f"{options.trl} holds no trl: pip install --no-deps --target {options.trl} trl==1.12.0"
        )
    sys.path.insert(0, str(options.trl))
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    seconds = seconds_of_iterations(iterations=options.iterations, epochs=options.epochs)
    print(json.dumps({"seconds": seconds}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
