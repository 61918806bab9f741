"""The chapter's runs, a name each, in the order of its tables: which method, with which numbers, on which pairs.

Where several learning rates or strengths were tried, that was on seed 0, by gold on requests that no table is made of:
of DPO nine, of SimPO five, of IPO, CPL and KTO three, of SLiC and ORPO two. The other methods ran with the first guess.
"""

from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedModel

from rlhf_mini.chapters.direct import runs
from rlhf_mini.pipeline import Pipeline

PAIRS, RATE, KL_WEIGHT = 4000, 3e-4, 1.0
FLIPPED = 0.3  # the share of labels that is turned round in the experiment on noise
OURS = "DPO"


@dataclass(frozen=True)
class Run:
    """One row: its group and name, and the settings that `runs.outcome` takes."""

    group: str
    name: str
    settings: dict[str, Any] = field(default_factory=dict)

    def measured(self, pipeline: Pipeline) -> dict[str, float]:
        """What is said of the run's policy; trained and judged once, and kept."""
        if "stage" in self.settings:
            return pipeline.measured(runs.stage_outcome, **self.settings)
        return pipeline.measured(runs.outcome, **self.settings)

    def policy(self, pipeline: Pipeline) -> PreTrainedModel:
        """The run's policy, frozen; trained once, and kept."""
        if "stage" in self.settings:
            return pipeline.policy(self.settings["stage"])
        return runs.policy_of(pipeline, **self.settings)


def _direct(
    group: str,
    name: str,
    method: str = "DPO",
    *,
    rate: float = RATE,
    data: dict[str, Any] | None = None,
    **numbers: float,
) -> Run:
    settings = {
        "method": method,
        "numbers": numbers or {"kl_weight": KL_WEIGHT},
        "rate": rate,
        "count": PAIRS,
    }
    return Run(group, name, {**settings, **(data or {})})


def _own_pairs(name: str, kind: str, **settings: Any) -> Run:
    shared = {"kind": kind, "kl_weight": KL_WEIGHT, "rate": RATE, "count": PAIRS}
    return Run("own pairs", name, {**shared, **settings})


FLIPS = {"labels": "flipped", "flip": FLIPPED}
STAGES = (Run("", "SFT", {"stage": "sft"}), Run("", "PPO", {"stage": "ppo"}))
STRENGTHS = (
    _direct("β", "β = 0.1", kl_weight=0.1),
    _direct("β", "β = 0.3", kl_weight=0.3),
    _direct("", OURS),
    _direct("β", "β = 3", kl_weight=3.0),
)
CONTROLS = (_direct("control", "learning rate × 1.001", rate=3.003e-4),)
STEPS = (
    _direct("twice the steps", "DPO, batches of 16", data={"batch": 16}),
    _direct("twice the steps", "KTO, batches of 32", "KTO", data={"batch": 16}, kl_weight=KL_WEIGHT),
)
FAMILY = (
    _direct("labels may be wrong", "cDPO", "cDPO", kl_weight=KL_WEIGHT, flip_rate=0.1),
    _direct("labels may be wrong", "robust DPO", "robust DPO", kl_weight=KL_WEIGHT, flip_rate=0.1),
    _direct("another loss of h", "IPO", "IPO", kl_weight=0.1),
    _direct("another loss of h", "RPO, backward", "RPO, backward", kl_weight=KL_WEIGHT, reward_scale=1.0),
    _direct("another loss of h", "RPO, forward", "RPO, forward", kl_weight=KL_WEIGHT, reward_scale=1.0),
    _direct("another loss of h", "RPO, squared", "RPO, squared", kl_weight=KL_WEIGHT, reward_scale=1.0),
    _direct("length", "DPO per token", "DPO per token", kl_weight=60.0),
    _direct("length", "IPO per token", "IPO per token", kl_weight=6.0),
    _direct("length", "R-DPO", "R-DPO", kl_weight=KL_WEIGHT, length_weight=0.02),
    _direct("no reference", "SimPO", "SimPO", rate=1e-4, scale=10.0, margin=3.0),
    _direct("no reference", "ORPO", "ORPO", rate=1e-3, odds_weight=0.2),
    _direct("no reference", "ORPO from base", "ORPO", rate=1e-3, data={"start": "base"}, odds_weight=0.2),
    _direct("no reference", "SLiC", "SLiC", margin=1.0, nll_weight=10.0),
    _direct("no reference", "CPL", "CPL", temperature=0.1, conservatism=0.5),
    _direct("no pairs", "KTO", "KTO", kl_weight=KL_WEIGHT),
)
BETWEEN = (
    _direct("from DPO to KTO", "fading", "DPO, fading"),
    _direct("from DPO to KTO", "apart", "DPO, apart"),
    _direct("from DPO to KTO", "apart, β = 0.3", "DPO, apart", kl_weight=0.3),
    _direct("from DPO to KTO", "both: KTO with z₀ = 0", "KTO at zero"),
)
CURES = (_direct("β = 0.1 and", "NLL term", kl_weight=0.1, nll_weight=1.0),)
LABELS = (
    _direct("labels", "gold's", data={"labels": "gold"}),
    _direct("labels", "30% turned", data=FLIPS),
    _direct("labels", "30% turned, cDPO", "cDPO", data=FLIPS, kl_weight=KL_WEIGHT, flip_rate=FLIPPED),
    _direct("labels", "30% turned, robust", "robust DPO", data=FLIPS, kl_weight=KL_WEIGHT, flip_rate=FLIPPED),
    _direct("labels", "30% turned, IPO", "IPO", data=FLIPS, kl_weight=0.1),
    _direct("labels", "30% turned, KTO", "KTO", data=FLIPS, kl_weight=KL_WEIGHT),
)
OTHER_PAIRS = (
    Run("other pairs", "8,000 pairs", {"method": "DPO", "numbers": {"kl_weight": KL_WEIGHT}, "rate": RATE}),
    _direct("other pairs", "demonstrators' pairs", data={"writers": "demonstrators"}),
)
OWN_PAIRS = (
    _own_pairs("iterated, 3 rounds", "iterated", judge="panel", renewed=True),
    _own_pairs("online, panel", "online", judge="panel"),
    _own_pairs("online, reward model", "online", judge="reward model"),
)
ALL = (*STAGES, *STRENGTHS, *CONTROLS, *FAMILY, *BETWEEN, *STEPS, *CURES, *LABELS, *OTHER_PAIRS, *OWN_PAIRS)


def run(name: str) -> Run:
    """The run of this name.

    Raises:
        ValueError: on an unknown name.
    """
    for one in ALL:
        if one.name == name:
            return one
    raise ValueError(f"no run is called {name!r}; there are {[one.name for one in ALL]}")
