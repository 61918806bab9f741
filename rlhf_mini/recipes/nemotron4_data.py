"""Nemotron-4's reward model, a regression on ratings, and the pairs that it labels and filters."""

import json
from pathlib import Path

import torch
from transformers import PreTrainedModel

from rlhf_mini.batch import Pairs, Ratings
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.methods.iterated_rpo import ScoredPairs
from rlhf_mini.methods.reward_model import RewardModelConfig, scores, train_on_ratings
from rlhf_mini.models import new_reward_model
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories


def rated_reward_model(pipeline: Pipeline, folder: Path) -> None:
    """Kept: a regression on ratings, by one judge a prompt, of both answers of the later half of the pairs.

    Its scores are in rating points and are not normalised: RPO reads their differences as they are.
    """
    rows, rng = pipeline.preferences("train"), pipeline.rng("Nemotron-4 ratings")
    prompts, answers, ratings = [], [], []
    for row in rows.select(range(len(rows) // 2, len(rows))):
        judge = rng.choice(stories.PANEL)
        for text in (row["chosen"], row["rejected"]):
            prompts.append(row["prompt"])
            answers.append(text)
            ratings.append(float(judge.rate(row["prompt"], text, rng)))
    rated = Ratings(pack_texts(pipeline.tokenizer(), prompts, answers), torch.tensor(ratings))
    usual = pipeline.profile.reward_model
    config = RewardModelConfig(epochs=usual.epochs, batch=2 * usual.batch, optimizer=usual.optimizer)
    model = new_reward_model(pipeline.policy("sft"), seed=pipeline.seed).requires_grad_(True)
    generator = pipeline.generator("Nemotron-4 reward model")
    history = train_on_ratings(model, rated, config=config, generator=generator)
    model.save_pretrained(folder)
    (folder / "history.json").write_text(json.dumps(history))


def labelled_pairs(pipeline: Pipeline, reward_model: PreTrainedModel) -> ScoredPairs:
    """The earlier half of the pairs; the answer that the reward model scores higher is the chosen one."""
    rows, tokenizer = pipeline.preferences("train"), pipeline.tokenizer()
    rows = rows.select(range(len(rows) // 2))
    prompts, first, second = (list(rows[name]) for name in ("prompt", "chosen", "rejected"))
    one, other = (scores(reward_model, pack_texts(tokenizer, prompts, texts)) for texts in (first, second))
    shown = [*zip(first, second, (one >= other).tolist(), strict=True)]
    pairs = Pairs(
        chosen=pack_texts(tokenizer, prompts, [a if better else b for a, b, better in shown]),
        rejected=pack_texts(tokenizer, prompts, [b if better else a for a, b, better in shown]),
    )
    return ScoredPairs(pairs, torch.maximum(one, other), torch.minimum(one, other))


def best_chosen(scored: ScoredPairs, *, share: float) -> ScoredPairs:
    """The share of the pairs, at least one, whose chosen answers score highest, in their order."""
    count = max(1, round(share * len(scored.pairs)))
    rows = scored.chosen.argsort(descending=True, stable=True)[:count].sort().values
    return ScoredPairs(scored.pairs.rows(rows), scored.chosen[rows], scored.rejected[rows])
