"""How varied the answers to one prompt are: writers, base model, fine-tuned models."""

import torch
from transformers import PreTrainedModel

from rlhf_mini.chapters.fine_tuning import runs
from rlhf_mini.data.chat import draw, response_texts
from rlhf_mini.data.tokenizer import encode_prompt, encode_text
from rlhf_mini.evaluation.diversity import distinct_n, unique_fraction
from rlhf_mini.models.sampler import Samples
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories

PROMPTS, ANSWERS = 16, 32


def short_requests(pipeline: Pipeline) -> list[stories.Request]:
    """Held-out requests for short, kind stories: the base model's title lines can ask for these, too."""
    asked = runs.requests(pipeline, count=40 * PROMPTS)
    fitting = [r for r in asked if r.length == "short" and r.style is None and r.unkind is None]
    return fitting[:PROMPTS]


def title_line(request: stories.Request) -> str:
    """The same request as the title line of a pretraining story."""
    return f"A {request.length} {request.mood} story of the {request.hero} and the {request.object}:"


def _answers(pipeline: Pipeline, model: PreTrainedModel, encoded: list[list[int]]) -> Samples:
    return draw(
        model,
        pipeline.tokenizer(),
        [prompt for prompt in encoded for _ in range(ANSWERS)],
        max_new_tokens=pipeline.profile.max_new_tokens,
        generator=torch.Generator().manual_seed(pipeline.seed),
    )


def spread(texts: list[list[str]]) -> dict[str, float]:
    """Distinct-2 and the share of different texts among the answers to one prompt, averaged over prompts."""
    return {
        "distinct_2": sum(distinct_n(group, n=2) for group in texts) / len(texts),
        "unique": sum(unique_fraction(group) for group in texts) / len(texts),
    }


WHO = ("careful writers", "mixed writers", "base", "careful 4", "careful 64", "mixed 64")


def diversity_of(pipeline: Pipeline, *, who: str) -> dict[str, float]:
    """Spread of 32 answers to each of 16 prompts, and for models their entropy in nats per answer.

    `who` is one of `WHO`; a number is that of the batches of demonstrations which the model learned from.
    """
    requests, tokenizer = short_requests(pipeline), pipeline.tokenizer()
    if who.endswith("writers"):
        crew = runs.CREWS[who.split()[0]]
        rng = pipeline.rng("chapter 03 writers")
        writers = [w for w, _ in crew]
        weights = [share for _, share in crew]
        drawn = [
            [
                stories.demonstrate(request, rng.choices(writers, weights=weights)[0], rng)
                for _ in range(ANSWERS)
            ]
            for request in requests
        ]
        return spread(drawn)
    if who == "base":
        model = pipeline.policy("base")
        encoded = [[tokenizer.bos_token_id, *encode_text(tokenizer, title_line(r))] for r in requests]
    else:
        crew_name, batches = who.split()
        model = runs.load(runs.run_on(pipeline, crew=crew_name, batches=int(batches)))
        encoded = [encode_prompt(tokenizer, request.text) for request in requests]
    samples = _answers(pipeline, model, encoded)
    texts = response_texts(tokenizer, samples)
    groups = [texts[start : start + ANSWERS] for start in range(0, len(texts), ANSWERS)]
    return {**spread(groups), "entropy": -float(samples.logp.sum()) / len(texts)}
