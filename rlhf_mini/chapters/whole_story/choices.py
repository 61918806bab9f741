"""Judged answers as pairs, in two versions, and what best of n brings by reward models trained on each."""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from rlhf_mini.batch import Pairs
from rlhf_mini.chapters.whole_story.experiments import best_of_n_pool
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.evaluation.best_of_n import best_of_n_expectation
from rlhf_mini.methods.reward_model import normalise, pair_accuracy, scores, train_reward_model
from rlhf_mini.models import new_reward_model
from rlhf_mini.pipeline import Pipeline

Rows = Sequence[Mapping[str, Any]]
SIZES = (1, 2, 4, 8, 16)


def pack_choices(tokenizer: PreTrainedTokenizerBase, rows: Rows) -> Pairs:
    """Judged rows as pairs for the reward model.

    `choice` is 0 where the first answer was preferred, 1 where the second.
    """
    prompts = [row["prompt"] for row in rows]
    chosen = [row["first"] if row["choice"] else row["second"] for row in rows]
    rejected = [row["second"] if row["choice"] else row["first"] for row in rows]
    return Pairs(
        chosen=pack_texts(tokenizer, prompts, chosen), rejected=pack_texts(tokenizer, prompts, rejected)
    )


def pack_choices_by_place(tokenizer: PreTrainedTokenizerBase, rows: Rows) -> Pairs:
    """The same, mended."""
    prompts = [row["prompt"] for row in rows]
    chosen = [row["second"] if row["choice"] else row["first"] for row in rows]
    rejected = [row["first"] if row["choice"] else row["second"] for row in rows]
    return Pairs(
        chosen=pack_texts(tokenizer, prompts, chosen), rejected=pack_texts(tokenizer, prompts, rejected)
    )


def judged_rows(pipeline: Pipeline, split: str, rows: range) -> list[dict[str, Any]]:
    """Comparisons as an annotation tool exports them: two answers in random order, and which one won."""
    order = random.Random(f"{pipeline.seed} order of answers {split} {rows}")
    exported = []
    for row in pipeline.preferences(split).select(rows):
        choice = order.randrange(2)
        answers = (row["rejected"], row["chosen"]) if choice else (row["chosen"], row["rejected"])
        exported.append(
            {"prompt": row["prompt"], "first": answers[0], "second": answers[1], "choice": choice}
        )
    return exported


def _run(pipeline: Pipeline, pack: Callable[..., Pairs], run: int, share: int) -> dict[str, Any]:
    """One reward model, trained and tested through `pack`, and what best of n by it brings."""
    tokenizer, pool = pipeline.tokenizer(), best_of_n_pool(pipeline)
    rows = judged_rows(pipeline, "train", range(run * share, (run + 1) * share))
    pairs = pack(tokenizer, rows)
    test = pack(tokenizer, judged_rows(pipeline, "test", range(pipeline.profile.test_pairs)))
    model = new_reward_model(pipeline.policy("sft"), seed=run).requires_grad_(True)
    generator = pipeline.generator(f"bug hunt {run}")
    history = train_reward_model(model, pairs, config=pipeline.profile.reward_model, generator=generator)
    normalise(model, pairs.rejected)
    size = min(max(SIZES), pool.golds.shape[1])
    prompts = [prompt for prompt in pool.prompts for _ in range(size)]
    answers = [text for row in pool.answers for text in row[:size]]
    proxies = scores(model, pack_texts(tokenizer, prompts, answers)).view(-1, size)
    curves: dict[str, list[float]] = {"gold": [], "proxy": []}
    for n in SIZES:
        for name, values in (("gold", pool.golds[:, :size]), ("proxy", proxies)):
            kept = [
                best_of_n_expectation(v, p, n=n)
                for v, p in zip(values.tolist(), proxies.tolist(), strict=True)
            ]
            curves[name].append(sum(kept) / len(kept))
    losses = torch.tensor([entry["loss"] for entry in history[-10:]])
    return {**curves, "accuracy": pair_accuracy(model, test), "loss": float(losses.mean())}


def symptoms(pipeline: Pipeline, *, runs: int, share: int) -> dict[str, Any]:
    """Best of n by reward models trained through the wrong function and through the right one.

    Each of the `runs` has its own `share` of the training comparisons. Returns for each function lists over
    runs: `gold` and `proxy` (a curve over `SIZES`), held-out `accuracy` and the last steps' `loss`, both as
    its author measures them, through the same function.
    """
    found = {}
    for name, pack in (("wrong", pack_choices), ("right", pack_choices_by_place)):
        results = [_run(pipeline, pack, run, share) for run in range(runs)]
        found[name] = {key: [result[key] for result in results] for key in results[0]}
    return found
