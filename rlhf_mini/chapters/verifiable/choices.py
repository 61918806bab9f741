"""What a run chooses by name: the rewards that a program computes, and a method with some of its parts exchanged."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from rlhf_mini.estimators import constant_length_mean, sequence_mean, token_mean
from rlhf_mini.methods.group_methods import (
    Average,
    GroupMethod,
    Penalty,
    by_token,
    clipped,
    k1_penalty,
    k2_penalty,
    k3_penalty,
    named_methods,
)
from rlhf_mini.worlds import sums_verifier
from rlhf_mini.worlds.sums_verifier import TextReward

LONGEST = 28  # tokens of an answer: room for a second one, or for a step said twice
WITH_CRITIC = "PPO with a critic"
METHODS = (*named_methods(longest=LONGEST), WITH_CRITIC)
NO_BOUND = 1e9  # a ratio that is never reached
IN_REWARD = "in the reward"
PREFERENCE = "preference"  # a reward that a model has learned, in `taste`
PENALTIES: Mapping[str, Penalty] = {"k1": k1_penalty, "k2": k2_penalty, "k3": k3_penalty}
AVERAGES: Mapping[str, Average] = {
    "per answer": sequence_mean,
    "all tokens": token_mean,
    "one length": partial(constant_length_mean, length=LONGEST),
}
# The truth about an answer, from the strictest on; each may be a part of a reward, too.
TRUTH: Mapping[str, TextReward] = {
    "all right": sums_verifier.all_right,
    "answer right": sums_verifier.answer_right,
    "in form": sums_verifier.steps_written,
}
REWARDS: Mapping[str, TextReward] = {
    **TRUTH,
    "steps right": sums_verifier.steps_share,
    "answer mentioned": sums_verifier.answer_mentioned,
    "steps counted": sums_verifier.steps_counted,
}


def group_method(
    name: str, *, kl: str | None = None, clip: Sequence[float] | None = None, average: str | None = None
) -> GroupMethod:
    """The named method at its own settings, but for what is given.

    - `kl`: the estimator that the loss pays for ("k1", "k2", "k3"), or `IN_REWARD`.
    - `clip`: the two bounds of the ratio of each token, below and above 1.
    - `average`: how the tokens' losses become one number, a key of `AVERAGES`.

    Raises ValueError on an unknown name.
    """
    known = named_methods(longest=LONGEST)
    for given, among in ((name, known), (kl, (None, IN_REWARD, *PENALTIES)), (average, (None, *AVERAGES))):
        if given not in among:
            raise ValueError(f"expected one of {[*among]}, got {given!r}")
    method = known[name]
    if kl is not None:
        in_reward = kl == IN_REWARD
        method = replace(method, kl_in_reward=in_reward, kl_in_loss=None if in_reward else PENALTIES[kl])
    if clip is not None:
        method = replace(method, policy_term=by_token(clipped(*clip)))
    return method if average is None else replace(method, average=AVERAGES[average])
