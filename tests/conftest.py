"""Fixtures for all tests."""

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

import jaxtyping
import pytest

if TYPE_CHECKING:  # the fixtures import late what takes seconds to load and most tests do not need
    from rlhf_mini.pipeline import Pipeline
    from rlhf_mini.profiles import Profile


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Runs a test as users run the library: without the shape checks that the tests add to every signature.

    With them, a wrong shape stops at the signature, and the message that users see is never reached.
    """
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture(scope="session")
def miniature() -> "Profile":
    """The quick profile made so small that all stages build in seconds. Nothing is learned."""
    from rlhf_mini.loop import OptimizerConfig
    from rlhf_mini.methods.ppo import PPOConfig
    from rlhf_mini.methods.pretrain import PretrainConfig
    from rlhf_mini.methods.reward_model import RewardModelConfig
    from rlhf_mini.methods.sft import SFTConfig
    from rlhf_mini.profiles import QUICK

    quick = OptimizerConfig(learning_rate=1e-3)
    walk = {"iterations": 2, "episodes": 8, "minibatch": 4, "epochs": 1, "max_new_tokens": 12}
    return dataclasses.replace(
        QUICK,
        name="miniature",
        vocab_size=600,
        width=16,
        layers=1,
        heads=2,
        context=256,
        small_model={"width": 8, "layers": 1, "heads": 1},
        documents=64,
        demonstrations=32,
        pairs=40,
        test_pairs=16,
        test_prompts=12,
        best_of=16,
        pretrain=PretrainConfig(steps=4, batch=8, block=32, optimizer=quick),
        sft=SFTConfig(epochs=1, batch=8, optimizer=quick),
        reward_model=RewardModelConfig(epochs=1, batch=4, optimizer=quick),
        ppo=PPOConfig(kl_weight=0.05, optimizer=quick, **walk),
        ppo_without_kl=PPOConfig(kl_weight=0.0, optimizer=quick, **walk),
        text_model={"width": 8, "layers": 1, "heads": 1, "vocab_size": 300},
        text_pretrain=PretrainConfig(steps=3, batch=4, block=16, optimizer=quick),
    )


@pytest.fixture(scope="session")
def built(miniature: "Profile", tmp_path_factory: pytest.TempPathFactory) -> "Pipeline":
    """A pipeline of the miniature profile, all stages built. Its cache is shared: leave it whole."""
    from rlhf_mini.pipeline import STAGES, Pipeline

    pipeline = Pipeline(miniature, cache=tmp_path_factory.mktemp("cache"))
    for stage in STAGES:
        pipeline.get(stage)
    return pipeline
