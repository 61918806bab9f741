"""The chapter's samples: answers to training prompts, scored by the reward model, as many for every method.

What all methods here pay is sampling. Each gets the budget of chapter 05's PPO, one answer an episode, and spends it
in one draw, in a few Grows or in many small rounds. All methods of this chapter take their prompts from one list, from
its beginning on, and what draws only once draws the very same answers; PPO has prompts of its own.
"""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from rlhf_mini.batch import Sequences
from rlhf_mini.methods.answers import Answers, Drawing, PromptsOf, draw_answers
from rlhf_mini.methods.rest import PromptScale, RewardScale
from rlhf_mini.methods.reward_model import scores
from rlhf_mini.pipeline import Pipeline, pack_pairs
from rlhf_mini.worlds import stories

SAMPLES = 4  # answers a prompt, where a method does not say otherwise
TEMPERATURE = 1.0  # what is drawn is the policy itself, as the algebra of filtering asks
ENDS = (0.005, 0.995)  # the shares of the SFT model's rewards that lie below the scale's two ends
DRAWING = "chapter 09 training"  # what the random numbers of drawing and training are for


def budget(pipeline: Pipeline) -> int:
    """How many answers a run may draw: as many as the stage `ppo` draws."""
    return pipeline.profile.ppo.iterations * pipeline.profile.ppo.episodes


def drawing(pipeline: Pipeline, *, samples: int = SAMPLES) -> Drawing:
    """How all methods draw."""
    return Drawing(samples=samples, temperature=TEMPERATURE, max_new_tokens=pipeline.profile.max_new_tokens)


def rounds_of_prompts(
    pipeline: Pipeline, *, rounds: int, samples: int = SAMPLES, spent: int = 0
) -> PromptsOf:
    """The prompts of each round, from 1: fresh ones, the rounds' answers adding up to the budget.

    `spent`: answers that a run draws for another purpose, and pays for out of the same budget. Raises ValueError if
    that leaves a round without a prompt.
    """
    count = (budget(pipeline) - spent) // samples
    if count < rounds:
        raise ValueError(
            f"{budget(pipeline)} answers less {spent} are {max(count, 0)} prompts of {samples}: too few for {rounds} rounds"
        )
    asked = [
        request.text for request in stories.draw_requests(count, seed=pipeline.seed_for("chapter 09 prompts"))
    ]
    return lambda number: asked[count * (number - 1) // rounds : count * number // rounds]


def reward_of(pipeline: Pipeline) -> Callable[[Sequences], Tensor]:
    """The reward model as the judge of training, fixed from first to last."""
    model = pipeline.reward_model()
    return lambda sequences: scores(model, sequences)


def drawn_once(pipeline: Pipeline, folder: Path, *, samples: int) -> None:
    """A kept file: the whole budget drawn from the SFT model, and the rewards."""
    answers = draw_answers(
        pipeline.policy("sft"),
        pipeline.tokenizer(),
        rounds_of_prompts(pipeline, rounds=1, samples=samples)(1),
        reward_of(pipeline),
        config=drawing(pipeline, samples=samples),
        generator=pipeline.generator(DRAWING),
    )
    found = {"prompts": answers.prompts, "texts": answers.texts, "rewards": answers.rewards.tolist()}
    (folder / "answers.json").write_text(json.dumps(found))


def answers_of_sft(pipeline: Pipeline, *, samples: int = SAMPLES) -> Answers:
    """The whole budget, drawn from the SFT model at once: what the methods without rounds learn from."""
    found = json.loads((pipeline.kept(drawn_once, samples=samples) / "answers.json").read_text())
    return Answers(found["prompts"], found["texts"], torch.tensor(found["rewards"]))


def ends_of_scale(pipeline: Pipeline, *, by_prompt: bool = False) -> list[float]:
    """The two rewards beyond which almost none of the SFT model's lies; of rewards less their prompt's mean if `by_prompt`.

    They are read off the pairs on which the reward model was tested, answers of the SFT model that there were before:
    a method that needs the scale draws no answer more for it.
    """
    pairs = pack_pairs(pipeline.tokenizer(), pipeline.preferences("test"))
    rewards = torch.stack([reward_of(pipeline)(side) for side in (pairs.chosen, pairs.rejected)], dim=1)
    if by_prompt:
        rewards = rewards - rewards.mean(1, keepdim=True)
    return rewards.flatten().float().cpu().quantile(torch.tensor(ENDS)).tolist()


def reward_scale(pipeline: Pipeline, *, by_prompt: bool = False) -> RewardScale:
    """The scale of all thresholds, in every Grow of every run: 0 and 1 are the `ends_of_scale`."""
    if by_prompt:
        return PromptScale(*pipeline.measured(ends_of_scale, by_prompt=True))
    return RewardScale(*pipeline.measured(ends_of_scale))
