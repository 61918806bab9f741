"""Methods that learn from what they wrote, and everything that judges or samples."""

import random
from collections.abc import Callable

import torch
from torch import Tensor, nn

from rlhf_mini.batch import Sequences
from rlhf_mini.losses import dpo_loss
from rlhf_mini.methods.answers import Answers
from rlhf_mini.methods.dpo import DPOConfig
from rlhf_mini.methods.sft import SFTConfig
from rlhf_mini.models import copy_of, freeze, sample
from tests.distributed.small import (
    ADAMW,
    ASKED,
    DRAWING,
    END,
    PAD,
    PROMPTS,
    Result,
    language_model,
    score,
    seeded,
    some_pairs,
    texts,
    tuned,
    word_tokenizer,
)


def asked(number: int) -> list[str]:
    return ASKED


def hindsight() -> Result:
    from rlhf_mini.methods.hir import HIRConfig, hir, relabel_whole

    def what_it_is(query: str, output: str) -> str:
        return "c" if "a" in output else "d"

    policy = language_model()
    log = hir(
        policy,
        word_tokenizer(),
        lambda number: [("c" if place % 2 else "d", word) for place, word in enumerate(ASKED)],
        relabel_whole(what_it_is, lambda given, fulfilled: "d" if fulfilled == "c" else "c"),
        ask=lambda instruction, query: f"{instruction} {query}",
        config=HIRConfig(rounds=2, epochs=1, batch=7, drawing=DRAWING, optimizer=ADAMW),
        generator=seeded(),
    )
    return log, {"policy": policy}


def reinforced_self_training() -> Result:
    from rlhf_mini.methods.rest import ReSTConfig, rest

    policy = language_model()
    config = ReSTConfig(grows=1, thresholds=(0.3, 0.5), drawing=DRAWING, sft=SFTConfig(**tuned()))
    log = rest(policy, word_tokenizer(), asked, score, config=config, generator=seeded())
    return log, {"policy": policy}


def ranked_fine_tuning() -> Result:
    from rlhf_mini.methods.raft import RAFTConfig, raft

    policy = language_model()
    config = RAFTConfig(iterations=2, drawing=DRAWING, sft=SFTConfig(epochs=1, batch=3, optimizer=ADAMW))
    return raft(policy, word_tokenizer(), asked, score, config=config, generator=seeded()), {"policy": policy}


def expert_rounds() -> Result:
    from rlhf_mini.methods.expert_iteration import ExpertIterationConfig, expert_iteration

    base = language_model()
    training = SFTConfig(epochs=2, batch=3, optimizer=ADAMW)
    config = ExpertIterationConfig(rounds=2, drawing=DRAWING, sft=training, threshold=0.0)
    policy, log = expert_iteration(
        base, copy_of(base), word_tokenizer(), asked, score, config=config, generator=seeded()
    )
    return log, {"policy": policy}


def rejecting() -> Result:
    from rlhf_mini.methods.rejection_sampling import RejectionSamplingConfig, rejection_sampling

    policy = language_model()
    config = RejectionSamplingConfig(
        samples=3, temperature=1.0, max_new_tokens=6, sft=SFTConfig(epochs=1, batch=3, optimizer=ADAMW)
    )
    chosen = rejection_sampling(policy, word_tokenizer(), ASKED, score, config=config, generator=seeded())
    return [{"words": float(len(text.split()))} for text in chosen.answers], {"policy": policy}


def ranked_answers() -> Result:
    from rlhf_mini.methods.rrhf import RRHFConfig, rrhf

    policy, rng = language_model(), random.Random(0)
    words = [[" ".join(rng.choices("abcd", k=rng.randint(1, 9))) for _ in range(3)] for _ in ASKED]
    answers = Answers(ASKED, words, torch.rand(len(ASKED), 3, generator=seeded()))
    config = RRHFConfig(epochs=1, batch=3, optimizer=ADAMW)
    return rrhf(policy, word_tokenizer(), answers, config=config, generator=seeded()), {"policy": policy}


def likelihood_calibration() -> Result:
    from rlhf_mini.methods.slic import SLiCConfig, slic

    policy = language_model()
    config = SLiCConfig(**tuned(), margin=2.0, target_weight=0.5)
    log = slic(policy, some_pairs(), texts(15, seed=7), config=config, generator=seeded())
    return log, {"policy": policy}


def online_preferences() -> Result:
    from rlhf_mini.methods.online_dpo import OnlineDPOConfig, online_dpo, prefer_higher

    policy = language_model()
    log = online_dpo(
        policy,
        freeze(language_model(1)),
        word_tokenizer(),
        ASKED,
        prefer_higher(score, word_tokenizer()),
        lambda pair: dpo_loss(*pair.log_ratios, kl_weight=0.3),
        config=OnlineDPOConfig(steps=3, batch=3, max_new_tokens=6, optimizer=ADAMW),
        generator=seeded(),
    )
    return log, {"policy": policy}


def best_against_worst() -> Result:
    from rlhf_mini.methods.best_worst_dpo import BestWorstConfig, best_worst_dpo

    policy = language_model()
    log = best_worst_dpo(
        policy,
        freeze(language_model(1)),
        word_tokenizer(),
        ASKED,
        score,
        lambda pair: dpo_loss(*pair.log_ratios, kl_weight=0.3),
        config=BestWorstConfig(episodes=2, prompts=5, drawing=DRAWING, batch=2, optimizer=ADAMW),
        generator=seeded(),
    )
    return log, {"policy": policy}


def rewarding_itself() -> Result:
    """The judge is the policy: how likely it finds "a" as the next word."""
    from rlhf_mini.data.chat import response_texts
    from rlhf_mini.methods.judge import LanguageJudge, choose
    from rlhf_mini.methods.self_rewarding import SelfRewardingConfig, self_rewarding

    policy, tokenizer = language_model(), word_tokenizer()

    def score_of(model: nn.Module) -> Callable[[Sequences], Tensor]:
        def judged(sequences: Sequences) -> Tensor:
            found = response_texts(tokenizer, sequences)
            questions = [f"a {text}" for text in found]
            return choose(LanguageJudge(model, tokenizer, batch=5), questions, choices=("a", "b")).logp[:, 0]

        return judged

    config = SelfRewardingConfig(
        rounds=2, drawing=DRAWING, dpo=DPOConfig(epochs=1, batch=3, optimizer=ADAMW), kl_weight=0.3
    )
    log = self_rewarding(policy, tokenizer, asked, score_of, config=config, generator=seeded())
    return log, {"policy": policy}


def judging() -> Result:
    """Choices of one token, read in one pass, and of several, read whole."""
    from rlhf_mini.methods.judge import LanguageJudge, choose

    judge = LanguageJudge(language_model(), word_tokenizer(), batch=5)
    logged = []
    for choices in (("a", "b", "c"), ("a b", "c")):
        found = choose(judge, ASKED, choices=choices)
        logged += [
            {"mass": float(mass), "first": float(logp)}
            for mass, logp in zip(found.mass, found.logp[:, 0], strict=True)
        ]
    return logged, {}


def sampling() -> Result:
    drawn = sample(
        language_model(),
        PROMPTS,
        max_new_tokens=8,
        temperature=1.2,
        top_k=4,
        top_p=0.95,
        stop_tokens=[END],
        pad_token=PAD,
        generator=seeded(),
    )
    return [
        {"tokens": float(sum(token * 7**place for place, token in enumerate(row))), "logp": float(logp)}
        for row, logp in zip(drawn.tokens.tolist(), drawn.logp.sum(1), strict=True)
    ], {}


def embeddings() -> Result:
    from rlhf_mini.data.selection import text_embeddings

    vectors = text_embeddings(language_model(), texts(7, seed=0), batch=3)
    return [{str(place): float(x) for place, x in enumerate(row)} for row in vectors], {}
