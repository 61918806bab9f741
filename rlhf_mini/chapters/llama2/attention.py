"""Ghost attention in our world: the hero named in the first turn stays the hero of the whole conversation.

The first turn asks for "a short sad story about a fox and a drum", later ones for "a short happy story about a
kite": about the fox again, that is what is to be learned. When the training answers are sampled, every question
names the hero; for training, only the first does. The model's context is stretched from the profile's to
`CONTEXT` tokens: rotary positions need no new weights, and fine-tuning on longer rows makes the model used to them.
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
from rlhf_mini.worlds.stories.grammar import hero_object_pairs
from rlhf_mini.worlds.stories.lexicon import MOODS, with_article
from rlhf_mini.worlds.stories.requests import ASKS

CONTEXT, LONGEST_ANSWER = 704, 110
DIALOGUES, TRAINED_TURNS = 640, 3
TESTED_DIALOGUES, TESTED_TURNS = 96, 5
SAMPLES = 2
MODELS = ("ghost", "plain", "sft")


def naming(hero: str) -> Callable[[str], str]:
    """Attaches the instruction, who the hero is, to a question.

    >>> naming("fox")("Tell me a short sad story about a drum.")
    'Tell me a short sad story about a fox and a drum.'
    """
    return lambda question: question.replace(" story about ", f" story about {with_article(hero)} and ", 1)


@dataclasses.dataclass(frozen=True)
class Planned:
    """A conversation before it is answered: its hero, and questions that do not name it."""

    hero: str
    questions: list[str]

    @property
    def requests(self) -> list[stories.Request]:
        """What each question asks for once it names the hero."""
        attach = naming(self.hero)
        return [stories.read_request(attach(question)) for question in self.questions]


def plans(pipeline: Pipeline, count: int, *, turns: int, held_out: bool) -> list[Planned]:
    """Conversations of `turns` turns, each about a short story; pairs of hero and object from one side."""
    rng = pipeline.rng(f"chapter 06 conversations {held_out}")
    by_hero: dict[str, list[str]] = {}
    for hero, thing in hero_object_pairs(held_out=held_out):
        by_hero.setdefault(hero, []).append(thing)
    heroes = sorted(hero for hero, things in by_hero.items() if len(things) >= turns)
    found = []
    for _ in range(count):
        hero = rng.choice(heroes)
        things = rng.sample(by_hero[hero], turns)
        asked = [
            f"{rng.choice(ASKS)} a short {rng.choice(MOODS)} story about {with_article(thing)}."
            for thing in things
        ]
        found.append(Planned(hero, asked))
    return found


def training_plans(pipeline: Pipeline) -> list[Planned]:
    """The conversations to train on: of one, two or three turns."""
    rng = pipeline.rng("chapter 06 turns")
    whole = plans(pipeline, DIALOGUES, turns=TRAINED_TURNS, held_out=False)
    return [Planned(plan.hero, plan.questions[: rng.randint(1, TRAINED_TURNS)]) for plan in whole]


def ghost_dialogues(pipeline: Pipeline, *, attached: bool) -> list[list[Turn]]:
    """Training dialogues, the hero named in the first turn only.

    When their answers were sampled every question named it if `attached`, as in GAtt, else the first alone, as
    in any conversation. Each answer is the best of K by the helpfulness model.
    """
    planned, asked = training_plans(pipeline), []
    for plan in planned:
        everywhere = attach_to_every_question(naming(plan.hero), plan.questions)
        asked += everywhere if attached else [everywhere[0], *plan.questions[1:]]
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
        keep_in_first_question(naming(plan.hero), plan.questions, [next(told) for _ in plan.questions])
        for plan in planned
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


def policy_of(pipeline: Pipeline, *, model: str) -> PreTrainedModel:
    """`sft`, `plain` (trained on dialogues without the instruction attached) or `ghost`."""
    if model == "sft":
        return freeze(stretched(pipeline))
    folder = pipeline.kept(ghost_model, attached=model == "ghost")
    return freeze(AutoModelForCausalLM.from_pretrained(folder))


def adherence(pipeline: Pipeline, *, model: str) -> dict[str, list[float]]:
    """By turn: how often the hero of the first turn is told, the object of this turn, and the answer's gold."""
    dialogues, turns = TESTED_DIALOGUES, TESTED_TURNS
    planned = plans(pipeline, dialogues, turns=turns, held_out=True)
    told = converse(
        policy_of(pipeline, model=model),
        pipeline.tokenizer(),
        [[naming(plan.hero)(plan.questions[0]), *plan.questions[1:]] for plan in planned],
        max_new_tokens=LONGEST_ANSWER,
        generator=torch.Generator().manual_seed(pipeline.seed),
    )
    found: dict[str, list[float]] = {"hero": [], "object": [], "gold": [], "finished": []}
    for turn in range(turns):
        answers = [stories.read_story(row[turn][1]) for row in told]
        requests = [plan.requests[turn] for plan in planned]
        both = list(zip(requests, answers, strict=True))
        found["hero"].append(sum(asked.hero == answer.hero for asked, answer in both) / dialogues)
        found["object"].append(sum(asked.object == answer.object for asked, answer in both) / dialogues)
        found["finished"].append(sum(answer.complete for answer in answers) / dialogues)
        golds = [stories.gold(asked, row[turn][1]).total for asked, row in zip(requests, told, strict=True)]
        found["gold"].append(sum(golds) / dialogues)
    return found
