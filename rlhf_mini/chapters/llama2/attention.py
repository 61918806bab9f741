"""Ghost attention in our world: a style wished for in the first turn holds for the whole conversation.

The instruction is the wish itself (" for bedtime", " in which someone speaks"), in the only wording that the
fine-tuned policy knows. Every turn asks for a short story, each about somebody else. The model's context is
stretched from the profile's to `CONTEXT` tokens: rotary positions need no new weights, and fine-tuning on longer
rows makes the model used to them.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from rlhf_mini.chapters.llama2 import sides
from rlhf_mini.data.dialogue import Turn, converse, last_answers, pack_dialogues
from rlhf_mini.methods.ghost_attention import attach_to_every_question, keep_in_first_question
from rlhf_mini.methods.rejection_sampling import (
    RejectionSamplingConfig,
    best_of,
    draw_candidates,
    keep,
    score_candidates,
)
from rlhf_mini.methods.reward_model import scores
from rlhf_mini.methods.sft import SFTConfig, sft
from rlhf_mini.models import freeze
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories

CONTEXT, LONGEST_ANSWER = 448, 70
DIALOGUES, TRAINED_TURNS, TESTED_TURNS = 1200, 3, 5
SAMPLES = 4
STYLES = ("goodnight", "talk", None)


def with_style(style: str | None) -> Callable[[str], str]:
    """Attaches the wish for a style to a question; nothing for None."""
    return lambda question: dataclasses.replace(stories.read_request(question), style=style).text


def questions(pipeline: Pipeline, dialogues: int, *, turns: int, held_out: bool) -> list[list[str]]:
    """Requests for short kind stories, `turns` in each of `dialogues` rows."""
    seed = pipeline.seed_for(f"chapter 06 questions {held_out}")
    drawn = stories.draw_requests(2 * dialogues * turns, seed=seed, held_out=held_out)
    plain = [
        dataclasses.replace(request, style=None, length="short").text
        for request in drawn
        if request.unkind is None
    ]
    return [plain[start : start + turns] for start in range(0, dialogues * turns, turns)]


def plan(pipeline: Pipeline) -> list[tuple[str | None, list[str]]]:
    """The training dialogues before they are answered: a style, and one to three questions."""
    rng = pipeline.rng("chapter 06 dialogues")
    rows = questions(pipeline, DIALOGUES, turns=TRAINED_TURNS, held_out=False)
    return [(rng.choice(STYLES), row[: rng.randint(1, TRAINED_TURNS)]) for row in rows]


def ghost_dialogues(pipeline: Pipeline, *, attached: bool) -> list[list[Turn]]:
    """Training dialogues, the instruction in the first turn only.

    When their answers were sampled the instruction stood at every question if `attached`, as in GAtt, else
    in the first alone, as in any conversation. Each answer is the best of K by the helpfulness model.
    """
    planned, asked = plan(pipeline), []
    for style, row in planned:
        everywhere = attach_to_every_question(with_style(style), row)
        asked += everywhere if attached else [everywhere[0], *row[1:]]
    config = RejectionSamplingConfig(
        samples=SAMPLES, temperature=1.0, max_new_tokens=LONGEST_ANSWER, sft=pipeline.profile.sft
    )
    generator = pipeline.generator("chapter 06 dialogue answers")
    answers = draw_candidates(
        pipeline.policy("sft"), pipeline.tokenizer(), asked, config=config, generator=generator
    )
    judge = sides.model_of(pipeline, side="helpfulness")
    rewards = score_candidates(
        lambda sequences: scores(judge, sequences), pipeline.tokenizer(), asked, answers
    )
    told = iter(keep(asked, answers, best_of(rewards)).answers)
    return [
        keep_in_first_question(with_style(style), row, [next(told) for _ in row]) for style, row in planned
    ]


def ghost_model(pipeline: Pipeline, folder: Path, *, attached: bool, epochs: int = 4) -> None:
    """A kept policy, fine-tuned on the dialogues with the loss on their last answers."""
    model = stretched(pipeline).requires_grad_(True)
    packed = last_answers(pack_dialogues(pipeline.tokenizer(), ghost_dialogues(pipeline, attached=attached)))
    config = SFTConfig(epochs=epochs, batch=32, optimizer=pipeline.profile.sft.optimizer)
    sft(model, packed, config=config, generator=pipeline.generator("chapter 06 ghost"))
    model.save_pretrained(folder)


def stretched(pipeline: Pipeline) -> PreTrainedModel:
    """The fine-tuned policy with room for a conversation."""
    return AutoModelForCausalLM.from_pretrained(pipeline.get("sft"), max_position_embeddings=CONTEXT)


def adherence(
    pipeline: Pipeline, *, model: str, dialogues: int = 96, turns: int = TESTED_TURNS
) -> dict[str, list[float]]:
    """How often each turn's story has each style, by the style wished for in the first turn.

    `model`: "sft", "plain" (dialogues without the instruction attached) or "ghost".
    """
    policy = (
        freeze(stretched(pipeline))
        if model == "sft"
        else freeze(
            AutoModelForCausalLM.from_pretrained(pipeline.kept(ghost_model, attached=model == "ghost"))
        )
    )
    found = {}
    for wished in STYLES:
        attach = with_style(wished)
        rows = questions(pipeline, dialogues, turns=turns, held_out=True)
        told = converse(
            policy,
            pipeline.tokenizer(),
            [[attach(row[0]), *row[1:]] for row in rows],
            max_new_tokens=LONGEST_ANSWER,
            generator=torch.Generator().manual_seed(pipeline.seed),
        )
        for style in ("goodnight", "talk"):
            found[f"{wished or 'nothing'} wished, {style} told"] = [
                sum(getattr(stories.read_story(row[turn][1]), style) for row in told) / len(told)
                for turn in range(turns)
            ]
        found[f"{wished or 'nothing'} wished, gold"] = [
            sum(stories.gold(row_[turn], row[turn][1]).total for row_, row in zip(rows, told, strict=True))
            / len(told)
            for turn in range(turns)
        ]
    return found
