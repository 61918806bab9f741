"""Episodes of a small world, in the library's own convention, and the tables that learn from them.

Any ``gymnasium`` environment whose states and actions are numbered can be played. Episodes come back as one
padded batch, rows by steps ``(B, T)``, like a batch of texts: a step here is a token there. So the estimators
and losses of the language chapters apply without a change.

One thing is simpler than with texts. A state stands *beside* the action that was chosen in it, in the same
column, so nothing has to be shifted; a text's state is all columns before the token.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import gymnasium
import torch
from torch import Tensor, nn

from rlhf_mini.tensors import last_true_index, zero_off_mask

Play = Callable[[], "Episodes"]  # fresh episodes of the policy as it is now


@dataclass(frozen=True)
class Episodes:
    """Whole episodes, one a row, padded on the right.

    - `states`, `actions`: (B, T) int64; column t holds the state and the action chosen in it.
    - `rewards`: (B, T), what the world paid for that action.
    - `mask`: (B, T), true on the steps.
    - `logp_old`: (B, T), nats, of each action under the policy that chose it, at that moment.
    - `final_states`: (B,), where each episode was when it stopped.
    - `terminated`: (B,), true if the world ended there; false if a time limit cut the episode off.
    """

    states: Tensor
    actions: Tensor
    rewards: Tensor
    mask: Tensor
    logp_old: Tensor
    final_states: Tensor
    terminated: Tensor

    def __len__(self) -> int:
        return len(self.states)

    @property
    def steps(self) -> int:
        """Steps taken in the world, in all."""
        return int(self.mask.sum())

    def rows(self, rows: Tensor) -> "Episodes":
        """The episodes with these numbers."""
        return Episodes(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


class TabularPolicy(nn.Module):
    """A logit for every state and action, all 0 at the start: the uniform policy.

    Called on states of any shape, it adds the axis of the actions.

    >>> TabularPolicy(states=2, actions=4)(torch.tensor([0, 1, 1])).shape
    torch.Size([3, 4])
    """

    def __init__(self, *, states: int, actions: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(states, actions, dtype=torch.float64))

    def forward(self, states: Tensor) -> Tensor:
        """Logits, (…, A)."""
        return self.logits[states]

    def probabilities(self) -> Tensor:
        """π(a|s) for every state, (S, A), without a gradient."""
        return self.logits.detach().softmax(-1)


class TabularValues(nn.Module):
    """A value for every state, all 0 at the start. Called on states of any shape, it keeps the shape."""

    def __init__(self, *, states: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(states, dtype=torch.float64))

    def forward(self, states: Tensor) -> Tensor:
        """V(s), in units of the reward."""
        return self.table[states]


def action_logp(policy: nn.Module, states: Tensor, actions: Tensor) -> Tensor:
    """log π(a|s) of each action, nats; the shape of `actions`. Gradients flow to the policy."""
    return policy(states).log_softmax(-1).gather(-1, actions[..., None]).squeeze(-1)


@torch.no_grad()
def collect(envs: Sequence[gymnasium.Env], policy: nn.Module, *, generator: torch.Generator) -> Episodes:
    """Play one whole episode in each environment with actions sampled from `policy`.

    All environments take their steps together, so that the policy is asked once a step and not once an
    episode. Actions and the environments' seeds come from `generator` (on the CPU): the same generator
    state gives the same episodes. Every episode must end; give `gymnasium.make` a `max_episode_steps`.

    The number of episodes is fixed beforehand. To stop at a number of *steps* instead would favour short
    episodes, and an average over episodes would be biased.

    Raises ValueError if states or actions are not numbered from 0, or there is no environment.
    """
    _require_numbered(envs)
    seeds = torch.randint(2**31 - 1, (len(envs),), generator=generator).tolist()
    state = [int(env.reset(seed=seed)[0]) for env, seed in zip(envs, seeds, strict=True)]
    taken: list[list[tuple[int, int, float, float]]] = [[] for _ in envs]
    terminated = [False] * len(envs)
    running = list(range(len(envs)))
    while running:
        logp = policy(torch.tensor([state[row] for row in running])).log_softmax(-1)
        action = torch.multinomial(logp.exp(), 1, generator=generator)
        chosen = zip(running, action[:, 0].tolist(), logp.gather(1, action)[:, 0].tolist(), strict=True)
        running = []
        for row, act, act_logp in chosen:
            after, reward, terminated[row], truncated, _ = envs[row].step(act)
            taken[row].append((state[row], act, float(reward), act_logp))
            state[row] = int(after)
            if not (terminated[row] or truncated):
                running.append(row)
    return _padded(taken, final_states=state, terminated=terminated, dtype=logp.dtype)


def with_bootstrap(episodes: Episodes, values: nn.Module, *, discount: float) -> Tensor:
    """The rewards, with γ V(s_T) added to the last one of every episode that was cut off; (B, T).

    A time limit is not an end of the world: the reward that would have followed is worth V(s_T), and without
    it every state near the limit would look bad. After a true end there is nothing. Folded into the reward
    like this, `gae` and `discounted_returns`, which take every row's end as final, need not know of it.
    No gradient reaches the values.
    """
    with torch.no_grad():
        beyond = values(episodes.final_states).to(episodes.rewards.dtype)
    rewards, rows = episodes.rewards.clone(), torch.arange(len(episodes))
    rewards[rows, last_true_index(episodes.mask)] += torch.where(episodes.terminated, 0.0, discount * beyond)
    return rewards


def with_kl_penalty(episodes: Episodes, reference: nn.Module, *, kl_weight: float) -> Episodes:
    """The same episodes, each step paying β (log π_old − log π_ref) out of its reward.

    The penalty depends on the policy, so it is no part of a world: a world's reward is a function of state
    and action. As everywhere in the book it is a constant for the gradient.
    """
    with torch.no_grad():
        logp_ref = action_logp(reference, episodes.states, episodes.actions)
    penalty = zero_off_mask(kl_weight * (episodes.logp_old - logp_ref), episodes.mask)
    kept = {f.name: getattr(episodes, f.name) for f in fields(episodes)}
    return Episodes(**{**kept, "rewards": episodes.rewards - penalty})


def _require_numbered(envs: Sequence[gymnasium.Env]) -> None:
    if not envs:
        raise ValueError("collect needs at least one environment, received none")
    for env in envs:
        for name, space in (("observation", env.observation_space), ("action", env.action_space)):
            if not isinstance(space, gymnasium.spaces.Discrete) or space.start != 0:
                raise ValueError(f"{name}s must be numbered from 0 (Discrete(n)); {env} has {space}")


def _padded(
    taken: list[list[tuple[int, int, float, float]]],
    *,
    final_states: list[int],
    terminated: list[bool],
    dtype: torch.dtype,
) -> Episodes:
    longest = max(len(row) for row in taken)
    padded = [row + [(0, 0, 0.0, 0.0)] * (longest - len(row)) for row in taken]
    # Through float32, torch's own choice for numbers like these, log-probabilities would lose digits.
    columns = (torch.int64, torch.int64, dtype, dtype)
    states, actions, rewards, logp = (
        torch.tensor([[step[part] for step in row] for row in padded], dtype=kind)
        for part, kind in enumerate(columns)
    )
    lengths = torch.tensor([[len(row)] for row in taken])
    return Episodes(
        states=states,
        actions=actions,
        rewards=rewards,
        mask=torch.arange(longest) < lengths,
        logp_old=logp,
        final_states=torch.tensor(final_states),
        terminated=torch.tensor(terminated),
    )
