"""The exercises of chapter 01: solutions, and the wrong programs that readers write."""

import torch

from rlhf_mini.reader import Exercise, Mistake, OpenExercise
from rlhf_mini.shapes import Tensor

# ---- 1. returns


def discounted_return(rewards: list[float], discount: float) -> float:
    """``G = r_0 + γ r_1 + γ² r_2 + …``, from the end backwards."""
    total = 0.0
    for reward in reversed(rewards):
        total = reward + discount * total
    return total


def _undiscounted(rewards: list[float], discount: float) -> float:
    return float(sum(rewards))


def _discounts_the_first(rewards: list[float], discount: float) -> float:
    return sum(discount ** (t + 1) * reward for t, reward in enumerate(rewards))


def _discounts_the_past(rewards: list[float], discount: float) -> float:
    total = 0.0
    for reward in rewards:
        total = reward + discount * total
    return total


RETURN = Exercise(
    title="The return of an episode",
    level="easy",
    minutes=5,
    hints=(
        "The first reward counts in full, the second γ times, the third γ² times.",
        "Walk the list from its end: the return from a step is its reward plus γ times the return from the next.",
    ),
    solution=discounted_return,
    cases=lambda: [([-1.0, -0.5, 20.0], 0.5), ([5.0], 0.9), ([], 0.9), ([1.0, 1.0, 1.0], 1.0)],
    mistakes=(
        Mistake(_undiscounted, "You add the rewards without discounting them."),
        Mistake(_discounts_the_first, "The first reward counts in full: its power of γ is 0, not 1."),
        Mistake(
            _discounts_the_past, "You discount the past: go through the rewards from the last to the first."
        ),
    ),
)


# ---- 2. the optimality backup


def optimality_backup(rewards: Tensor, transitions: Tensor, values: Tensor, discount: float) -> Tensor:
    """``max_a [ r(s, a) + γ Σ_s' p(s' | s, a) V(s') ]`` for every state."""
    action_values = rewards + discount * transitions @ values
    return action_values.max(dim=1).values


def _mean_over_actions(rewards: Tensor, transitions: Tensor, values: Tensor, discount: float) -> Tensor:
    return (rewards + discount * transitions @ values).mean(dim=1)


def _best_action(rewards: Tensor, transitions: Tensor, values: Tensor, discount: float) -> Tensor:
    return (rewards + discount * transitions @ values).argmax(dim=1)


def _best_now(rewards: Tensor, transitions: Tensor, values: Tensor, discount: float) -> Tensor:
    best = rewards.max(dim=1, keepdim=True)
    return best.values.squeeze(1) + discount * (transitions @ values).max(dim=1).values


def _undiscounted_backup(rewards: Tensor, transitions: Tensor, values: Tensor, discount: float) -> Tensor:
    return (rewards + transitions @ values).max(dim=1).values


def _backup_cases() -> list[tuple]:
    rewards = torch.tensor([[0.0, 5.0], [-1.0, -0.5], [0.0, 0.0]])
    transitions = torch.tensor(
        [[[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [[0.5, 0.5, 0.0], [0.0, 0.2, 0.8]], [[0.0, 0.0, 1.0]] * 2]
    )
    return [
        (rewards, transitions, torch.zeros(3), 0.9),
        (rewards, transitions, torch.tensor([2.0, 8.0, 0.0]), 0.9),
        (rewards, transitions, torch.tensor([1.0, 10.0, 3.0]), 0.5),
    ]


BACKUP = Exercise(
    title="One sweep of value iteration",
    level="easy",
    minutes=10,
    hints=(
        "Compute Q(s, a) for all states and actions at once: `transitions @ values` has shape (S, A).",
        "Then take the largest entry of each row: `q.max(dim=1).values`.",
    ),
    solution=optimality_backup,
    cases=_backup_cases,
    mistakes=(
        Mistake(
            _mean_over_actions,
            "You average over actions: that backs up the uniform policy, not the best one.",
        ),
        Mistake(_best_action, "You return the number of the best action; its value is wanted."),
        Mistake(
            _best_now,
            "You take two maxima: the action with the best reward need not be the one with the best future.",
        ),
        Mistake(_undiscounted_backup, "What follows is to be discounted by γ."),
    ),
)


# ---- 3. the targets of Q-learning and SARSA


def q_learning_target(reward: float, next_values: list[float], discount: float, terminated: bool) -> float:
    """``r + γ max_a Q(s', a)``, and ``r`` alone when the episode has ended."""
    if terminated:
        return reward
    return reward + discount * max(next_values)


def _through_the_end(reward: float, next_values: list[float], discount: float, terminated: bool) -> float:
    return reward + discount * max(next_values)


def _expected_sarsa(reward: float, next_values: list[float], discount: float, terminated: bool) -> float:
    return reward if terminated else reward + discount * sum(next_values) / len(next_values)


def _forgets_the_reward(reward: float, next_values: list[float], discount: float, terminated: bool) -> float:
    return reward if terminated else discount * max(next_values)


def _worthless_end(reward: float, next_values: list[float], discount: float, terminated: bool) -> float:
    return 0.0 if terminated else reward + discount * max(next_values)


TARGET = Exercise(
    title="The target of Q-learning",
    level="easy",
    minutes=5,
    hints=(
        "What is a state worth in which nothing can happen any more?",
        "`reward` alone if `terminated`, else the reward plus γ times the largest of `next_values`.",
    ),
    solution=q_learning_target,
    cases=lambda: [
        (-0.5, [1.0, 4.0, 2.0], 0.9, False),
        (20.0, [3.0, 3.0, 3.5], 0.9, True),
        (1.0, [-2.0, -1.0], 0.5, False),
    ],
    mistakes=(
        Mistake(
            _through_the_end,
            "You bootstrap through the end of the episode: nothing follows a terminal state.",
        ),
        Mistake(
            _expected_sarsa,
            "You average over the next actions: that is expected SARSA under a uniform policy.",
        ),
        Mistake(_forgets_the_reward, "The reward of the step itself is missing."),
        Mistake(_worthless_end, "The last step's reward still counts when the episode has ended."),
    ),
)


# ---- 4. a baseline from the other samples


def leave_one_out(returns: Tensor) -> Tensor:
    """Each return less the mean of the *others*."""
    others = (returns.sum() - returns) / (len(returns) - 1)
    return returns - others


def _mean_of_all(returns: Tensor) -> Tensor:
    return returns - returns.mean()


def _standardised(returns: Tensor) -> Tensor:
    return (returns - returns.mean()) / returns.std()


def _baseline_itself(returns: Tensor) -> Tensor:
    return (returns.sum() - returns) / (len(returns) - 1)


BASELINE = Exercise(
    title="A baseline from the other episodes",
    level="medium",
    minutes=10,
    hints=(
        "The mean of the others is (the sum of all − this one) / (n − 1).",
        "No loop is needed: `(returns.sum() - returns) / (len(returns) - 1)` is the baseline of every episode.",
    ),
    solution=leave_one_out,
    cases=lambda: [
        (torch.tensor([1.0, 2.0, 6.0]),),
        (torch.tensor([4.0, -4.0]),),
        (torch.tensor([3.0, 3.0, 3.0, 7.0]),),
    ],
    mistakes=(
        Mistake(
            _mean_of_all,
            "You subtract the mean of all: it contains the episode itself, which shrinks every difference by (n − 1)/n.",
        ),
        Mistake(
            _standardised,
            "You also divide by the standard deviation, which changes the length of the gradient.",
        ),
        Mistake(_baseline_itself, "This is the baseline; subtract it from the returns."),
    ),
)


# ---- 5. generalised advantage estimation


def gae_of_one_episode(
    rewards: list[float], values: list[float], discount: float, gae_lambda: float
) -> list[float]:
    """``δ_t = r_t + γ V_{t+1} − V_t``, ``Â_t = δ_t + γ λ Â_{t+1}``, both 0 behind the last step."""
    advantages = [0.0] * len(rewards)
    following, carried = 0.0, 0.0
    for t in reversed(range(len(rewards))):
        delta = rewards[t] + discount * following - values[t]
        carried = delta + discount * gae_lambda * carried
        advantages[t], following = carried, values[t]
    return advantages


def _gae(
    rewards: list[float], values: list[float], decay: float, discount: float, behind: float
) -> list[float]:
    advantages, following, carried = [0.0] * len(rewards), behind, 0.0
    for t in reversed(range(len(rewards))):
        carried = rewards[t] + discount * following - values[t] + decay * carried
        advantages[t], following = carried, values[t]
    return advantages


def _without_lambda(
    rewards: list[float], values: list[float], discount: float, gae_lambda: float
) -> list[float]:
    return _gae(rewards, values, discount, discount, 0.0)


def _without_gamma(
    rewards: list[float], values: list[float], discount: float, gae_lambda: float
) -> list[float]:
    return _gae(rewards, values, gae_lambda, discount, 0.0)


def _only_delta(rewards: list[float], values: list[float], discount: float, gae_lambda: float) -> list[float]:
    return _gae(rewards, values, 0.0, discount, 0.0)


def _value_behind_the_end(
    rewards: list[float], values: list[float], discount: float, gae_lambda: float
) -> list[float]:
    return _gae(rewards, values, discount * gae_lambda, discount, values[-1] if values else 0.0)


def _targets(rewards: list[float], values: list[float], discount: float, gae_lambda: float) -> list[float]:
    advantages = gae_of_one_episode(rewards, values, discount, gae_lambda)
    return [advantage + value for advantage, value in zip(advantages, values, strict=True)]


GAE = Exercise(
    title="Generalised advantage estimation",
    level="medium",
    minutes=15,
    hints=(
        "Begin at the end, where both the next value and the next advantage are 0.",
        "At each step: δ = r + γ · next value − value, then advantage = δ + γ · λ · next advantage.",
    ),
    solution=gae_of_one_episode,
    cases=lambda: [
        ([0.0, 0.0, 1.5], [0.5, 0.8, 1.0], 1.0, 0.5),
        ([-1.0, -0.5, 20.0], [3.0, 6.0, 9.0], 0.9, 0.95),
        ([2.0], [0.5], 0.9, 0.5),
        ([1.0, 2.0], [0.0, 0.0], 0.5, 1.0),
    ],
    mistakes=(
        Mistake(_without_lambda, "λ is missing: you compute the whole return less the value, whatever λ is."),
        Mistake(_without_gamma, "What is carried back is discounted by γ · λ, not by λ alone."),
        Mistake(_only_delta, "You stop at δ, the estimate with λ = 0: add γ · λ times the next advantage."),
        Mistake(
            _value_behind_the_end,
            "You bootstrap behind the last step. The episode has ended: what follows is worth 0.",
        ),
        Mistake(_targets, "You return advantage + value, the target of the value function."),
    ),
)


# ---- 6. the clipped objective


def clipped_loss(logp: Tensor, logp_old: Tensor, advantages: Tensor, clip_range: float) -> Tensor:
    """``−min(ρ Â, clip(ρ, 1 − ε, 1 + ε) Â)`` for every action."""
    ratio = torch.exp(logp - logp_old)
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    return -torch.minimum(ratio * advantages, clipped * advantages)


def _without_min(logp: Tensor, logp_old: Tensor, advantages: Tensor, clip_range: float) -> Tensor:
    return -torch.exp(logp - logp_old).clamp(1 - clip_range, 1 + clip_range) * advantages


def _max_for_min(logp: Tensor, logp_old: Tensor, advantages: Tensor, clip_range: float) -> Tensor:
    ratio = torch.exp(logp - logp_old)
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    return -torch.maximum(ratio * advantages, clipped * advantages)


def _upwards(logp: Tensor, logp_old: Tensor, advantages: Tensor, clip_range: float) -> Tensor:
    return -clipped_loss(logp, logp_old, advantages, clip_range)


def _difference_for_ratio(logp: Tensor, logp_old: Tensor, advantages: Tensor, clip_range: float) -> Tensor:
    ratio = logp - logp_old
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    return -torch.minimum(ratio * advantages, clipped * advantages)


def _ratio_upside_down(logp: Tensor, logp_old: Tensor, advantages: Tensor, clip_range: float) -> Tensor:
    return clipped_loss(logp_old, logp, advantages, clip_range)


def _unclipped(logp: Tensor, logp_old: Tensor, advantages: Tensor, clip_range: float) -> Tensor:
    return -torch.exp(logp - logp_old) * advantages


def _clipping_cases() -> list[tuple]:
    old = torch.zeros(6)
    new = torch.tensor([1.5, 0.5, 1.5, 0.5, 1.1, 1.0]).log()
    return [
        (new, old, torch.tensor([1.0, 1.0, -1.0, -1.0, 2.0, 3.0]), 0.2),
        (torch.tensor([-1.0, -2.0]), torch.tensor([-2.0, -1.0]), torch.tensor([2.0, -2.0]), 0.1),
    ]


CLIP = Exercise(
    title="The clipped loss of PPO",
    level="medium",
    minutes=10,
    hints=(
        "The ratio of two probabilities is the exponential of the difference of their logarithms.",
        "Compute ratio · advantage and clamped ratio · advantage; the loss is minus the smaller of the two.",
    ),
    solution=clipped_loss,
    cases=_clipping_cases,
    mistakes=(
        Mistake(
            _without_min,
            "Without the minimum an action that has moved too far in the wrong direction gets no gradient, where it most needs one.",
        ),
        Mistake(_max_for_min, "The minimum makes the objective pessimistic; you take the maximum."),
        Mistake(_upwards, "This is the objective, which goes up; a loss goes down."),
        Mistake(
            _difference_for_ratio,
            "A difference of log-probabilities is the logarithm of the ratio: take exp.",
        ),
        Mistake(_ratio_upside_down, "The ratio is new over old; yours is old over new."),
        Mistake(_unclipped, "Nothing is clipped: compare with the clamped ratio times the advantage."),
    ),
)


# ---- 7. open

OPEN = OpenExercise(
    title="A grid that fools a learner",
    level="hard",
    minutes=45,
    hints=(
        "`parse_layout` reads a map of your own; `gymnasium.make(ROBOT_GRID, layout=…, slip=…)` plays it.",
        "Long corridors make rewards rare; a small prize near the start makes them misleading.",
    ),
    good_answer=(
        "A map, the exact value of its best policy, and learning curves over at least five seeds in which one method "
        "(say Q-learning with ε = 0.1) ends far from that value while another reaches it; then the reason, shown by changing "
        "one thing at a time: the exploration, the discount, the reward's place, the number of episodes."
    ),
)

EXERCISES = (RETURN, BACKUP, TARGET, BASELINE, GAE, CLIP, OPEN)
