"""Exercises of chapter 05 on rewards: where they stand, what a missing end costs, how the price of KL follows."""

import torch
from torch import Tensor

from rlhf_mini.reader import Exercise, Mistake

# ------------------------------------------------------------------------------------- 1 · rewards of a batch


def batch_rewards(
    scores: Tensor, logp: Tensor, logp_ref: Tensor, response: Tensor, kl_weight: float
) -> Tensor:
    """(B,), (B, T), (B, T), (B, T) bool -> (B, T): every token pays for its KL, the last receives the score."""
    rewards = torch.where(response, -kl_weight * (logp - logp_ref), 0.0)
    is_last = response & (response.cumsum(1) == response.sum(1, keepdim=True))
    return rewards + is_last * scores[:, None]


def _in_the_last_column(
    scores: Tensor, logp: Tensor, logp_ref: Tensor, response: Tensor, kl_weight: float
) -> Tensor:
    rewards = torch.where(response, -kl_weight * (logp - logp_ref), 0.0)
    rewards[:, -1] += scores
    return rewards


def _behind_the_end(
    scores: Tensor, logp: Tensor, logp_ref: Tensor, response: Tensor, kl_weight: float
) -> Tensor:
    rewards = torch.where(response, -kl_weight * (logp - logp_ref), 0.0)
    column = torch.arange(response.shape[1])
    last = (response * column).amax(1)
    place = torch.where(last + 1 < response.shape[1], last + 1, last)
    rewards[torch.arange(len(scores)), place] += scores
    return rewards


def _score_everywhere(
    scores: Tensor, logp: Tensor, logp_ref: Tensor, response: Tensor, kl_weight: float
) -> Tensor:
    return torch.where(response, scores[:, None] - kl_weight * (logp - logp_ref), 0.0)


def _paid_for_drifting(
    scores: Tensor, logp: Tensor, logp_ref: Tensor, response: Tensor, kl_weight: float
) -> Tensor:
    return batch_rewards(scores, logp, logp_ref, response, -kl_weight)


def _prompts_pay(
    scores: Tensor, logp: Tensor, logp_ref: Tensor, response: Tensor, kl_weight: float
) -> Tensor:
    is_last = response & (response.cumsum(1) == response.sum(1, keepdim=True))
    return -kl_weight * (logp - logp_ref) + is_last * scores[:, None]


def _rollouts() -> list[tuple]:
    response = torch.tensor(
        [
            [False, True, True, False, False],
            [False, False, True, True, True],
            [False, True, False, False, False],
        ]
    )
    generator = torch.Generator().manual_seed(0)
    logp, logp_ref = -torch.rand(2, 3, 5, generator=generator)
    one = torch.tensor([[True, True]])
    return [
        (torch.tensor([1.5, -2.0, 0.5]), logp, logp_ref, response, 0.1),
        (torch.tensor([0.0, 3.0, 1.0]), 2 * logp, logp_ref, response, 1.0),
        (torch.tensor([2.0]), torch.tensor([[-1.0, -0.5]]), torch.tensor([[-2.0, -0.5]]), one, 0.5),
    ]


REWARDS = Exercise(
    title="The rewards of a padded batch",
    level="medium",
    minutes=15,
    hints=(
        "Off the response all rewards are 0, whatever stands in logp there. torch.where(response, ..., 0.0) sees to "
        "that.",
        "A token is its row's last one where response.cumsum(1) equals response.sum(1, keepdim=True), and response "
        "is true.",
    ),
    solution=batch_rewards,
    cases=_rollouts,
    mistakes=(
        Mistake(_in_the_last_column, "Your score stands in the last column, which is padding for every answer but "
                "the longest: the others never hear of their score."),
        Mistake(_behind_the_end, "Your score stands one place behind the end token, where the mask has ended and nobody "
                "looks. (TRL puts it there and lets its masks reach one place further; its issue 3750 discusses it.)"),
        Mistake(_score_everywhere, "Every token of an answer receives the score in yours, so that long answers are "
                "paid many times over."),
        Mistake(_paid_for_drifting, "Your penalty is a premium: tokens that the policy likes more than the "
                "reference does must pay."),
        Mistake(_prompts_pay, "Prompts and padding pay in yours. Nobody chose those tokens."),
    ),
)  # fmt: skip


# ------------------------------------------------------------------------------------- 2 · without an end


def ended_scores(scores: Tensor, tokens: Tensor, response: Tensor, end_token: int, penalty: float) -> Tensor:
    """(B,): the score, less the penalty for an answer whose last token is not the end token."""
    last = (response * torch.arange(response.shape[1])).amax(1)
    ended = tokens[torch.arange(len(tokens)), last] == end_token
    return scores - penalty * ~ended


def _replaces(scores: Tensor, tokens: Tensor, response: Tensor, end_token: int, penalty: float) -> Tensor:
    last = (response * torch.arange(response.shape[1])).amax(1)
    ended = tokens[torch.arange(len(tokens)), last] == end_token
    return torch.where(ended, scores, -penalty)


def _penalises_endings(
    scores: Tensor, tokens: Tensor, response: Tensor, end_token: int, penalty: float
) -> Tensor:
    return 2 * scores - penalty - ended_scores(scores, tokens, response, end_token, penalty)


def _an_end_in_the_prompt(
    scores: Tensor, tokens: Tensor, response: Tensor, end_token: int, penalty: float
) -> Tensor:
    return scores - penalty * ~(tokens == end_token).any(1)


def _in_the_last_place(
    scores: Tensor, tokens: Tensor, response: Tensor, end_token: int, penalty: float
) -> Tensor:
    return scores - penalty * (tokens[:, -1] != end_token)


def _a_premium(scores: Tensor, tokens: Tensor, response: Tensor, end_token: int, penalty: float) -> Tensor:
    return ended_scores(scores, tokens, response, end_token, -penalty)


def _endings() -> list[tuple]:
    # 2 ends a text; it also stands in the prompts, after the instruction. 0 is padding.
    tokens = torch.tensor([[1, 5, 2, 7, 2, 0], [1, 5, 2, 7, 8, 9], [1, 2, 7, 8, 9, 2], [5, 1, 7, 9, 9, 8]])
    response = torch.tensor(
        [
            [False, False, False, True, True, False],
            [False, False, False, True, True, True],
            [False, False, True, True, True, True],
            [False, False, True, True, True, True],
        ]
    )
    scores = torch.tensor([0.5, 3.0, -4.0, -2.0])
    return [(scores, tokens, response, 2, 1.0), (scores.flip(0), tokens, response, 2, 0.25)]


ENDING = Exercise(
    title="The price of not ending",
    level="easy",
    minutes=10,
    hints=(
        "Find the place of each row's last true entry in response, and look which token stands there.",
        "(response * torch.arange(T)).amax(1) is that place. scores - penalty * ~ended then does the rest.",
    ),
    solution=ended_scores,
    cases=_endings,
    mistakes=(
        Mistake(_replaces, "You put the penalty in the place of the score; libraries have done both under one name. "
                "Replaced, every unfinished answer is worth the same, and where scores are far below zero, not to "
                "end becomes the way out."),
        Mistake(_penalises_endings, "You fine the answers that did end."),
        Mistake(_an_end_in_the_prompt, "You look for the end token anywhere in the row, and prompts hold some. An "
                "answer that never ends goes unfined."),
        Mistake(_in_the_last_place, "You look at the last column, where short answers have padding: they ended, "
                "and are fined."),
        Mistake(_a_premium, "You pay a premium for not ending."),
    ),
)  # fmt: skip


# ------------------------------------------------------------------------------------- 3 · the controller


def followed_weights(
    weight: float, kls: list[float], target: float, episodes: int, horizon: int
) -> list[float]:
    """The KL weight after each measured KL: error = clip(KL/target − 1, ±0.2), weight · (1 + error · n/horizon)."""
    weights = []
    for kl in kls:
        error = min(max(kl / target - 1, -0.2), 0.2)
        weight = weight * (1 + error * episodes / horizon)
        weights.append(weight)
    return weights


def _unclipped(weight: float, kls: list[float], target: float, episodes: int, horizon: int) -> list[float]:
    weights = []
    for kl in kls:
        weight = weight * (1 + (kl / target - 1) * episodes / horizon)
        weights.append(weight)
    return weights


def _flees(weight: float, kls: list[float], target: float, episodes: int, horizon: int) -> list[float]:
    weights = []
    for kl in kls:
        error = min(max(kl / target - 1, -0.2), 0.2)
        weight = weight * (1 - error * episodes / horizon)
        weights.append(weight)
    return weights


def _adds(weight: float, kls: list[float], target: float, episodes: int, horizon: int) -> list[float]:
    weights = []
    for kl in kls:
        weight = weight + min(max(kl / target - 1, -0.2), 0.2) * episodes / horizon
        weights.append(weight)
    return weights


def _always_from_the_start(
    weight: float, kls: list[float], target: float, episodes: int, horizon: int
) -> list[float]:
    return [followed_weights(weight, [kl], target, episodes, horizon)[0] for kl in kls]


def _by_iterations(
    weight: float, kls: list[float], target: float, episodes: int, horizon: int
) -> list[float]:
    return followed_weights(weight, kls, target, 1, horizon)


CONTROLLER = Exercise(
    title="A price that follows",
    level="easy",
    minutes=10,
    hints=(
        "Each new weight is made of the one before. Clip the relative error, KL/target − 1, first.",
        "weight = weight * (1 + error * episodes / horizon), once for every KL; collect them.",
    ),
    solution=followed_weights,
    cases=lambda: [
        (0.1, [12.0, 6.0, 3.0, -1.0], 6.0, 128, 1000),
        (0.05, [5.5, 6.5], 6.0, 512, 10_000),
        (1.0, [0.0], 2.0, 10, 10),
    ],
    mistakes=(
        Mistake(_unclipped, "You do not clip the error: one rollout with ten times the target's KL would multiply "
                "the weight."),
        Mistake(_flees, "Your weight falls when the KL is too large. Too far away must cost more, not less."),
        Mistake(_adds, "You add the change. It is a share of the weight: multiply, and the weight stays above 0 and "
                "moves at its own scale."),
        Mistake(_always_from_the_start, "Each of your weights is made of the first. Carry the weight on."),
        Mistake(_by_iterations, "You count iterations. The horizon counts episodes, of which an iteration has many."),
    ),
    tolerance=1e-9,
)  # fmt: skip
