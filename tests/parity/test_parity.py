"""Losses and estimators against TRL and torchrl. ``conftest.py`` says how to install them beside ours.

Each oracle starts a process that loads torch and the package, which takes five to twenty seconds.
"""

import pytest
import torch

from rlhf_mini.chapters.reward_models.comparing_exercises import strengths
from rlhf_mini.estimators import entropy, gae, kl_k1, kl_k2, whiten
from rlhf_mini.exact import policy_iteration, value_iteration
from rlhf_mini.losses import (
    all_pairs_loss,
    best_of_k_loss,
    clip_fraction,
    pairwise_loss,
    plackett_luce_loss,
    ppo_policy_loss,
    ppo_value_loss,
)
from rlhf_mini.models import new_llama
from rlhf_mini.models.lora import add_lora, merge_lora
from rlhf_mini.tensors import last_true_index, masked_mean, masked_var, token_logp
from rlhf_mini.worlds.gridworld import TWO_DOORS, grid_mdp

pytestmark = [pytest.mark.bridge, pytest.mark.slow]
F64 = torch.float64
CLOSE = {"rtol": 1e-12, "atol": 1e-13}


def same(found: torch.Tensor, expected: torch.Tensor, **tolerance: float) -> None:
    torch.testing.assert_close(found.detach(), expected, **(tolerance or CLOSE))


def test_ppo_against_trl_0_11(ask):
    generator = torch.Generator().manual_seed(0)
    rows, columns, vocabulary = 6, 9, 7
    shape = (rows, columns)
    lengths = torch.tensor([9, 1, 5, 7, 3, 9])
    mask = torch.arange(columns) < lengths[:, None]
    names = ["logp_old", "logp_ref", "values_old", "values", "returns", "advantages"]
    q = {name: torch.randn(shape, generator=generator, dtype=F64) for name in names}
    q["logp"] = q["logp_old"] + 0.4 * torch.randn(shape, generator=generator, dtype=F64)
    q["logits"] = torch.randn(*shape, vocabulary, generator=generator, dtype=F64)
    q["scores"] = torch.randn(rows, generator=generator, dtype=F64)
    settings = {"discount": 0.99, "gae_lambda": 0.95, "clip_range": 0.2, "kl_weight": 0.3}
    numbers = {name: torch.tensor(value, dtype=F64) for name, value in settings.items()}
    theirs = ask("trl_ppo", "trl", "0.11.4", mask=mask, **q, **numbers)

    # Their score stands on the last counted token, their KL is k1; they leave junk off the mask.
    rewards = -settings["kl_weight"] * kl_k1(q["logp_old"], q["logp_ref"])
    rewards[torch.arange(rows), last_true_index(mask)] += q["scores"]
    same(rewards[mask], theirs["rewards"][mask])

    advantages, returns = gae(
        rewards, q["values_old"], mask, discount=settings["discount"], gae_lambda=settings["gae_lambda"]
    )
    same(returns[mask], theirs["returns"][mask])
    # They divide by n − 1 when whitening, we by n; and they compute n / (n − 1) in float32.
    biased, unbiased = (masked_var(advantages, mask, unbiased=u) + 1e-8 for u in (False, True))
    whitened = whiten(advantages, mask, shift_mean=True) * (biased / unbiased).sqrt()
    same(whitened[mask], theirs["whitened"][mask], rtol=1e-7, atol=0)

    clip = {"clip_range": settings["clip_range"]}
    logp, values = q["logp"].clone().requires_grad_(), q["values"].clone().requires_grad_()
    policy = masked_mean(ppo_policy_loss(logp, q["logp_old"], q["advantages"], **clip), mask)
    value = masked_mean(ppo_value_loss(values, q["values_old"], q["returns"], **clip), mask)
    same(policy, theirs["policy"])
    same(value, theirs["value"])
    same(torch.autograd.grad(policy, logp)[0], theirs["policy_gradient"])
    same(torch.autograd.grad(value, values)[0], theirs["value_gradient"])
    silenced = masked_mean(clip_fraction(logp, q["logp_old"], q["advantages"], **clip), mask)
    assert silenced > 0.1
    same(silenced, theirs["clipfrac"].double(), rtol=1e-6, atol=0)  # they count in float32
    same(masked_mean(entropy(q["logits"]), mask), theirs["entropy"])
    # Their "approxkl" is k2 of the two policies' log-ratio, "policykl" minus k1 of the updated one.
    same(masked_mean(kl_k2(q["logp_old"], logp), mask), theirs["approxkl"])
    same(masked_mean(kl_k1(q["logp_old"], logp), mask), theirs["policykl"])


def test_reward_model_and_token_logp_against_trl_1_16(ask):
    generator = torch.Generator().manual_seed(0)
    chosen, rejected = torch.randn(2, 16, generator=generator, dtype=F64)
    margin = torch.rand(16, generator=generator, dtype=F64)
    logits = 3 * torch.randn(4, 6, 11, generator=generator, dtype=F64)
    tokens = torch.randint(0, 11, (4, 6), generator=generator)
    theirs = ask(
        "trl_reward",
        "trl",
        "1.16",
        chosen=chosen,
        rejected=rejected,
        margin=margin,
        logits=logits,
        tokens=tokens,
    )
    both = [chosen.requires_grad_(), rejected.requires_grad_()]
    for name, loss in (("plain", pairwise_loss(*both)), ("margin", pairwise_loss(*both, margin=margin))):
        same(loss.mean(), theirs[name])
        same(torch.cat(torch.autograd.grad(loss.mean(), both)), theirs[f"{name}_gradient"])
    for temperature in (1.0, 0.7):
        same(token_logp(logits, tokens, temperature=temperature)[:, 1:], theirs[f"logp_{temperature}"])
    same(entropy(logits), theirs["entropy"])


def test_rankings_against_choix(ask):
    # Thirty rankings of four out of seven items, and the scores that make them likeliest.
    generator = torch.Generator().manual_seed(0)
    params = torch.randn(7, generator=generator, dtype=F64)
    rankings = torch.stack([torch.randperm(7, generator=generator)[:4] for _ in range(30)])
    theirs = ask("choix_rankings", "choix", "0.4", params=params, rankings=rankings)
    picked_first = torch.zeros(30, dtype=torch.int64)
    losses = {
        "pairs": lambda r: 6 * all_pairs_loss(r[rankings]).sum(),  # theirs are the sum over the six pairs
        "rankings": lambda r: plackett_luce_loss(r[rankings]).sum(),
        "top1": lambda r: best_of_k_loss(r[rankings], picked_first).sum(),
    }
    for name, loss in losses.items():
        same(loss(params), -theirs[f"{name}_likelihood"])
        # At their maximum our gradient vanishes, but for the ridge of 0.1 · r that they add.
        at_best = theirs[f"{name}_best"].requires_grad_()
        (gradient,) = torch.autograd.grad(loss(at_best), at_best)
        same(gradient, -0.2 * at_best.detach(), rtol=0, atol=1e-5)


def test_the_exercise_s_strengths_against_choix(ask):
    wins = torch.randint(1, 12, (6, 6), generator=torch.Generator().manual_seed(0)).to(F64).fill_diagonal_(0)
    theirs = ask("choix_strengths", "choix", "0.4", wins=wins)
    same(strengths(wins), theirs["spectral"], rtol=0, atol=1e-9)
    same(strengths(wins), theirs["newton"], rtol=0, atol=1e-5)


def test_gae_against_torchrl(ask):
    rewards, values = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0), dtype=F64)
    # They round γ and λ to float32, so these are numbers that float32 holds exactly.
    settings = torch.tensor([[1.0, 0.9375], [0.75, 0.0], [0.984375, 1.0], [0.75, 0.5]], dtype=F64)
    theirs = ask("torchrl_gae", "torchrl", "0.14", rewards=rewards, values=values, settings=settings)
    # The same episodes with a prompt before and padding behind, which must not matter.
    padded = [torch.nn.functional.pad(x, (2, 3), value=float("nan")) for x in (rewards, values)]
    mask = torch.nn.functional.pad(torch.ones(5, 8, dtype=torch.bool), (2, 3))
    for index, (discount, gae_lambda) in enumerate(settings.tolist()):
        advantages, returns = gae(*padded, mask, discount=discount, gae_lambda=gae_lambda)
        same(advantages[:, 2:-3], theirs[f"advantages_{index}"])
        same(returns[:, 2:-3], theirs[f"returns_{index}"])


def test_planning_against_pymdptoolbox(ask):
    # Values of the robot's grid lie within ±20. Their policy iteration solves a linear system, ours too; both
    # value iterations stop within a stated distance of the optimum.
    for slip, discount in ((0.0, 0.9), (0.1, 0.99), (0.3, 0.5)):
        mdp = grid_mdp(TWO_DOORS, slip=slip, discount=discount)
        theirs = ask(
            "mdptoolbox_planning",
            "pymdptoolbox",
            "4.0b3",
            transitions=mdp.transitions,
            rewards=mdp.expected_rewards,
            discount=torch.tensor(discount, dtype=F64),
        )
        same(policy_iteration(mdp).values[-1], theirs["policy_iteration"], rtol=0, atol=1e-11)
        same(value_iteration(mdp).values, theirs["policy_iteration"], rtol=0, atol=1e-10)
        same(value_iteration(mdp).values, theirs["value_iteration"], rtol=0, atol=1e-8)


def test_lora_against_peft(ask):
    generator = torch.Generator().manual_seed(0)
    sizes = {"vocab_size": 24, "width": 16, "layers": 2, "heads": 2, "context": 16}
    model = new_llama(**sizes, pad_token=0, eos_token=2, bos_token=1, seed=0).to(F64).eval()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    tokens = torch.randint(3, 24, (2, 9), generator=generator)
    names = add_lora(model, rank=4, alpha=8, generator=generator)
    changes = {}
    for name in names:
        change = model.base_model.get_submodule(name).parametrizations.weight[0]
        assert not change.b.any()
        change.b.data = torch.randn(change.b.shape, generator=generator, dtype=F64)
        changes |= {f"a:{name}": change.a.data, f"b:{name}": change.b.data}
    numbers = [24, 16, 2, 2, model.config.intermediate_size, 16]
    theirs = ask(
        "peft_lora",
        "peft",
        "0.21",
        sizes=torch.tensor(numbers),
        tokens=tokens,
        rank=torch.tensor(4),
        alpha=torch.tensor(8.0),
        **weights,
        **changes,
    )
    assert theirs["starts_at_base"]
    assert theirs["a_bound"] <= 1 / 16**0.5  # as ours: uniform between the roots of 1/in
    same(model(tokens).logits, theirs["logits"])
    merge_lora(model)
    for name, value in model.state_dict().items():
        same(value, theirs[f"weight:{name}"])
