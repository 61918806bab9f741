"""The library's weighted fine-tuning on a small Llama, in the toy language: how near it lands to the exact filter."""

import torch

from rlhf_mini.batch import Sequences
from rlhf_mini.chapters.filtering.toy import ToyWorld, threshold_keeping
from rlhf_mini.chapters.toy_language import LANGUAGE, TEXTS, exact_logp, small_llama
from rlhf_mini.exact import filtered_optimum, kl_divergence
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.losses import threshold_weights
from rlhf_mini.methods.mixed_batches import fine_tune_mixed
from rlhf_mini.methods.sft import SFTConfig
from rlhf_mini.models import copy_of, freeze
from rlhf_mini.pipeline import Pipeline

SHARE = 0.5  # of the probability that is kept


def landing(pipeline: Pipeline, *, steps: int = 1000) -> dict[str, float]:
    """KL(exact filter ‖ π) in nats per text: of a small Llama that nobody trained, and after an Improve from there.

    Every step sees all texts, each at its probability under the start, or at 0 where its reward is too low: samples
    without noise. What is left is what the training and the model's size leave. `per_token` is how far the end would
    be if answers counted with their mean log-probability per token, and short ones more.
    """
    start, world = freeze(small_llama(pipeline.seed)), ToyWorld(pipeline.seed)
    logp = exact_logp(start)
    cut = threshold_keeping(logp, world.rewards, SHARE)
    target = filtered_optimum(logp, world.rewards, threshold=cut).logp
    weights = logp.exp() * threshold_weights(world.rewards, threshold=cut)
    policy = copy_of(start)
    optimizer = OptimizerConfig(learning_rate=1e-2, final_fraction=0.0)
    fine_tune_mixed(
        policy,
        Sequences(LANGUAGE.tokens, LANGUAGE.mask, LANGUAGE.response),
        config=SFTConfig(epochs=steps, batch=TEXTS, optimizer=optimizer),
        generator=torch.Generator().manual_seed(pipeline.seed),
        weights=weights.float(),
    )
    by_length = target - LANGUAGE.response.sum(1).log()
    return {
        "start": float(kl_divergence(target, logp)),
        "end": float(kl_divergence(target, exact_logp(policy))),
        "per_token": float(kl_divergence(target, by_length - by_length.logsumexp(0))),
    }
