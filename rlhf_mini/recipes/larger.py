"""A language model much larger than the policy, as a reward model's start: how large, and how it is trained.

Pretraining costs a model of ten times the parameters ten times as much a step. It gets a quarter of the
profile's steps, because larger models learn more from each.
"""

import dataclasses
from typing import Any

from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.profiles import Profile

PRETRAINING_SHARE = 0.25  # of the profile's steps


def parameters(*, vocab_size: int, width: int, layers: int) -> int:
    """How many parameters `models.new_llama` has at this size."""
    inner = -(-8 * width // 96) * 32
    return vocab_size * width + layers * (4 * width**2 + 3 * width * inner + 2 * width) + width


def larger(profile: Profile, *, times: int) -> dict[str, Any]:
    """What a language model of `times` the policy's parameters or more changes of the profile; {} for 1.

    One layer more, and the smallest multiple of the width that suffices; heads keep their number of channels.
    Learning rates are divided by that multiple.
    """
    if times == 1:
        return {}
    own = parameters(vocab_size=profile.vocab_size, width=profile.width, layers=profile.layers)
    layers, k = profile.layers + 1, 1
    while parameters(vocab_size=profile.vocab_size, width=k * profile.width, layers=layers) < times * own:
        k += 1
    pretrain = dataclasses.replace(
        profile.pretrain,
        steps=max(1, round(PRETRAINING_SHARE * profile.pretrain.steps)),
        optimizer=slower(profile.pretrain.optimizer, 1 / k),
    )
    reward = dataclasses.replace(
        profile.reward_model, optimizer=slower(profile.reward_model.optimizer, 1 / k)
    )
    return {
        "width": k * profile.width,
        "layers": layers,
        "heads": k * profile.heads,
        "pretrain": pretrain,
        "reward_model": reward,
    }


def slower(optimizer: OptimizerConfig, rate: float) -> OptimizerConfig:
    """The same with its learning rate times `rate`."""
    return dataclasses.replace(optimizer, learning_rate=rate * optimizer.learning_rate)
