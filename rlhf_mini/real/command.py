"""`rlhf-mini train METHOD`: its options, and what they are turned into."""

import argparse

import torch

from rlhf_mini.progress import hide_foreign_bars
from rlhf_mini.real.ready import check_asked, empty_folder
from rlhf_mini.real.rows import read_data
from rlhf_mini.real.settings import LoRA, Settings
from rlhf_mini.real.training import plan, train
from rlhf_mini.split import main_process, process_group


def run(options: argparse.Namespace) -> int:
    """Plan or train as the options say; returns the exit status. Errors are those of `training.train`."""
    hide_foreign_bars()
    settings = settings_of(options)
    method = check_asked(options.method, settings, options.reward_model)
    with process_group():
        if not options.dry_run:
            empty_folder(options.out)  # before a long data set is read
        data = read_data(method, options.data, split=options.split, config=options.config)
        if options.dry_run:
            told = plan(
                options.method, options.base_model, data, settings=settings, reward_model=options.reward_model
            )
            if main_process():
                print("\n".join([method.title, *told.lines()]))
            return 0
        try:
            trained = train(
                options.method,
                options.base_model,
                data,
                options.out,
                settings=settings,
                reward_model=options.reward_model,
                tell=_say,
            )
        except torch.OutOfMemoryError as error:
            raise ValueError(
                "the GPU's memory is too small: try --rows-at-once 1, --checkpoint-activations, --lora 16 "
                f"or --max-length ({str(error).splitlines()[0]})"
            ) from error
        if main_process():
            _say(f"the model, its card, log.jsonl and results.json are in {trained.folder}")
    return 0


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings that the options state; ValueError for those that do not go together."""
    if not options.dry_run and options.out is None:
        raise ValueError("--out is missing: the folder that the trained model is to be saved in")
    lora_only = {"--lora-alpha": options.lora_alpha, "--lora-targets": options.lora_targets}
    lora_only["--adapters-only"] = options.adapters_only or None
    if options.lora is None and (given := [name for name, value in lora_only.items() if value is not None]):
        raise ValueError(f"{', '.join(given)} needs --lora RANK")
    lora = None
    if options.lora is not None:
        lora = LoRA(
            rank=options.lora,
            alpha=options.lora_alpha,
            targets=options.lora_targets,
            merge=not options.adapters_only,
        )
    return Settings(
        batch=options.batch,
        learning_rate=options.learning_rate,
        steps=options.steps,
        epochs=options.epochs,
        weight=options.weight,
        lora=lora,
        rows_at_once=options.rows_at_once,
        checkpoint_activations=options.checkpoint_activations,
        bf16=options.bf16,
        dtype=torch.bfloat16 if options.bf16_weights else torch.float32,
        max_length=options.max_length,
        max_new_tokens=options.max_new_tokens,
        group=options.group,
        held_out=options.held_out,
        seed=options.seed,
    )


def _say(line: str) -> None:
    print(line, flush=True)
