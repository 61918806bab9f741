"""PPO with its clipping, without it, and with half of it: several epochs on each rollout, large steps."""

from functools import partial

import torch
from torch import Tensor

from rlhf_mini.chapters.grid_world.gradients import DISCOUNT, NO_BAIT, Diary, grid_envs, tables
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.losses import ppo_policy_loss, ratio_policy_loss
from rlhf_mini.methods.episodes import Episodes, TabularPolicy
from rlhf_mini.methods.grid_ppo import GridPPOConfig, PolicyLoss, grid_ppo
from rlhf_mini.tensors import masked_mean

CLIP_RANGE = 0.2


def clip_without_min(logp: Tensor, logp_old: Tensor, advantages: Tensor) -> Tensor:
    """−clip(ρ, 1 − ε, 1 + ε) A: a loss that circulates. A step that did harm is silenced too.

    >>> logp = torch.tensor([[2.0]]).log().requires_grad_()  # a bad action, already twice as likely as before
    >>> loss = clip_without_min(logp, torch.zeros(1, 1), torch.tensor([[-1.0]]))
    >>> torch.autograd.grad(loss.sum(), logp)[0]
    tensor([[0.]])
    """
    ratio = torch.exp(logp - logp_old.detach()).clamp(1 - CLIP_RANGE, 1 + CLIP_RANGE)
    return -ratio * advantages.detach()


POLICY_LOSSES: dict[str, PolicyLoss] = {
    "clipped": partial(ppo_policy_loss, clip_range=CLIP_RANGE),
    "not clipped": ratio_policy_loss,
    "clip without min": clip_without_min,
}


class Watch:
    """Plays for PPO like a `Diary`, and measures how far each update moved the policy.

    `kl` gets, at every call but the first, KL(π_old ‖ π) of the update since the last one: an exact sum over
    actions, averaged over the states that the last episodes visited; nats per step.
    """

    def __init__(self, diary: Diary) -> None:
        self.diary, self.kl = diary, list[float]()
        self._before: tuple[Tensor, Episodes] | None = None

    def __call__(self) -> Episodes:
        """Measure the last update, then play."""
        self.measure()
        episodes = self.diary()
        self._before = _log_table(self.diary.policy), episodes
        return episodes

    def measure(self) -> None:
        """Note the divergence of the last update, if there was one."""
        if self._before is not None:
            old, episodes = self._before
            per_state = (old.exp() * (old - _log_table(self.diary.policy))).sum(-1)
            self.kl.append(float(masked_mean(per_state[episodes.states], episodes.mask)))


def _log_table(policy: TabularPolicy) -> Tensor:
    return policy.logits.detach().log_softmax(-1)


def clipping(
    seed: int, *, iterations: int = 60, epochs: int = 10, learning_rate: float = 0.2
) -> dict[str, dict[str, list[float]]]:
    """PPO with each of `POLICY_LOSSES` from the same seed, on the grid whose doors pay nothing.

    For each, per iteration: `steps` so far and the policy's exact `returns` before it; `kl` of its update,
    nats per step; `clip_fraction`, the share of steps that clipping silenced, or would have, in the last
    pass.
    """
    curves = {}
    for name, policy_loss in POLICY_LOSSES.items():
        envs = grid_envs(prizes=NO_BAIT)
        policy, values = tables(envs)
        generator = torch.Generator().manual_seed(seed)
        watch = Watch(Diary(envs, policy, generator))
        config = GridPPOConfig(
            iterations=iterations,
            epochs=epochs,
            minibatches=1,
            optimizer=OptimizerConfig(learning_rate=learning_rate),
            discount=DISCOUNT,
            clip_range=CLIP_RANGE,
        )
        history = grid_ppo(policy, values, watch, config=config, generator=generator, policy_loss=policy_loss)
        watch.measure()
        watch.diary.note()
        curves[name] = {
            "steps": [float(steps) for steps in watch.diary.steps],
            "returns": watch.diary.returns,
            "kl": watch.kl,
            "clip_fraction": [entry["clip_fraction"] for entry in history[epochs - 1 :: epochs]],
        }
    return curves
