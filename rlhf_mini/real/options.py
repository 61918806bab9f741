"""The options of `rlhf-mini train`. They load nothing: `--help` and a misspelt option answer at once."""

import argparse
from pathlib import Path

METHODS = ("pretrain", "sft", "reward", "dpo", "kto", "orpo", "ppo", "grpo")
EXPLAINED = """\
method      what --data holds (.jsonl, .jsonl.gz, .parquet, a saved folder, or a hub name)
pretrain    text: a .txt file, or a column text
sft         prompt and completion, or instruction (input) output, or messages
reward      chosen and rejected, with a prompt or beginning with it
dpo, orpo   the same
kto         prompt, completion and label (true or false)
ppo         prompts: lines of a .txt file, or a column prompt; with --reward-model
grpo        question and answer, the number after ####, as in GSM8K
"""


def add_train(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the parser of `train` to those of the other commands, and return it."""
    train = commands.add_parser(
        "train",
        help="train a model of your own, or one of the hub, on your own data",
        description="Train a causal language model of transformers by one of the book's methods.",
        epilog=EXPLAINED,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    train.add_argument("method", metavar="METHOD", help=", ".join(METHODS))
    train.add_argument("--base-model", required=True, metavar="NAME_OR_DIR", help="the model to begin with")
    train.add_argument("--data", required=True, metavar="FILE_OR_NAME", help="see below")
    train.add_argument("--split", default="train", help="of a hub data set (default: train)")
    train.add_argument("--config", help="of a hub data set, such as main of GSM8K")
    train.add_argument("--out", type=Path, metavar="DIR", help="a new folder for the trained model")
    train.add_argument("--reward-model", metavar="NAME_OR_DIR", help="for ppo")
    train.add_argument("--dry-run", action="store_true", help="check everything, tell memory and cost, stop")
    _add_training(train.add_argument_group("training"))
    _add_memory(train.add_argument_group("memory"))
    return train


def _add_training(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--batch", type=int, default=16, metavar="N", help="rows a step (default: 16)")
    group.add_argument("--learning-rate", type=float, metavar="R", help="at its peak (default: by method)")
    group.add_argument("--steps", type=int, metavar="N", help="optimizer steps, instead of --epochs")
    group.add_argument("--epochs", type=int, default=1, metavar="N", help="passes over the rows (default: 1)")
    group.add_argument("--weight", type=float, metavar="W", help="β of dpo, kto, grpo; λ of orpo; KL of ppo")
    group.add_argument("--max-length", type=int, metavar="TOKENS", help="leave longer rows out")
    group.add_argument("--max-new-tokens", type=int, default=128, metavar="TOKENS", help="of drawn answers")
    group.add_argument("--group", type=int, default=8, metavar="G", help="answers a prompt, for grpo")
    group.add_argument("--held-out", type=int, default=64, metavar="N", help="rows for measuring only")
    group.add_argument("--seed", type=int, default=0)


def _add_memory(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--lora", type=int, metavar="RANK", help="train low-rank changes instead of weights")
    group.add_argument("--lora-alpha", type=float, metavar="A", help="(default: twice the rank)")
    group.add_argument("--lora-targets", nargs="+", metavar="LAYER", help="such as q_proj v_proj")
    group.add_argument("--adapters-only", action="store_true", help="save the changes alone, not merged")
    group.add_argument("--bf16", action="store_true", help="compute in bfloat16, weights in float32")
    group.add_argument("--bf16-weights", action="store_true", help="the weights, too: small steps are lost")
    group.add_argument("--rows-at-once", type=int, metavar="K", help="rows in memory; the same gradient")
    group.add_argument(
        "--checkpoint-activations", action="store_true", help="compute layers again instead of keeping them"
    )
