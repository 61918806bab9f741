"""KL to a reference, paid for in the loss by three estimators or in the reward: which way each of them pulls.

A language of 85 texts, a reference and a policy that differs from it. Samples are the policy's own, and the mean over
them is a sum over texts.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from rlhf_mini.chapters.toy_language import LANGUAGE, TextWorld
from rlhf_mini.chapters.verifiable.toy import cosine
from rlhf_mini.exact import expectation, kl_divergence, kl_optimum, policy_gradient
from rlhf_mini.losses import reweighted_kl_loss
from rlhf_mini.methods.group_methods import Penalty, k1_penalty, k2_penalty, k3_penalty
from rlhf_mini.tensors import masked_sum

PENALTIES: Mapping[str, Penalty] = {
    "k1": k1_penalty,
    "k2": k2_penalty,
    "k3": k3_penalty,
    "reweighted": reweighted_kl_loss,
}
APART, STEP = (
    0.7,
    0.5,
)  # standard deviation of the policy's logits about the reference's, and of a later policy's
KL_WEIGHT, STEPS, RATE = 0.5, 400, 0.1  # of the runs to the end


class Pair(TextWorld):
    """A reference, a reward, and two policies: the one that drew, and the one that it has become."""

    @property
    def logits_ref(self) -> Tensor:
        """(S, V): the reference as a table."""
        return self._drawn_logits(0)

    @property
    def logits_old(self) -> Tensor:
        """(S, V): the policy that drew."""
        return self.logits_ref + APART * self._drawn_logits(1)

    @property
    def logits_moved(self) -> Tensor:
        """(S, V): a later policy."""
        return self.logits_old + STEP * self._drawn_logits(2)

    def _drawn_logits(self, number: int) -> Tensor:
        generator = torch.Generator().manual_seed(10 * self.seed + number)
        shape = (len(LANGUAGE.states), LANGUAGE.vocabulary)
        return torch.randn(shape, generator=generator, dtype=torch.float64)


def token_logp(logits: Tensor) -> Tensor:
    """(B, T): the log-probability of each token of each text under a table of logits."""
    return LANGUAGE.from_table(logits.log_softmax(1))


def pulls(*, seed: int, moved: bool = False) -> dict[str, float]:
    """The expected gradient of each way to pay for KL, beside the gradients of both divergences of whole texts.

    The ways are the four `PENALTIES` summed over an answer's tokens, `{name} whole`: the same of one number an answer,
    the sum of its log-ratios; and `reward`: each answer's k1 as a negative reward. With `moved` the samples are those
    of the old policy and the gradient that of the later one; else both are the old.

    - `size {way}`: its norm, in units of ∇KL(π ‖ π_ref). `along {way}`, `along turned {way}`: its cosine with that
      and with ∇KL(π_ref ‖ π); 0 if it has no size.
    - `held {way}`: its cosine with Σ_s d(s) ∇KL(π(·|s) ‖ π_ref(·|s)), the states s being visited as the samples do.
    - `error {way}`: its largest difference to ∇KL(π ‖ π_ref), `error turned {way}` to ∇KL(π_ref ‖ π), and
      `error held {way}` to that with the states held.
    """
    world = Pair(seed)
    leaf = (world.logits_moved if moved else world.logits_old).requires_grad_()
    logp, old, ref = token_logp(leaf), token_logp(world.logits_old), token_logp(world.logits_ref)
    drawn = old.sum(1).exp()

    def slope(number: Tensor) -> Tensor:
        return torch.autograd.grad(number, [leaf], retain_graph=True)[0]

    ways = {}
    for name, penalty in PENALTIES.items():
        ways[name] = slope((drawn * masked_sum(penalty(logp, old, ref), LANGUAGE.response, dim=1)).sum())
        whole = penalty(*(each.sum(1, keepdim=True) for each in (logp, old, ref)))
        ways[f"{name} whole"] = slope((drawn * whole[:, 0]).sum())
    price = (old - ref).sum(1)
    ways["reward"] = slope((drawn * (logp - old).sum(1).exp() * price).sum())
    whole_texts = (logp.sum(1), ref.sum(1))
    targets = {
        "": slope(kl_divergence(*whole_texts)),
        "turned ": slope(kl_divergence(*whole_texts[::-1])),
        "held ": slope(_held(leaf, world, drawn)),
    }
    return _compared(ways, targets)


def _held(logits: Tensor, world: Pair, drawn: Tensor) -> Tensor:
    """Σ_s d(s) KL(π(·|s) ‖ π_ref(·|s)), d being how often the texts that were drawn pass through s."""
    logp, logp_ref = logits.log_softmax(1), world.logits_ref.log_softmax(1)
    by_state = (logp.exp() * (logp - logp_ref)).sum(1)
    return (drawn[:, None] * LANGUAGE.from_states(by_state)).sum()


def _compared(ways: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, float]:
    found, unit = {}, targets[""].norm()
    for name, way in ways.items():
        found[f"size {name}"] = float(way.norm() / unit)
        for which, target in targets.items():
            key = "held" if which == "held " else f"along {which}".strip()
            found[f"{key} {name}"] = cosine(way, target) if way.norm() > 1e-12 * unit else 0.0
            found[f"error {which}{name}"] = float((way - target).abs().max())
    return found


def ends(*, seed: int) -> dict[str, float]:
    """Where learning ends that is paid the reward and pays β = `KL_WEIGHT` for KL by each way, on fresh samples always.

    Adam on the expected gradient, from the reference. `distance {way}`: KL(π ‖ π*) in nats per text, π* being the
    optimum of E[r] − β KL(π ‖ π_ref); `kl {way}`: KL(π ‖ π_ref); `reward {way}`. `… optimum` is π* itself.
    """
    world = Pair(seed)
    ref = token_logp(world.logits_ref)
    best = kl_optimum(ref.sum(1), world.rewards, kl_weight=KL_WEIGHT).logp
    found = {f"{key} optimum": value for key, value in _told(best, best, ref, world).items()}
    for way in ("k1", "k2", "k3", "reward"):
        logits = world.logits_ref.requires_grad_()
        optimizer = torch.optim.Adam([logits], lr=RATE)
        falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, STEPS)
        for _ in range(STEPS):
            logp = token_logp(logits)
            drawn, rewards = logp.detach().sum(1).exp(), world.rewards
            if way == "reward":
                rewards = rewards - KL_WEIGHT * (logp.detach() - ref).sum(1)
            (climb,) = policy_gradient(logp.sum(1), rewards, [logits])
            logits.grad = -climb
            if way != "reward":
                price = masked_sum(PENALTIES[way](logp, logp.detach(), ref), LANGUAGE.response, dim=1)
                logits.grad += KL_WEIGHT * torch.autograd.grad((drawn * price).sum(), [logits])[0]
            optimizer.step()
            falling.step()
        texts = token_logp(logits.detach()).sum(1)
        found |= {f"{key} {way}": value for key, value in _told(texts, best, ref, world).items()}
    return found


def _told(texts: Tensor, best: Tensor, ref: Tensor, world: Pair) -> dict[str, float]:
    return {
        "distance": float(kl_divergence(texts, best)),
        "kl": float(kl_divergence(texts, ref.sum(1))),
        "reward": float(expectation(texts, world.rewards)),
    }
