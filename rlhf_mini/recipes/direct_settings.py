"""How the recipes that learn from pairs train: the size of a batch and the course of the learning rate."""

from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.dpo import DPOConfig
from rlhf_mini.pipeline import Pipeline

RATE = 3e-4  # the peak that chapter 7 found for DPO


def direct_settings(
    pipeline: Pipeline, *, rate: float = RATE, epochs: int = 1, share: float = 1.0
) -> DPOConfig:
    """Passes over the pairs in `share` of the profile's batch of pairs; the rate decays to a twentieth."""
    optimizer = OptimizerConfig(learning_rate=rate, warmup_steps=5, final_fraction=0.05)
    batch = max(1, round(share * pipeline.profile.reward_model.batch))
    return DPOConfig(epochs=epochs, batch=batch, optimizer=optimizer)
