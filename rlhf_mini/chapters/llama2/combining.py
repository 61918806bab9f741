"""Two rewards, one choice: what best-of-K keeps under the piecewise combination, and under a linear one.

The same K answers to the same held-out prompts, kind and unkind, are ranked by each rule. What is kept is judged
by gold: is an unkind deed told, is a kind request declined, how helpful is it.
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rlhf_mini.chapters.llama2 import sides
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.estimators import linear_reward, piecewise_reward
from rlhf_mini.methods.rejection_sampling import RejectionSamplingConfig, best_of, draw_candidates, keep
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories.parser import read_story

THRESHOLD = 0.15  # Llama 2's, on R_s
SAMPLES = 16
PROMPTS = 200  # of either kind
WEIGHTS = tuple(w / 10 for w in range(11))


def held_out(pipeline: Pipeline, *, unkind: bool, count: int) -> list[stories.Request]:
    """Requests of one kind, in which hero and object never met in training."""
    seed = pipeline.seed_for(f"chapter 06 prompts {'unkind' if unkind else 'kind'}")
    if unkind:
        return sides.unkind_requests(count, seed=seed, held_out=True)
    drawn = stories.draw_requests(2 * count, seed=seed, held_out=True)
    return [request for request in drawn if request.unkind is None][:count]


def candidates(
    pipeline: Pipeline, folder: Path, *, unkind: bool, prompts: int, samples: int, temperature: float
) -> None:
    """A kept pool: K answers of the fine-tuned policy to each held-out prompt of one kind."""
    asked = [request.text for request in held_out(pipeline, unkind=unkind, count=prompts)]
    config = RejectionSamplingConfig(
        samples=samples,
        temperature=temperature,
        max_new_tokens=pipeline.profile.max_new_tokens,
        sft=pipeline.profile.sft,
    )
    generator = pipeline.generator(f"chapter 06 candidates {unkind} {temperature}")
    texts = draw_candidates(
        pipeline.policy("sft"), pipeline.tokenizer(), asked, config=config, generator=generator
    )
    (folder / "candidates.json").write_text(json.dumps({"prompts": asked, "answers": texts}))


def scored(pipeline: Pipeline, *, mixed: bool, **which: Any) -> dict[str, list[list[float]]]:
    """R_h and R_s of every answer of the kept pool that `which` names, (N, K) each."""
    drawn = json.loads((pipeline.kept(candidates, **which) / "candidates.json").read_text())
    asked = [prompt for prompt, row in zip(drawn["prompts"], drawn["answers"], strict=True) for _ in row]
    packed = pack_texts(pipeline.tokenizer(), asked, [text for row in drawn["answers"] for text in row])
    return {
        side: sides.probabilities(sides.model_of(pipeline, side=side, mixed=mixed), packed)
        .view(-1, which["samples"])
        .tolist()
        for side in sides.SIDES
    }


def pool(
    pipeline: Pipeline,
    *,
    unkind: bool,
    prompts: int | None = None,
    samples: int = SAMPLES,
    temperature: float = 1.0,
    mixed: bool = False,
) -> dict[str, Any]:
    """Prompts, their K answers, and R_h and R_s of each answer, (N, K); drawn and scored once."""
    which = {
        "unkind": unkind,
        "prompts": PROMPTS if prompts is None else prompts,
        "samples": samples,
        "temperature": temperature,
    }
    drawn = json.loads((pipeline.kept(candidates, **which) / "candidates.json").read_text())
    rewards = pipeline.measured(scored, mixed=mixed, **which)
    return {**drawn, **{side: torch.tensor(rewards[side]) for side in sides.SIDES}}


def combined(drawn: dict[str, Any], *, unkind: bool, threshold: float = THRESHOLD) -> Tensor:
    """Llama 2's R_c of a pool, (N, K)."""
    flat = drawn["helpfulness"].flatten()
    about_safety = torch.full(flat.shape, unkind)
    return piecewise_reward(flat, drawn["safety"].flatten(), about_safety, threshold=threshold).view_as(
        drawn["helpfulness"]
    )


def weighted(drawn: dict[str, Any], *, safety_weight: float) -> Tensor:
    """The linear combination of a pool, (N, K)."""
    both = drawn["helpfulness"].flatten(), drawn["safety"].flatten()
    return linear_reward(*both, safety_weight=safety_weight).view_as(drawn["helpfulness"])


def outcome(drawn: dict[str, Any], rewards: Tensor) -> dict[str, float]:
    """What the best of K is like: gold in its parts; shares that tell an unkind deed, decline, politely."""
    kept = keep(drawn["prompts"], drawn["answers"], best_of(rewards))
    golds = [stories.gold(p, a) for p, a in zip(kept.prompts, kept.answers, strict=True)]
    count = len(golds)
    return {
        "gold": sum(g.total for g in golds) / count,
        "helpfulness": sum(g.helpfulness for g in golds) / count,
        "told": sum(g.safety < 0 for g in golds) / count,
        "declined": sum(read_story(a).declined for a in kept.answers) / count,
        "politely": sum(g.safety > 0 for g in golds) / count,
    }


def picks(
    pipeline: Pipeline, *, threshold: float = THRESHOLD, mixed: bool = False
) -> dict[str, dict[str, float]]:
    """The outcomes of every rule on kind and on unkind prompts: rule → "kind"/"unkind" and measure → number."""
    results: dict[str, dict[str, float]] = {}
    for kind, unkind in (("kind", False), ("unkind", True)):
        drawn = pool(pipeline, unkind=unkind, mixed=mixed)
        rules = {
            "any": torch.zeros_like(drawn["safety"]),
            "piecewise": combined(drawn, unkind=unkind, threshold=threshold),
            **{f"linear {w}": weighted(drawn, safety_weight=w) for w in WEIGHTS},
        }
        for rule, rewards in rules.items():
            for measure, number in outcome(drawn, rewards).items():
                results.setdefault(rule, {})[f"{kind}_{measure}"] = number
    return results


def detection(pipeline: Pipeline, *, mixed: bool = False) -> dict[str, list[float]]:
    """Precision and recall of "R_s below the threshold" as a detector of unkind deeds, by threshold."""
    rows = sides.judged_pairs(pipeline, side="safety", split="test")
    prompts, texts, unsafe = [], [], []
    for place in ("chosen", "rejected"):
        prompts += rows["prompt"]
        texts += rows[place]
        unsafe += [safety < 0 for safety in rows[f"safety_{place}"]]
    score = sides.probabilities(
        sides.model_of(pipeline, side="safety", mixed=mixed), pack_texts(pipeline.tokenizer(), prompts, texts)
    )
    told = torch.tensor(unsafe)
    found: dict[str, list[float]] = {"threshold": [], "precision": [], "recall": [], "flagged": []}
    for step in range(1, 20):
        flagged = score < step / 20
        hits = int((flagged & told).sum())
        found["threshold"].append(step / 20)
        found["precision"].append(hits / max(1, int(flagged.sum())))
        found["recall"].append(hits / int(told.sum()))
        found["flagged"].append(float(flagged.float().mean()))
    return found
