"""Claude 3: constitutional AI, as the paper of 2022 has it; the model card of 2024 prints no recipe.

First the base model learns the revisions of all steps, with answers to kind requests. Then a preference model
learns a judge's soft labels on harmlessness, under a principle drawn for each pair, mixed with people's
labels on helpfulness, and PPO follows.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path

from transformers import AutoModelForCausalLM, PreTrainedModel

from rlhf_mini.chapters.rlaif import feedback_runs, phase_one, phase_two, schooling
from rlhf_mini.chapters.rlaif.judges import ask_of
from rlhf_mini.data.chat import answer, pack_texts
from rlhf_mini.methods.constitution import all_revisions, last_revisions
from rlhf_mini.methods.ppo import ppo
from rlhf_mini.methods.rejection_sampling import Chosen, pooled
from rlhf_mini.methods.sft import sft
from rlhf_mini.methods.soft_labels import Labelled, label, mixed
from rlhf_mini.models import copy_of, freeze
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.recipes.asked import asked, usual_requests
from rlhf_mini.recipes.recipe import Recipe
from rlhf_mini.worlds.stories.principles import HARMLESSNESS

LEARNED = {"all": all_revisions, "last": last_revisions}
WORDINGS = tuple(wording for principle in HARMLESSNESS for wording in principle.wordings)


def label_count(pipeline: Pipeline) -> int:
    """How many labels the preference model learns from: three for four of the profile's pairs."""
    return 3 * pipeline.profile.pairs // 4


def revised(pipeline: Pipeline, folder: Path, *, revisions: str) -> None:
    """Kept: the base, fine-tuned on `all` revisions of unkind answers or the `last`, and on kind answers.

    Raises ValueError for other revisions.
    """
    if revisions not in LEARNED:
        raise ValueError(f"revisions must be one of {', '.join(LEARNED)}, got {revisions!r}")
    found = phase_one.read_revised(pipeline.kept(phase_one.revised))
    kind = Chosen(**json.loads((pipeline.kept(phase_one.kind_answers) / "answers.json").read_text()))
    both = pooled([LEARNED[revisions](found), kind])
    model = copy_of(pipeline.policy("base"))
    sft(
        model,
        pack_texts(pipeline.tokenizer(), both.prompts, both.answers),
        config=pipeline.profile.sft,
        generator=pipeline.generator("sft"),
    )
    model.save_pretrained(folder)


def revised_of(pipeline: Pipeline, *, revisions: str) -> PreTrainedModel:
    """The policy of the first phase, frozen."""
    folder = pipeline.kept(revised, revisions=revisions)
    return freeze(AutoModelForCausalLM.from_pretrained(folder)).to(pipeline.device)


def judged(pipeline: Pipeline, folder: Path, *, revisions: str) -> None:
    """Kept: the judge's labels on answers to red-team requests, one the first phase's, one the helper's.

    Half as many as there are labels in all. Each pair is judged under a wording of a principle drawn for it.
    """
    count = label_count(pipeline) // 2
    prompts = schooling.requests_for(pipeline, "compared", rows="red team", count=count)
    generator = pipeline.generator("Claude 3 compared answers")
    length = pipeline.profile.max_new_tokens
    first, second = (
        answer(model, pipeline.tokenizer(), prompts, max_new_tokens=length, generator=generator)
        for model in (revised_of(pipeline, revisions=revisions), phase_one.helper(pipeline))
    )
    rng = pipeline.rng("Claude 3 drawn principles")
    labels = label(ask_of(pipeline), prompts, first, second, principles=WORDINGS, rng=rng)
    (folder / "labels.json").write_text(json.dumps([asdict(one) for one in labels]))


def labels_of(pipeline: Pipeline, *, revisions: str, people_share: float) -> list[Labelled]:
    """The judge's labels on harmlessness and people's on helpfulness, as many in all whatever people's share.

    At a share of 1 nobody is asked about harmlessness; the share must be ½ or 1.
    """
    if people_share not in (0.5, 1.0):
        raise ValueError(f"people_share must be 0.5 or 1, got {people_share}: the judge labels half")
    kept: list[dict] = []
    if people_share < 1:
        kept = json.loads((pipeline.kept(judged, revisions=revisions) / "labels.json").read_text())
    peoples = round(people_share * label_count(pipeline))
    return mixed(
        [Labelled(**row) for row in kept],
        phase_two.by_people(pipeline)[:peoples],
        people_share=people_share,
        rng=pipeline.rng("Claude 3 mixed labels"),
    )


def train(pipeline: Pipeline, folder: Path, *, revisions: str, people_share: float, kl_weight: float) -> None:
    """The policy of the first phase, and that of the second, PPO from it with KL to it.

    - `revisions`: what the first phase learns, `all` or the `last` of each answer.
    - `people_share`: of the preference model's labels; at 1 there are no labels of the judge.
    """
    start = revised_of(pipeline, revisions=revisions)
    labels = labels_of(pipeline, revisions=revisions, people_share=people_share)
    preference_model = freeze(feedback_runs.train_on_labels(pipeline, start, labels))
    begin, policy = feedback_runs.start_with(start, preference_model), copy_of(start)
    usual = [one.text for one in usual_requests(pipeline)]
    red_team = schooling.requests_for(pipeline, "PPO", rows="red team", count=phase_two.RED_TEAM_PROMPTS)
    prompts, add_gold = asked(pipeline, [*usual, *red_team])
    log = ppo(
        policy,
        begin.value_model,
        start,
        begin.score,
        pipeline.tokenizer(),
        prompts,
        config=replace(pipeline.profile.ppo, kl_weight=kl_weight),
        generator=pipeline.generator("ppo"),
        on_rollout=add_gold,
    )
    for model, step in zip((start, policy), RECIPE.steps, strict=True):
        model.save_pretrained(folder / step)
    preference_model.save_pretrained(folder / "preference model")
    (folder / "log.json").write_text(json.dumps(log))


RECIPE = Recipe(
    name="claude3",
    title="Claude 3",
    year=2024,
    report=(
        "Anthropic, The Claude 3 Model Family (model card); method: Bai et al. 2022, Constitutional AI (CAI)"
    ),
    address="https://arxiv.org/abs/2212.08073",
    data=(
        "Not stated; in CAI 182,831 red-team prompts with 4 revisions each, and 135,296 helpfulness "
        "comparisons by people"
    ),
    reward=(
        "Rules and principles specified during RL; in CAI a preference model on a judge's soft labels and "
        "on people's"
    ),
    optimiser=(
        "Not stated; in CAI RL from the fine-tuned model with the settings of Bai et al. 2022, arXiv "
        "2204.05862"
    ),
    anchor="Not stated; in CAI also helpfulness samples in the first phase",
    rounds="Not stated; in CAI one pass of two phases",
    reported=(
        "Wrong refusals on XSTest: 35.1% by Claude 2.1, 9% by Claude 3 Opus (§5.4)",
        (
            "CAI: the model trained with RL is found more harmless than RLHF and than its own first phase, "
            "by Elo (§4.3)"
        ),
    ),
    left_out=(
        "Of Claude 3: sizes, preference model, algorithm of reinforcement learning, KL and rounds",
        "Whether Claude 3 had a phase of critique and revision: the card speaks of reinforcement learning",
        "How much the constitution does and how much people's feedback does",
    ),
    set_right=(
        (
            "Constitutional AI is of 2022, not of Claude 3; the card adds one principle, on people with "
            "disabilities (§2.6)"
        ),
        "The 182,831 prompts are CAI's; the card prints no size",
        "No person says whether a critique is good, but helpfulness is labelled by people (CAI §4.2)",
        "The first phase learns the revisions of all steps, not the last ones (CAI §3.1)",
        "More principles gave no significantly better harmlessness score (CAI §3.4)",
        "The card credits fewer wrong refusals to targeted improvements, not to the constitution (§5.4)",
    ),
    train=train,
    steps=("revisions learned", "judged by principles"),
    settings={"revisions": "all", "people_share": 0.5, "kl_weight": phase_two.KL_WEIGHT},
    variants={
        "without the judge's labels": {"people_share": 1.0},
        "last revisions only": {"revisions": "last"},
    },
    departures=(
        (
            "Two principles of harmlessness in two wordings each, drawn pair by pair, where CAI has 16 "
            "principles"
        ),
        (
            "A pair is an answer of the first phase's policy and one of the helper: the former alone "
            "declines most requests"
        ),
        "Our judge was schooled in such judgements, where the paper asks a pretrained model with examples",
        (
            "Critiques and revisions are asked without worked examples, by a helper that was taught to "
            "write them"
        ),
        (
            "Two passes and the rate of the stage `sft`, where the paper has one pass and half the "
            "pretraining rate"
        ),
        "One answer to each kind request, where the paper has two",
    ),
)
