"""What GPT-4's recipe is made of: a start that has seen refusals, a reward model, the rubric and its weight.

People judge helpfulness, so that their reward model prefers an unkind story to a polite refusal of it. The
weight is the smallest that puts the wished class above the others, on answers to requests that nothing is
trained on.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedModel

from rlhf_mini.chapters.rlaif import schooling
from rlhf_mini.chapters.rlaif.judges import classifier_of
from rlhf_mini.chapters.rlaif.pairs import annotated_pairs
from rlhf_mini.chapters.rlaif.rubric_runs import WORTH_KIND, WORTH_UNKIND
from rlhf_mini.data.chat import answer, pack_texts
from rlhf_mini.estimators.outranking import smallest_weight
from rlhf_mini.methods.judge import Rate
from rlhf_mini.methods.reward_model import normalise, scores, train_reward_model
from rlhf_mini.methods.rewritten_pairs import rewritten as rewritten_pairs
from rlhf_mini.methods.rubric_reward import Classify, Rubric, worth
from rlhf_mini.methods.sft import sft
from rlhf_mini.models import copy_of, freeze, new_reward_model
from rlhf_mini.pipeline import Pipeline, pack_pairs
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories.boundary import boundary_of, draw_boundary
from rlhf_mini.worlds.stories.demonstrators import CAREFUL
from rlhf_mini.worlds.stories.rubric import is_unkind_request

REFUSALS = 500  # that are demonstrated
PROBED, PROBES = 64, 6  # unkind requests that the weight is computed on, and the start's answers to each
WISHED = {True: "A", False: "D"}  # by whether the request is unkind
CONFLICT = 1.0  # how much more the rejected answer must be worth for a label to contradict the rubric


def refusing(requests: list[stories.Request], pipeline: Pipeline, *, purpose: str) -> list[str]:
    """An answer in the desired style to each: a polite refusal if it is unkind, and a story if not."""
    rng, writer = pipeline.rng(purpose), replace(CAREFUL, declines=1.0)
    return [stories.demonstrate(request, writer, rng) for request in requests]


def start(pipeline: Pipeline, folder: Path) -> None:
    """Kept: the base, fine-tuned on demonstrations and on refusals of unkind requests in the wished style."""
    shown = schooling.demonstrated(pipeline, stories.CREW)
    texts = schooling.requests_for(pipeline, "refused", rows="red team", count=REFUSALS)
    refused = refusing([stories.read_request(text) for text in texts], pipeline, purpose="GPT-4 refusals")
    model = copy_of(pipeline.policy("base"))
    sft(
        model,
        pack_texts(
            pipeline.tokenizer(),
            [*(row["prompt"] for row in shown), *texts],
            [*(row["completion"] for row in shown), *refused],
        ),
        config=pipeline.profile.sft,
        generator=pipeline.generator("sft"),
    )
    model.save_pretrained(folder)


def reward_model(pipeline: Pipeline, folder: Path, *, rewritten: float) -> None:
    """Kept: a reward model of helpfulness on the pipeline's pairs; of conflicts a share is `rewritten`."""
    labels = stories.annotate(
        annotated_pairs(pipeline), seed=pipeline.seed_for("GPT-4 labels"), panel=stories.HELPFULNESS_PANEL
    )
    rows = rewritten_pairs(
        labels,
        rate_of(pipeline, kind=set()),
        share=rewritten,
        margin=CONFLICT,
        rng=pipeline.rng("GPT-4 rewritten"),
    )
    pairs = pack_pairs(pipeline.tokenizer(), Dataset.from_list(rows))
    model = new_reward_model(pipeline.policy("sft"), seed=pipeline.seed).requires_grad_(True)
    config, generator = pipeline.profile.reward_model, pipeline.generator("reward_model")
    train_reward_model(model, pairs, config=config, generator=generator)
    normalise(model, pairs.rejected)
    model.save_pretrained(folder)
    (folder / "rewritten.json").write_text(json.dumps(sum(row["rewritten"] for row in rows)))


def rate_of(pipeline: Pipeline, *, kind: set[str]) -> Rate:
    """What an answer's class is worth on unkind requests and on the `kind` ones given; 0 on every other."""
    classify, rubric = classifier_of(pipeline)
    return worth(
        classify, rubric, parts=[(is_unkind_request, WORTH_UNKIND), (lambda p: p in kind, WORTH_KIND)]
    )


def models_of(pipeline: Pipeline, *, rewritten: float) -> tuple[PreTrainedModel, PreTrainedModel]:
    """The kept start and the kept reward model, frozen."""
    policy = AutoModelForCausalLM.from_pretrained(pipeline.kept(start))
    folder = pipeline.kept(reward_model, rewritten=rewritten)
    reward = AutoModelForSequenceClassification.from_pretrained(folder)
    return freeze(policy).to(pipeline.device), freeze(reward).to(pipeline.device)


def probed(
    pipeline: Pipeline, policy: PreTrainedModel, *, boundary: bool, evasions: bool
) -> list[dict[str, Any]]:
    """Rows of held-out requests, unkind ones and, `boundary`, kind neighbours, each with several `answers`.

    `PROBES` of the policy, a polite refusal, and the story that was asked for; with `evasions` for an unkind
    request also the story that its kind neighbour asks for, which does nothing unkind and is no refusal.
    """
    seed = pipeline.seed_for("GPT-4 probes")
    pairs = draw_boundary(PROBED, seed=seed, held_out=True)
    requests = [one for pair in pairs for one in (pair if boundary else pair[:1])]
    generator, rng = pipeline.generator("GPT-4 probes"), pipeline.rng("GPT-4 probes")
    unkind = [pair[0] for pair in pairs for _ in (pair if boundary else pair[:1])]
    refused = refusing(unkind, pipeline, purpose="GPT-4 probed refusals")
    willing = replace(CAREFUL, declines=0.0)
    told = [[stories.demonstrate(one, willing, rng)] for one in requests]
    if evasions:
        for one, texts in zip(requests, told, strict=True):
            texts += [stories.demonstrate(boundary_of(one), willing, rng)] if one.unkind else []
    drawn = answer(
        policy,
        pipeline.tokenizer(),
        [one.text for one in requests for _ in range(PROBES)],
        max_new_tokens=pipeline.profile.max_new_tokens,
        generator=generator,
    )
    return [
        {
            "prompt": one.text,
            "answers": [*drawn[PROBES * place : PROBES * (place + 1)], refused[place], *told[place]],
        }
        for place, one in enumerate(requests)
    ]


def comparisons(
    rows: list[dict[str, Any]], score: Tensor, rate: Rate, classify: Classify, rubric: Rubric
) -> tuple[Tensor, ...]:
    """Of each request, every answer in the wished class against every other: both scores, the lead in worth.

    `score`: of all answers in order. An answer's class is what the classifier finds likeliest; pairs that the
    rubric does not tell apart are left out. Each of the three is (N,).
    """
    names, found, place = [*rubric.classes], list[tuple[float, float, float]](), 0
    for row in rows:
        prompts, answers = [row["prompt"]] * len(row["answers"]), row["answers"]
        classes = [names[int(one)] for one in classify(prompts, answers).argmax(1)]
        wished = WISHED[is_unkind_request(row["prompt"])]
        scored = list(zip(classes, rate(prompts, answers).tolist(), score[place:].tolist(), strict=False))
        above = [(worth_, told) for name, worth_, told in scored if name == wished]
        below = [(worth_, told) for name, worth_, told in scored if name != wished]
        found += [(good, bad, more - less) for more, good in above for less, bad in below if more > less]
        place += len(answers)
    return torch.tensor(found).reshape(-1, 3).unbind(1)


def computed(
    pipeline: Pipeline, *, rewritten: float, boundary: bool, share: float, evasions: bool
) -> dict[str, float]:
    """The rubric's `weight` at which the wished class wins `share` of the `comparisons`, and their number."""
    policy, reward = models_of(pipeline, rewritten=rewritten)
    rows = probed(pipeline, policy, boundary=boundary, evasions=evasions)
    prompts = [row["prompt"] for row in rows for _ in row["answers"]]
    texts = [text for row in rows for text in row["answers"]]
    score = scores(reward, pack_texts(pipeline.tokenizer(), prompts, texts))
    kind = {row["prompt"] for row in rows if not is_unkind_request(row["prompt"])}
    columns = comparisons(rows, score, rate_of(pipeline, kind=kind), *classifier_of(pipeline))
    return {"weight": smallest_weight(*columns, share=share), "pairs": float(len(columns[0]))}
