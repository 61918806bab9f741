"""The ablation: which detail is done otherwise in which run, in the order of the chapter's table."""

from dataclasses import dataclass, field
from typing import Any

from rlhf_mini.chapters.ppo.details import varied
from rlhf_mini.chapters.ppo.mismatch import mismatched
from rlhf_mini.chapters.ppo.sign import wrong_sign
from rlhf_mini.chapters.ppo.starling import critic_first, priced_length, shifted_scores
from rlhf_mini.chapters.ppo.tax import with_pretraining_mix
from rlhf_mini.pipeline import Pipeline

OURS, CONTROL = "ours", "control"
TARGET = {"kl_target": 6.0, "kl_horizon": 400}  # Ziegler et al.'s horizon of 10,000 is longer than a run here


@dataclass(frozen=True)
class Variant:
    """One row: what is varied, how this run differs, and the experiment with its settings."""

    group: str
    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    experiment: Any = varied

    @property
    def title(self) -> str:
        """Its name in the table, with what is varied before it."""
        return f"{self.group}: {self.name}" if self.group else self.name

    def measured(self, pipeline: Pipeline) -> dict[str, Any]:
        """The run's `runs.outcome`; measured once and kept."""
        return pipeline.measured(self.experiment, **self.settings)


def _config(group: str, name: str, **fields: Any) -> Variant:
    return Variant(group, name, {"config": fields})


def _part(group: str, name: str, *, config: dict[str, Any] | None = None, **parts: Any) -> Variant:
    return Variant(group, name, {"parts": parts, **({"config": config} if config else {})})


VARIANTS = (
    Variant("", OURS),
    _part(CONTROL, "learning rate × 1.0001", rate_times=1.0001),
    _part(CONTROL, "learning rate × 0.9999", rate_times=0.9999),
    _config("KL weight", "β = 0", kl_weight=0.0),
    _config("KL weight", "β = 0.01", kl_weight=0.01),
    _config("KL weight", "β = 0.2", kl_weight=0.2),
    _config("KL weight", "β = 1", kl_weight=1.0),
    _config("KL weight", "adaptive, from 0.05", **TARGET),
    _config("KL weight", "adaptive, from 0.5", kl_weight=0.5, **TARGET),
    _part("KL as a loss", "k1 in the loss", config={"kl_weight": 0.0}, kl_loss=["k1", 0.05]),
    _part("KL as a loss", "k2 in the loss", config={"kl_weight": 0.0}, kl_loss=["k2", 0.05]),
    _part("KL as a loss", "k3 in the loss", config={"kl_weight": 0.0}, kl_loss=["k3", 0.05]),
    _part("advantages", "not whitened", estimate="as they are"),
    _part("advantages", "mean only", estimate="mean only"),
    _part("advantages", "rewards whitened too", estimate="rewards whitened"),
    _config("GAE", "λ = 0", gae_lambda=0.0),
    _config("GAE", "λ = 0.95", gae_lambda=0.95),
    _part("value model", "head of zeros", value_model="zero head"),
    _part("value model", "from SFT, random head", value_model="from SFT"),
    _config("value model", "values not clipped", value_clip_range=None),
    _part("value model", "no value model", estimate="without values"),
    _part("reward", "all at the last token", estimate="all at the end"),
    _part("reward", "raw scores", raw_scores=True),
    _part("reward", "scores × 10", scores_times=10.0),
    _config("reward", "no penalty without an end", missing_eos_penalty=0.0),
    _config("reuse", "2 epochs", epochs=2),
    _config("reuse", "4 epochs", epochs=4),
    _config("reuse", "4 epochs, ratio not clipped", epochs=4, clip_range=0.999),
    _part("reuse", "minibatch halved", minibatch_times=0.5),
    _part("reuse", "minibatch doubled", minibatch_times=2.0),
    _part("learning rate", "× 3", rate_times=3.0),
    _part("learning rate", "÷ 3", rate_times=1 / 3),
    _config("learning rate", "decays to 0", optimizer={"final_fraction": 0.0}),
    _config("temperature", "0.7, sampled and scored", temperature=0.7),
    Variant(
        "temperature", "sampled at 0.7, scored at 1", {"sampled_at": 0.7, "recomputed": False}, mismatched
    ),
    Variant("temperature", "the same, ratio 1", {"sampled_at": 0.7, "recomputed": True}, mismatched),
    _part("dropout", "0.1 while learning", dropout=0.1),
    _part("others", "entropy bonus 0.01", entropy_bonus=0.01),
    _config("others", "gradients not clipped", optimizer={"clip_norm": None}),
)
SIGNS = (
    Variant("sign", "−r − β KL", {"way": "score"}, wrong_sign),
    Variant("sign", "−r + β KL", {"way": "score and KL"}, wrong_sign),
)
MIXED = tuple(
    Variant("PPO-ptx", f"γ = {weight:g}", {"weight": weight, "documents": 16}, with_pretraining_mix)
    for weight in (0.1, 1.0, 10.0)
)
STARLING = (
    Variant("Starling", "critic first, λ = 1", {"iterations": 10, "gae_lambda": 1.0}, critic_first),
    Variant("Starling", "critic first, λ = 0.95", {"iterations": 10, "gae_lambda": 0.95}, critic_first),
    Variant("Starling", "0.01 off for each token", {"per_token": -0.01}, priced_length),
    Variant("Starling", "0.01 for each token", {"per_token": 0.01}, priced_length),
    Variant("Starling", "scores − 2, λ = 0.95", {"constant": -2.0, "gae_lambda": 0.95}, shifted_scores),
    Variant("Starling", "scores + 2, λ = 0.95", {"constant": 2.0, "gae_lambda": 0.95}, shifted_scores),
)
ALL = (*VARIANTS, *SIGNS, *MIXED, *STARLING)


def variant(name: str) -> Variant:
    """The variant of this name.

    Raises:
        ValueError: on an unknown name.
    """
    for one in ALL:
        if one.name == name:
            return one
    raise ValueError(f"no variant is called {name!r}; there are {[one.name for one in ALL]}")
