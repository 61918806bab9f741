"""The library's DPO on a small Llama, in the toy language: how near it lands to the optimum that is known."""

import torch
from torch import Tensor

from rlhf_mini.batch import Pairs, Sequences
from rlhf_mini.chapters.direct.toy import ToyWorld
from rlhf_mini.chapters.toy_language import LANGUAGE, TEXTS, exact_logp, small_llama
from rlhf_mini.exact import kl_divergence, kl_optimum
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.losses import dpo_loss
from rlhf_mini.methods.dpo import Compared, DPOConfig, kept_reference, train_on_pairs
from rlhf_mini.models import copy_of, freeze
from rlhf_mini.pipeline import Pipeline

KL_WEIGHT = 1.0
APART = (1, 7, 29)  # places between two texts that are compared: every text is in six comparisons


def landing(pipeline: Pipeline, *, steps: int = 200) -> dict[str, float]:
    """KL to π* in nats per text: of a small Llama that nobody trained, and after DPO from there.

    Comparisons connect all texts, and each stands there in both orders, weighted with the probability that Bradley
    and Terry's model gives it: preferences without noise, of which every step sees all. What is left is what the
    training and the model's size leave. `half` is how far the optimum of half the β is from π*, for comparison.
    """
    start, world = freeze(small_llama(pipeline.seed)), ToyWorld(pipeline.seed)
    logp = exact_logp(start)
    best, half = (kl_optimum(logp, world.rewards, kl_weight=share * KL_WEIGHT).logp for share in (1, 0.5))
    pairs, chances = comparisons(world)

    def objective(pair: Compared) -> Tensor:
        return 2 * chances[pair.place] * dpo_loss(*pair.log_ratios, kl_weight=KL_WEIGHT)

    policy, kept = copy_of(start), kept_reference(start, pairs)
    optimizer = OptimizerConfig(learning_rate=1e-2, final_fraction=0.0)
    config = DPOConfig(epochs=steps, batch=len(pairs), optimizer=optimizer)
    generator = torch.Generator().manual_seed(pipeline.seed)
    train_on_pairs(policy, pairs, kept, objective, config=config, generator=generator)
    return {
        "start": float(kl_divergence(logp, best)),
        "end": float(kl_divergence(exact_logp(policy), best)),
        "half": float(kl_divergence(half, best)),
    }


def comparisons(world: ToyWorld) -> tuple[Pairs, Tensor]:
    """Every text with three others, in both orders, and the probability that the chosen one would be preferred."""
    places = torch.arange(TEXTS)
    first, second = places.repeat(len(APART)), torch.cat([places.roll(-apart) for apart in APART])
    chosen, rejected = torch.cat([first, second]), torch.cat([second, first])
    texts = Sequences(LANGUAGE.tokens, LANGUAGE.mask, LANGUAGE.response)
    return Pairs(texts.rows(chosen), texts.rows(rejected)), world.chances[chosen, rejected].float()
