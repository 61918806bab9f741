"""PPO, the library's own, on a language so small that its optimum is known: π* ∝ π_ref exp(r/β)."""

import torch
from tokenizers import Tokenizer, models
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForTokenClassification, PreTrainedTokenizerFast

from rlhf_mini.batch import Rollout, Sequences
from rlhf_mini.exact import ToyLanguage, kl_divergence, kl_objective, kl_optimum
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.ppo import PPOConfig, ppo
from rlhf_mini.models import copy_of, freeze, token_logits
from rlhf_mini.pipeline import Pipeline

LANGUAGE = ToyLanguage(vocabulary=5, steps=3)
WORDS = ("<end>", "a", "b", "c", "d")  # "d" also fills up rows; masks tell the two apart
PENALTY = 0.5  # for an answer that does not end in time


def small_models(*, seed: int) -> tuple[LlamaForCausalLM, LlamaForTokenClassification]:
    """A policy and a value model over the language's five tokens, drawn at random."""
    settings = {
        "vocab_size": len(WORDS),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 8,
        "eos_token_id": 0,
        "bos_token_id": 0,
        "pad_token_id": None,  # every token is a word, and its embedding learns
        "tie_word_embeddings": False,
        "initializer_range": 0.1,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy = LlamaForCausalLM(LlamaConfig(**settings))
        values = LlamaForTokenClassification(LlamaConfig(**settings, num_labels=1, classifier_dropout=0.0))
    return policy.eval(), values.eval()


@torch.no_grad()
def exact_logp(model: LlamaForCausalLM) -> Tensor:
    """The log-probability of every text of the language, in nats."""
    return LANGUAGE.sequence_logp(
        lambda tokens: token_logits(model, tokens, torch.ones_like(tokens, dtype=torch.bool))
    )


def way_to_the_optimum(*, kl_weight: float, iterations: int, seed: int) -> dict[str, list[float]]:
    """PPO's distance from the optimum before every iteration and at the end, each a sum over all texts.

    `to_optimum` is KL(π ‖ π*) in nats; `objective` is E[r] − β KL(π ‖ π_ref), and `best` the most that it can be.
    """
    policy, values = small_models(seed=seed)
    reference = freeze(copy_of(policy))
    drawn = torch.randn(len(LANGUAGE.texts), generator=torch.Generator().manual_seed(seed)).tolist()
    told = dict(zip(LANGUAGE.texts, drawn, strict=True))
    start = exact_logp(reference)
    rewards = LANGUAGE.score(lambda text: told[text] - PENALTY * (text[-1] != LANGUAGE.end_token))
    optimum = kl_optimum(start, rewards, kl_weight=kl_weight)
    found: dict[str, list[float]] = {"to_optimum": [], "objective": [], "best": [float(optimum.value)]}

    def look() -> None:
        logp = exact_logp(policy)
        found["to_optimum"].append(float(kl_divergence(logp, optimum.logp)))
        found["objective"].append(float(kl_objective(logp, start, rewards, kl_weight=kl_weight)))

    def score(sequences: Sequences) -> Tensor:
        rows = zip(sequences.tokens, sequences.response, strict=True)
        return torch.tensor([told[tuple(tokens[response].tolist())] for tokens, response in rows])

    def on_rollout(iteration: int, rollout: Rollout, metrics: dict[str, float]) -> None:
        look()

    words = models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="a")
    ppo(
        policy,
        values,
        reference,
        score,
        PreTrainedTokenizerFast(tokenizer_object=Tokenizer(words), eos_token="<end>", pad_token="d"),
        [[0]],
        config=_settings(kl_weight=kl_weight, iterations=iterations),
        generator=torch.Generator().manual_seed(seed),
        on_rollout=on_rollout,
    )
    look()
    return found


def _settings(*, kl_weight: float, iterations: int) -> PPOConfig:
    return PPOConfig(
        iterations=iterations,
        episodes=256,
        minibatch=128,
        epochs=2,
        max_new_tokens=LANGUAGE.steps,
        kl_weight=kl_weight,
        missing_eos_penalty=PENALTY,
        value_weight=0.5,
        optimizer=OptimizerConfig(learning_rate=5e-3, final_fraction=0.0),
    )


def way_of_seed(pipeline: Pipeline, *, kl_weight: float, iterations: int) -> dict[str, list[float]]:
    """`way_to_the_optimum` on the pipeline's seed, to be kept."""
    return way_to_the_optimum(kl_weight=kl_weight, iterations=iterations, seed=pipeline.seed)
