"""Every number of every run, in one table: how large the models are, how long they train, on how much data.

`quick` is for two CPU cores and minutes; `full` for one GPU. The environment variable RLHF_MINI_PROFILE
chooses, else `full` where there is CUDA and `quick` elsewhere.
"""

import dataclasses
import os
from dataclasses import dataclass
from typing import Any

import torch

from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.ppo import PPOConfig
from rlhf_mini.methods.pretrain import PretrainConfig
from rlhf_mini.methods.reward_model import RewardModelConfig
from rlhf_mini.methods.sft import SFTConfig

ENVIRONMENT_VARIABLE = "RLHF_MINI_PROFILE"
MAX_NEW_TOKENS = 110

# For about a megabyte of a reader's own text, on any machine: ten passes over it, by whose end a model of
# this size begins to learn it by heart.
TEXT_MODEL = {"width": 128, "layers": 4, "heads": 4, "vocab_size": 1024}
TEXT_PRETRAIN = PretrainConfig(
    steps=1000,
    batch=32,
    block=128,
    optimizer=OptimizerConfig(learning_rate=4e-3, weight_decay=0.3, warmup_steps=100, final_fraction=0.02),
)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One column of the table. Counts are of texts, prompts or pairs; `context` is in tokens."""

    name: str
    # the model
    vocab_size: int
    width: int
    layers: int
    heads: int
    context: int
    small_model: dict[str, Any]  # what a smaller model changes of these, for comparisons of size
    # the data
    documents: int
    demonstrations: int
    pairs: int
    test_pairs: int
    test_prompts: int
    best_of: int
    max_new_tokens: int  # the longest answer, in PPO and in every evaluation
    # the stages
    pretrain: PretrainConfig
    sft: SFTConfig
    reward_model: RewardModelConfig
    ppo: PPOConfig
    ppo_without_kl: PPOConfig  # the same settings but for the KL weight

    # pretraining on a reader's own text instead of the stories: what changes
    text_model: dict[str, Any]
    text_pretrain: PretrainConfig

    def for_text(self) -> "Profile":
        """The same profile with the model and the training that suit a megabyte of real text."""
        return dataclasses.replace(self, **self.text_model, pretrain=self.text_pretrain)


QUICK_PPO = PPOConfig(
    iterations=40,
    episodes=128,
    minibatch=64,
    epochs=1,
    max_new_tokens=MAX_NEW_TOKENS,
    gae_lambda=1.0,
    kl_weight=0.05,
    optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=5),
)

QUICK = Profile(
    name="quick",
    vocab_size=1024,
    width=128,
    layers=2,
    heads=4,
    context=256,
    small_model={"width": 32, "layers": 1, "heads": 2},
    documents=20_000,
    demonstrations=4_000,
    pairs=8_000,
    test_pairs=1_000,
    test_prompts=256,
    best_of=64,
    max_new_tokens=MAX_NEW_TOKENS,
    pretrain=PretrainConfig(
        steps=1200,
        batch=24,
        block=96,
        optimizer=OptimizerConfig(learning_rate=6e-3, warmup_steps=50, final_fraction=0.05),
    ),
    sft=SFTConfig(
        epochs=2,
        batch=32,
        optimizer=OptimizerConfig(learning_rate=2e-3, warmup_steps=20, final_fraction=0.05),
    ),
    reward_model=RewardModelConfig(
        epochs=1,
        batch=32,
        optimizer=OptimizerConfig(learning_rate=3e-3, warmup_steps=20, final_fraction=0.05),
    ),
    ppo=QUICK_PPO,
    ppo_without_kl=dataclasses.replace(QUICK_PPO, kl_weight=0.0),
    text_model=TEXT_MODEL,
    text_pretrain=TEXT_PRETRAIN,
)

FULL_PPO = PPOConfig(
    iterations=200,
    episodes=512,
    minibatch=256,
    epochs=1,
    max_new_tokens=MAX_NEW_TOKENS,
    gae_lambda=1.0,
    kl_weight=0.05,
    optimizer=OptimizerConfig(learning_rate=2e-4, warmup_steps=8),
)

FULL = Profile(
    name="full",
    vocab_size=1024,
    width=256,
    layers=4,
    heads=4,
    context=256,
    small_model={"width": 64, "layers": 2, "heads": 2},
    documents=200_000,
    demonstrations=8_000,
    pairs=20_000,
    test_pairs=4_000,
    test_prompts=1_024,
    best_of=256,
    max_new_tokens=MAX_NEW_TOKENS,
    pretrain=PretrainConfig(
        steps=6_000,
        batch=64,
        block=128,
        optimizer=OptimizerConfig(learning_rate=2e-3, warmup_steps=100, final_fraction=0.05),
    ),
    sft=SFTConfig(
        epochs=2,
        batch=64,
        optimizer=OptimizerConfig(learning_rate=5e-4, warmup_steps=20, final_fraction=0.05),
    ),
    reward_model=RewardModelConfig(
        epochs=1,
        batch=64,
        optimizer=OptimizerConfig(learning_rate=3e-4, warmup_steps=20, final_fraction=0.05),
    ),
    ppo=FULL_PPO,
    ppo_without_kl=dataclasses.replace(FULL_PPO, kl_weight=0.0),
    text_model=TEXT_MODEL,
    text_pretrain=TEXT_PRETRAIN,
)

PROFILES = {profile.name: profile for profile in (QUICK, FULL)}


def pick_profile(name: str | None = None) -> Profile:
    """The profile of this name; without one, RLHF_MINI_PROFILE, else `full` on CUDA and `quick` elsewhere.

    Raises ValueError on an unknown name, listing the known ones.

    >>> pick_profile("quick").layers
    2
    """
    name = name or os.environ.get(ENVIRONMENT_VARIABLE) or ("full" if torch.cuda.is_available() else "quick")
    if name not in PROFILES:
        raise ValueError(f"unknown profile {name!r}: choose one of {', '.join(PROFILES)}")
    return PROFILES[name]
