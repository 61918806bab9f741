"""GPT-4: RLHF with a rubric-based reward (RBRM) on a subset of prompts, whose weight is computed.

A classifier reads the answer by a rubric: on unkind requests a polite refusal is worth something, and on kind
requests that look unkind a story is. Some labels that contradict the rubric are rewritten, and the rubric's
weight is computed (`gpt4_stages`).
"""

import json
from pathlib import Path

from rlhf_mini.chapters.rlaif import schooling
from rlhf_mini.methods.ppo import ppo, value_model_for
from rlhf_mini.methods.reward_model import scores
from rlhf_mini.methods.rubric_reward import with_rate
from rlhf_mini.models import copy_of
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.recipes.asked import asked, usual_requests
from rlhf_mini.recipes.gpt4_stages import computed, models_of, rate_of
from rlhf_mini.recipes.recipe import Recipe
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories.boundary import boundary_of

RED_TEAM = 1000  # prompts besides the pipeline's prompts of PPO


def train(
    pipeline: Pipeline,
    folder: Path,
    *,
    weight: float | None,
    rewritten: float,
    boundary: bool,
    share: float,
    evasions: bool,
) -> None:
    """The start, and PPO from it with the reward model and the rubric; the weight is written beside them.

    - `weight`: the rubric's; None computes it, for `share` of the comparisons, among them, with `evasions`,
      some with a harmless story that evades an unkind request.
    - `rewritten`: share of the conflicting labels that are exchanged.
    - `boundary`: whether kind neighbours of the red-team requests are asked too; the rubric rewards stories.
    """
    reference, reward = models_of(pipeline, rewritten=rewritten)
    if weight is None:
        told = pipeline.measured(
            computed, rewritten=rewritten, boundary=boundary, share=share, evasions=evasions
        )
        weight = float(told["weight"])
    red_team = schooling.requests_for(pipeline, "PPO", rows="red team", count=RED_TEAM)
    neighbours = [boundary_of(stories.read_request(text)).text for text in red_team] if boundary else []
    usual = [one.text for one in usual_requests(pipeline)]
    prompts, add_gold = asked(pipeline, [*usual, *red_team, *neighbours])
    policy = copy_of(reference)
    log = ppo(
        policy,
        value_model_for(reward).requires_grad_(True),
        reference,
        with_rate(
            lambda sequences: scores(reward, sequences),
            rate_of(pipeline, kind={*neighbours}),
            pipeline.tokenizer(),
            weight=weight,
        ),
        pipeline.tokenizer(),
        prompts,
        config=pipeline.profile.ppo,
        generator=pipeline.generator("ppo"),
        on_rollout=add_gold,
    )
    for model, step in zip((reference, policy), RECIPE.steps, strict=True):
        model.save_pretrained(folder / step)
    (folder / "log.json").write_text(json.dumps(log))
    (folder / "weight.json").write_text(json.dumps(weight))


RECIPE = Recipe(
    name="gpt4",
    title="GPT-4",
    year=2023,
    report="OpenAI, GPT-4 Technical Report, with its System Card (§3.1)",
    address="https://arxiv.org/abs/2303.08774",
    data=(
        "Demonstrations and rankings by InstructGPT's methods; RBRM prompts from traffic, red teams, "
        "synthesis; no sizes"
    ),
    reward=(
        "A model of the average labeller's preference, and on a subset of prompts a zero-shot GPT-4 "
        "classifier with a rubric"
    ),
    optimiser="PPO; no hyperparameter stated",
    anchor="Not stated",
    rounds="Not stated",
    reported=(
        (
            "82% fewer answers to requests for disallowed content than GPT-3.5, of all measures together "
            "(System Card §3.1)"
        ),
        "Toxic generations 0.73%, GPT-3.5 6.48% (RealToxicityPrompts, System Card §3.1)",
        "Exam questions right: 73.7% before RLHF, 74.0% after (App. B)",
    ),
    left_out=(
        "Every size and every hyperparameter, the reward model's loss and the KL",
        "The rubric's weights and how they were computed, and what each class is worth",
        "On what share of the prompts the rubric is asked, and how many labels were rewritten",
        "What each of the measures did alone",
    ),
    set_right=(
        "The 82% are credited to a combination of measures, not to RBRMs",
        "A rule-based reward model is a language model that reads a rubric, not a program of rules",
        "It is added to the reward model on a subset of the prompts and does not replace it",
        "Four classes are the text's example; one printed rubric has classes (A) to (R)",
        "Fitted linear weights belong to a later paper on rule-based rewards (Mu et al. 2024), not to GPT-4",
    ),
    train=train,
    steps=("refusals shown", "rewarded by rubric"),
    settings={"weight": None, "rewritten": 0.5, "boundary": True, "share": 0.9, "evasions": True},
    variants={
        "without the rubric": {"weight": 0.0, "rewritten": 0.0},
        "weighed without evasions": {"evasions": False},
        "without boundary prompts": {"boundary": False},
    },
    departures=(
        "Our classifier was schooled in the rubric: a model of this size knows nothing of it unasked",
        "A class's worth is its mean under the classifier's probabilities, not that of the class picked",
        (
            "Our people are told to look at helpfulness alone, so that the reward model has an undesired "
            "preference to overcome"
        ),
        (
            "How weights are computed is not stated: ours is the smallest that decides nine in ten "
            "comparisons of one request, those with harmless evasions of an unkind one among them"
        ),
        "Half of the labels that contradict the rubric are exchanged; the report rewrites some",
        "Boundary requests are made by taking the unkind deed out, where the report lets a model rewrite",
        "Pairs in place of rankings of several answers, and no pairs on invented facts",
    ),
)
