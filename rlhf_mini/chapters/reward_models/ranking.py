"""K answers to a prompt, ranked and rated by one person: the losses that learn from them, and what shuffling does."""

import random
from collections.abc import Callable
from functools import lru_cache
from itertools import combinations
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_mini.batch import Pairs, Rankings, Ratings, pack_rows
from rlhf_mini.chapters.reward_models.runs import (
    TESTED,
    config_for,
    held_out,
    judgement,
    leads_on,
    start_from,
)
from rlhf_mini.data.chat import answer
from rlhf_mini.data.tokenizer import encode_prompt, encode_response
from rlhf_mini.losses import (
    all_pairs_loss,
    best_of_k_loss,
    focal_pairwise_loss,
    pairwise_loss,
    plackett_luce_loss,
    score_penalty,
)
from rlhf_mini.methods.reward_model import normalise, train_on_rankings, train_on_ratings, train_reward_model
from rlhf_mini.models import freeze
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories

K = 5
PROMPTS = 160
BATCH = 2  # prompts a batch, with all their pairs
EPOCHS = 1  # of the losses side by side
WATCHED = 250  # held-out pairs looked at along a run
Table = dict[str, list[Any]]


def answered(pipeline: Pipeline) -> Table:
    """`PROMPTS` prompts with K answers of the SFT model each, best first, and ratings, all by one judge a prompt."""
    seed = pipeline.seed_for("chapter 04 rankings")
    prompts = [request.text for request in stories.draw_requests(PROMPTS, seed=seed)]
    generator, rng = pipeline.generator("chapter 04 rankings"), random.Random(seed)
    texts = answer(
        pipeline.policy("sft"),
        pipeline.tokenizer(),
        [prompt for prompt in prompts for _ in range(K)],
        max_new_tokens=pipeline.profile.max_new_tokens,
        generator=generator,
    )
    table: Table = {"prompt": prompts, "answers": [], "ratings": []}
    for row, prompt in enumerate(prompts):
        judge, answers = rng.choice(stories.PANEL), texts[K * row : K * (row + 1)]
        ranked = [answers[place] for place in judge.rank(prompt, answers, rng)]
        table["answers"].append(ranked)
        table["ratings"].append([judge.rate(prompt, text, rng) for text in ranked])
    return table


@lru_cache(maxsize=2)
def rankings(pipeline: Pipeline) -> tuple[Rankings, Tensor]:
    """The ranked answers as sequences, and their ratings (B · K,) in the same order."""
    table, tokenizer = pipeline.measured(answered), pipeline.tokenizer()
    sequences = pack_rows(
        [encode_prompt(tokenizer, prompt) for prompt in table["prompt"] for _ in range(K)],
        [encode_response(tokenizer, text) for answers in table["answers"] for text in answers],
        pad_token=tokenizer.pad_token_id,
    )
    rated = [float(rating) for ratings in table["ratings"] for rating in ratings]
    return Rankings(sequences, K), torch.tensor(rated)


def all_pairs(ranked: Rankings) -> Pairs:
    """Every pair of every ranking as a row of its own."""
    places = torch.tensor([*combinations(range(ranked.k), 2)])
    rows = (torch.arange(len(ranked))[:, None, None] * ranked.k + places).view(-1, 2)
    return Pairs(ranked.answers.rows(rows[:, 0]), ranked.answers.rows(rows[:, 1]))


def one_pair(ranked: Rankings, generator: torch.Generator) -> Pairs:
    """Two answers of every ranking, drawn at random."""
    drawn = torch.stack(
        [torch.randperm(ranked.k, generator=generator)[:2].sort()[0] for _ in range(len(ranked))]
    )
    rows = torch.arange(len(ranked))[:, None] * ranked.k + drawn
    return Pairs(ranked.answers.rows(rows[:, 0]), ranked.answers.rows(rows[:, 1]))


# ------------------------------------------------------------------------------ the losses side by side


def best_first_loss(ranked: Tensor) -> Tensor:
    """Of a ranking, only which answer is the best."""
    return best_of_k_loss(ranked, torch.zeros(len(ranked), dtype=torch.int64, device=ranked.device))


def focal_loss(chosen: Tensor, rejected: Tensor) -> Tensor:
    """InternLM2's: focal ranking with γ = 2, and 0.02 times the penalty of both scores."""
    penalty = score_penalty(chosen) + score_penalty(rejected)
    return focal_pairwise_loss(chosen, rejected, focus=2.0) + 0.02 * penalty


def focal_ranking_loss(ranked: Tensor) -> Tensor:
    """The same for all pairs of a ranking."""
    better, worse = torch.triu_indices(ranked.shape[1], ranked.shape[1], offset=1)
    focal = focal_pairwise_loss(ranked[:, better].flatten(), ranked[:, worse].flatten(), focus=2.0)
    penalty = score_penalty(ranked.flatten()).view(ranked.shape)
    return focal.view(len(ranked), -1).mean(1) + 0.02 * penalty.mean(1)


RANKING_LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "all pairs": all_pairs_loss,
    "Plackett–Luce": plackett_luce_loss,
    "best of K": best_first_loss,
    "focal, penalty": focal_ranking_loss,
}
WAYS = ("one pair", *RANKING_LOSSES, "ratings")


def learned(pipeline: Pipeline, *, way: str) -> dict[str, float]:
    """A reward model that learns from the same people in one way, judged on the held-out pairs."""
    ranked, rated = rankings(pipeline)
    generator = pipeline.generator("chapter 04 ways")
    model = start_from(pipeline, "sft", seed=pipeline.seed_for("chapter 04 ways"))
    config = config_for(pipeline, PROMPTS, epochs=EPOCHS, batch=BATCH)
    if way == "ratings":
        train_on_ratings(
            model,
            Ratings(ranked.answers, rated),
            config=config_for(pipeline, PROMPTS * K, epochs=EPOCHS, batch=BATCH * K),
            generator=generator,
        )
    elif way == "one pair":
        train_reward_model(model, one_pair(ranked, generator), config=config, generator=generator)
    else:
        train_on_rankings(model, ranked, config=config, generator=generator, loss=RANKING_LOSSES[way])
    normalise(model, ranked.answers)
    found = judgement(pipeline, freeze(model), count=TESTED)
    largest = float(found.leads.abs().max())
    return {**found.metrics(), "overconfidence": found.curve().overconfidence, "largest": largest}


# ------------------------------------------------------------------------------- together or shuffled


def along(pipeline: Pipeline, *, way: str) -> dict[str, list[float]]:
    """One epoch over the same ranked pairs, `together` or `shuffled`: loss on them and on held-out pairs.

    Both take as many updates with as many pairs in each. `train` is the loss on
    some of the training pairs, `held_out` that on pairs of other prompts.
    """
    ranked, _ = rankings(pipeline)
    pairs = all_pairs(ranked)
    some = pairs.rows(torch.randperm(len(pairs), generator=pipeline.generator("chapter 04 some"))[:WATCHED])
    model = start_from(pipeline, "sft", seed=pipeline.seed_for("chapter 04 ways"))
    log: dict[str, list[float]] = {"step": [], "train": [], "held_out": []}
    updates = PROMPTS // BATCH

    def hook(step: int, entry: dict[str, float]) -> None:
        if step in (1, updates // 4, updates // 2, updates):
            model.eval()
            log["step"].append(step)
            log["train"].append(loss_on(model, some))
            log["held_out"].append(loss_on(model, held_out(pipeline, count=WATCHED)[1]))
            model.train()

    generator = pipeline.generator("chapter 04 ways")
    if way == "together":
        config = config_for(pipeline, PROMPTS, batch=BATCH)
        train_on_rankings(model, ranked, config=config, generator=generator, hooks=[hook])
    else:
        config = config_for(pipeline, len(pairs), batch=len(pairs) // updates)
        train_reward_model(model, pairs, config=config, generator=generator, hooks=[hook])
    return log


def loss_on(model: PreTrainedModel, pairs: Pairs) -> float:
    """−log σ of the raw lead, in nats a pair."""
    leads = leads_on(model, pairs)
    return float(pairwise_loss(leads, torch.zeros_like(leads)).mean())
