"""The two methods that learn from their own answers, on a model of one's own: PPO and GRPO.

Each gives a `Work`, as the functions of `real.works` do.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_mini.batch import Sequences
from rlhf_mini.data.chat import draw
from rlhf_mini.data.tokenizer import decode_response
from rlhf_mini.data.verifiable import matches
from rlhf_mini.devices import autocast
from rlhf_mini.estimators import kl_k3
from rlhf_mini.methods.answers import Drawing
from rlhf_mini.methods.group_methods import grpo_method
from rlhf_mini.methods.grpo import GRPOConfig, grpo
from rlhf_mini.methods.ppo import PPOConfig, ppo, value_model_for
from rlhf_mini.methods.reward_model import scores
from rlhf_mini.methods.reward_parts import Part
from rlhf_mini.methods.rollouts import Score
from rlhf_mini.models import copy_of, freeze, response_logp
from rlhf_mini.real.planned import prepared
from rlhf_mini.real.settings import Settings
from rlhf_mini.real.works import Job, Numbers, Work
from rlhf_mini.tensors import masked_sum

RATIO_TOLERANCE = 0.05  # of bfloat16, whose sampling and scoring round differently


def ppo_against(job: Job, base: PreTrainedModel, reward_model: PreTrainedModel) -> Work:
    """PPO; measured by the reward of answers to held-out prompts and their KL to the reference, nats."""
    reference, model = freeze(copy_of(base)), prepared(base, job.settings)
    value_model = prepared(value_model_for(reward_model), job.settings, head=True)
    settings = job.settings

    def score(sequences: Sequences) -> Tensor:
        return scores(reward_model, sequences)

    def train() -> None:
        config = PPOConfig(
            iterations=job.steps,
            episodes=settings.batch,
            minibatch=settings.batch,
            epochs=1,
            max_new_tokens=settings.max_new_tokens,
            optimizer=settings.optimizer(job.method, steps=job.steps),
            kl_weight=settings.weight_for(job.method),
        )
        ppo(
            model,
            value_model,
            reference,
            score,
            job.tokenizer,
            job.rows.train,
            config=config,
            on_rollout=job.rollout,
            ratio_tolerance=_ratio_tolerance(settings),
            **job.common,
        )

    return Work(model, train, lambda: _judged(job, model, reference, score, "reward"))


def grpo_by_program(job: Job, base: PreTrainedModel) -> Work:
    """GRPO; measured by pass@1 on held-out problems, one answer each, and the KL to the reference, nats."""
    settings, beta = job.settings, job.settings.weight_for(job.method)
    reference = freeze(copy_of(base)) if beta > 0 else None
    model = prepared(base, settings)
    score = checked(job.tokenizer, job.rows.answers or {})

    def train() -> None:
        config = GRPOConfig(
            iterations=job.steps,
            prompts=settings.batch // settings.group,
            drawing=Drawing(samples=settings.group, temperature=1.0, max_new_tokens=settings.max_new_tokens),
            minibatch=settings.batch,
            epochs=1,
            optimizer=settings.optimizer(job.method, steps=job.steps),
            kl_weight=beta,
        )
        grpo(
            model,
            reference,
            job.tokenizer,
            job.rows.train,
            {"right": Part(score)},
            grpo_method(),
            config=config,
            on_groups=job.rollout,
            ratio_tolerance=_ratio_tolerance(settings),
            **job.common,
        )

    return Work(model, train, lambda: _judged(job, model, reference, score, "pass@1"))


def checked(
    tokenizer: PreTrainedTokenizerBase,
    answers: Mapping[tuple[int, ...], str],
    *,
    check: Callable[[str, str], bool] = matches,
) -> Score:
    """A score that is 1 where the answer in words states the right one, and 0 elsewhere; (B,).

    `answers` are by the prompt's tokens, so that it works under every chat template. Raises ValueError for a
    prompt that is none of them.
    """

    def score(sequences: Sequences) -> Tensor:
        verdicts = []
        rows = zip(
            sequences.tokens.tolist(), sequences.mask.tolist(), sequences.response.tolist(), strict=True
        )
        for tokens, real, drawn in rows:
            prompt = tuple(
                token
                for token, is_real, is_drawn in zip(tokens, real, drawn, strict=True)
                if is_real and not is_drawn
            )
            if prompt not in answers:
                raise ValueError(f"no right answer is known to the prompt {tokenizer.decode(prompt)!r:.60}")
            said = [token for token, is_drawn in zip(tokens, drawn, strict=True) if is_drawn]
            verdicts.append(float(check(decode_response(tokenizer, said), answers[prompt])))
        return torch.tensor(verdicts)

    return score


@torch.no_grad()
def _judged(
    job: Job, model: PreTrainedModel, reference: PreTrainedModel | None, score: Score, name: str
) -> Numbers:
    """The mean score of one answer to each held-out prompt, and how far the policy is from its reference."""
    totals, divergences, batch = [], [], job.settings.batch
    generator, prompts = job.generator, job.rows.held
    was_training = model.training
    model.eval()
    for start in range(0, len(prompts), batch):
        drawn = draw(
            model,
            job.tokenizer,
            prompts[start : start + batch],
            max_new_tokens=job.settings.max_new_tokens,
            generator=generator,
        )
        totals.append(score(Sequences(drawn.tokens, drawn.mask, drawn.response)).cpu())
        if reference is not None:
            with autocast(model.device):
                logp_ref = response_logp(reference, drawn.tokens, drawn.mask, drawn.response)
            divergences.append(masked_sum(kl_k3(drawn.logp, logp_ref), drawn.response, dim=1).cpu())
    model.train(was_training)
    numbers = {name: float(torch.cat(totals).mean())}
    if divergences:
        numbers["kl"] = float(torch.cat(divergences).mean())
    return numbers


def _ratio_tolerance(settings: Settings) -> float | None:
    rounded = settings.bf16 or settings.dtype is torch.bfloat16
    return RATIO_TOLERANCE if rounded else None
