"""InstructGPT: a start that has practised its pretraining text, rankings of K answers, and PPO-ptx.

The start is fine-tuned from the base with a tenth of pretraining text, and is the KL's reference too; it is
not the SFT model. The reward model learns from all pairs of a prompt at once, and its scores are shifted so
that demonstrations are at 0.
"""

import json
from dataclasses import replace
from pathlib import Path

from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedModel

from rlhf_mini.batch import Rankings, Sequences
from rlhf_mini.data.chat import answer, pack_texts
from rlhf_mini.methods.centred_scores import centre
from rlhf_mini.methods.ppo import ppo, value_model_for
from rlhf_mini.methods.pretrain import pack_documents
from rlhf_mini.methods.pretraining_mix import pretraining_mix
from rlhf_mini.methods.rehearsal import RehearsalConfig, sft_with_rehearsal
from rlhf_mini.methods.reward_model import scores, train_on_rankings
from rlhf_mini.models import copy_of, freeze, new_reward_model
from rlhf_mini.models.moving_average import MovingAverage, decay_for
from rlhf_mini.pipeline import Pipeline, prompts_for_ppo
from rlhf_mini.recipes.recipe import Recipe
from rlhf_mini.worlds import stories

K = 4  # answers a prompt
PRACTISED = 4096  # documents, the first of the pretraining text


def demonstrated(pipeline: Pipeline) -> Sequences:
    """The demonstrations that the stage `sft` learned from."""
    count, seed = pipeline.profile.demonstrations, pipeline.seed_for("demonstrations")
    rows = stories.demonstrations(count, seed=seed)
    return pack_texts(pipeline.tokenizer(), [r["prompt"] for r in rows], [r["completion"] for r in rows])


def practised(pipeline: Pipeline) -> Sequences:
    """The first documents of the pretraining text."""
    rng, count = pipeline.rng("documents"), min(pipeline.profile.documents, PRACTISED)
    return pack_documents(pipeline.tokenizer(), [stories.draw_document(rng) for _ in range(count)])


def start(pipeline: Pipeline, folder: Path, *, rehearsed: float) -> None:
    """Kept: the base, fine-tuned on demonstrations; of all it reads, `rehearsed` is pretraining text."""
    config, odds = pipeline.profile.sft, rehearsed / (1 - rehearsed)
    model = copy_of(pipeline.policy("base"))
    sft_with_rehearsal(
        model,
        demonstrated(pipeline),
        practised(pipeline),
        config=config,
        rehearsal=RehearsalConfig(
            documents_per_step=max(1, round(odds * config.batch)), document_weight=odds
        ),
        generator=pipeline.generator("sft"),
    )
    model.save_pretrained(folder)


def rankings(pipeline: Pipeline, folder: Path) -> None:
    """Kept: K answers of the SFT model to each of some prompts, the best first; one person ranks a prompt's.

    As many answers as the stage `preferences` has.
    """
    seed, rng = pipeline.seed_for("InstructGPT rankings"), pipeline.rng("InstructGPT rankers")
    prompts = [one.text for one in stories.draw_requests(2 * pipeline.profile.pairs // K, seed=seed)]
    texts = answer(
        pipeline.policy("sft"),
        pipeline.tokenizer(),
        [prompt for prompt in prompts for _ in range(K)],
        max_new_tokens=pipeline.profile.max_new_tokens,
        generator=pipeline.generator("InstructGPT rankings"),
    )
    rows = []
    for place, prompt in enumerate(prompts):
        answers = texts[K * place : K * (place + 1)]
        order = rng.choice(stories.PANEL).rank(prompt, answers, rng)
        rows.append({"prompt": prompt, "answers": [answers[one] for one in order]})
    (folder / "rows.json").write_text(json.dumps(rows))


def ranked(pipeline: Pipeline) -> Rankings:
    """The rows of `rankings`, packed."""
    rows = json.loads((pipeline.kept(rankings) / "rows.json").read_text())
    prompts = [row["prompt"] for row in rows for _ in range(K)]
    texts = [text for row in rows for text in row["answers"]]
    return Rankings(pack_texts(pipeline.tokenizer(), prompts, texts), K)


def reward_model(pipeline: Pipeline, folder: Path) -> None:
    """Kept: a reward model on the rankings, one pass, as many answers a batch as the stage has."""
    usual = pipeline.profile.reward_model
    model = new_reward_model(pipeline.policy("sft"), seed=pipeline.seed).requires_grad_(True)
    train_on_rankings(
        model,
        ranked(pipeline),
        config=replace(usual, epochs=1, batch=max(1, 2 * usual.batch // K)),
        generator=pipeline.generator("reward_model"),
    )
    centre(model, demonstrated(pipeline))
    model.save_pretrained(folder)


def start_of(pipeline: Pipeline, *, rehearsed: float) -> PreTrainedModel:
    """The kept start, frozen."""
    folder = pipeline.kept(start, rehearsed=rehearsed)
    return freeze(AutoModelForCausalLM.from_pretrained(folder)).to(pipeline.device)


def reward_model_of(pipeline: Pipeline) -> PreTrainedModel:
    """The kept reward model, frozen."""
    folder = pipeline.kept(reward_model)
    return freeze(AutoModelForSequenceClassification.from_pretrained(folder)).to(pipeline.device)


def train(
    pipeline: Pipeline,
    folder: Path,
    *,
    gamma: float,
    kl_weight: float,
    documents: int,
    rehearsed: float,
    remembered: float,
) -> None:
    """The start, PPO-ptx from it, and the average of its weights.

    - `gamma`: weight of the pretraining loss, on `documents` documents a minibatch; 0 is PPO without it.
    - `kl_weight`: of the KL to the start, in the reward model's own unit, log-odds a nat.
    - `rehearsed`: share of pretraining text in the start; `remembered`: share of the run in the average.
    """
    reward, reference = reward_model_of(pipeline), start_of(pipeline, rehearsed=rehearsed)
    policy, config = copy_of(reference), replace(pipeline.profile.ppo, kl_weight=kl_weight)
    average = MovingAverage(policy, decay=decay_for(config.steps, share=remembered))
    prompts, add_gold = prompts_for_ppo(pipeline)
    mix = None
    if gamma:
        mix = pretraining_mix(
            policy,
            practised(pipeline),
            config=RehearsalConfig(documents_per_step=documents, document_weight=gamma),
            generator=pipeline.generator("pretraining mix"),
        )
    log = ppo(
        policy,
        value_model_for(reward).requires_grad_(True),
        reference,
        lambda sequences: scores(reward, sequences),
        pipeline.tokenizer(),
        prompts,
        config=config,
        generator=pipeline.generator("ppo"),
        hooks=[average],
        on_rollout=add_gold,
        auxiliary=mix,
    )
    for model, step in zip((reference, policy, average.average), RECIPE.steps, strict=True):
        model.save_pretrained(folder / step)
    (folder / "log.json").write_text(json.dumps(log))


RECIPE = Recipe(
    name="instructgpt",
    title="InstructGPT",
    year=2022,
    report="Ouyang et al., Training language models to follow instructions with human feedback",
    address="https://arxiv.org/abs/2203.02155",
    data=(
        "12,725 prompts with demonstrations, 33,207 with 4 to 9 ranked answers, 31,144 for PPO; about 40 "
        "contractors"
    ),
    reward=(
        "One 6B model; all pairs of a prompt in one batch element, 1 epoch; shifted so that demonstrations "
        "have mean 0"
    ),
    optimiser=(
        "PPO with pretraining gradients (PPO-ptx); 256k episodes, batch 512, minibatch 64, 1 inner epoch, "
        "clip 0.2"
    ),
    anchor=(
        "Per-token KL, β 0.02, to a start with 10% pretraining data; γ 27.8; average of weights, decay 0.992"
    ),
    rounds="Number not stated; most comparisons are of supervised policies, some of PPO policies",
    reported=(
        "175B preferred to 175B GPT-3 on 85 ± 3%, to few-shot GPT-3 on 71 ± 4% (§4.1)",
        "The 1.3B model preferred to 175B GPT-3 (abstract)",
        "Reward model right on 72.4 ± 0.4% for its own labellers, 69.6 ± 0.9% for held-out ones (§4.1)",
    ),
    left_out=(
        "The final policies' learning rates: the ranges that were scanned are printed",
        "λ of the advantage estimate, weight and clipping of the value loss, whether anything is whitened",
        "The number of comparisons, and which models wrote the ranked answers in what shares",
        "Tokens in a pretraining example, and over what the expectation of γ's term is averaged",
        "What an answer scores that is cut off at its longest length",
    ),
    set_right=(
        (
            "KL is not measured from the SFT model of 16 epochs but from a start of 2 epochs with 10% "
            "pretraining data (C.3, C.4)"
        ),
        (
            "The final reward model starts from a 6B GPT-3 tuned on public NLP data, not from SFT as §3.5 "
            "has it (C.2)"
        ),
        "The reward is no 'difference measure', and the ranking loss has no margin (eqs. 1 and 2)",
        "That a larger β does not cure the regressions was found with KL to the pretrained model (E.6)",
        "Of the reward model the unembedding layer is removed, not a 'non-embedding layer' (§3.5)",
    ),
    train=train,
    steps=("start", "last weights", "averaged weights"),
    settings={"gamma": 1.0, "kl_weight": 0.02, "documents": 16, "rehearsed": 0.1, "remembered": 1 / 32},
    variants={
        "without pretraining gradients": {"gamma": 0.0},
        "ten times the KL instead": {"gamma": 0.0, "kl_weight": 0.2},
    },
    departures=(
        "K is 4 for every prompt: a batch of rankings has one K",
        "All ranked answers are the SFT model's: the shares of other policies are not stated",
        "The reward model starts from the SFT model; the report found other starts similar (C.2)",
        (
            "γ is 1 on 16 documents a minibatch, as in one run of the chapter on PPO: the report's "
            "number depends on units not stated"
        ),
        (
            "The average remembers 1/32 of the run, as 125 of some 4,000 updates do, and is taken after "
            "every update"
        ),
        "warm-up, minibatches and advantage estimate are those of the stage `ppo`",
    ),
)
