"""Every method once: what several processes must repeat."""

import math
from collections.abc import Callable

from rlhf_mini.methods import group_methods
from tests.distributed import feedback, likelihood, own_samples, reinforcement
from tests.distributed.small import Result, double_precision

PROGRAMS: dict[str, Callable[[], Result]] = {
    "pretraining": likelihood.pretraining,
    "SFT": likelihood.fine_tuning,
    "SFT, several texts a row": likelihood.packed_fine_tuning,
    "SFT, weighted and mixed": likelihood.mixed_fine_tuning,
    "SFT with rehearsal": likelihood.rehearsal,
    "scheduled sampling": likelihood.scheduled_sampling,
    "masked language modelling": likelihood.masked_language_modelling,
    "denoising": likelihood.denoising,
    "SimCSE": likelihood.contrastive_sentences,
    "DPR": likelihood.retrieval,
    "reward model, pairs": feedback.pairwise_rewards,
    "reward model, rankings": feedback.ranked_rewards,
    "reward model, ratings": feedback.rated_rewards,
    "reward model, soft labels": feedback.soft_labelled_rewards,
    "DPO": feedback.direct_preferences,
    "IPO": feedback.identity_preferences,
    "DPO, masked": feedback.masked_preferences,
    "KTO": feedback.unpaired_preferences,
    "ORPO": feedback.odds_ratios,
    "iterated RPO": feedback.rounds_of_rpo,
    "PPO": reinforcement.proximal,
    "PPO, learned reward": reinforcement.learned_reward,
    "critic pretraining": reinforcement.critic_first,
    "APA": reinforcement.advantage_induced,
    **{
        f"groups, {name}": reinforcement.group_method(name) for name in group_methods.named_methods(longest=6)
    },
    "HIR": own_samples.hindsight,
    "ReST": own_samples.reinforced_self_training,
    "RAFT": own_samples.ranked_fine_tuning,
    "expert iteration": own_samples.expert_rounds,
    "rejection sampling": own_samples.rejecting,
    "RRHF": own_samples.ranked_answers,
    "SLiC": own_samples.likelihood_calibration,
    "online DPO": own_samples.online_preferences,
    "best-and-worst DPO": own_samples.best_against_worst,
    "self-rewarding": own_samples.rewarding_itself,
    "the judge": own_samples.judging,
    "the sampler": own_samples.sampling,
    "embeddings": own_samples.embeddings,
}


def outcome(name: str) -> dict:
    """What a program logs, without its clock, and the weights it ends with, by name."""
    with double_precision():
        log, modules = PROGRAMS[name]()
    numbers = [{key: value for key, value in entry.items() if key != "seconds"} for entry in log]
    assert all(math.isfinite(value) for entry in numbers for value in entry.values())
    weights = {
        f"{part}.{key}": tensor.clone()
        for part, module in modules.items()
        for key, tensor in module.state_dict().items()
    }
    return {"log": numbers, "weights": weights}
