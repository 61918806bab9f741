"""PPO's losses, token rewards and scores against OpenRLHF and TRL's last PPO (see ``conftest.py``).

    pip install --no-deps --target .parity/openrlhf-0.11 openrlhf==0.11.2
    pip install --no-deps --target .parity/trl-1.12 trl==1.12.0

OpenRLHF's package asks for more than a pure loss needs; its oracle loads the two modules alone.
"""

import pytest
import torch

from rlhf_mini.batch import pack_rows
from rlhf_mini.estimators import kl_k1, kl_k2, kl_k3, token_rewards, whiten
from rlhf_mini.losses import clip_fraction, ppo_policy_loss, ppo_value_loss, value_loss
from rlhf_mini.models import freeze, new_llama, new_reward_model, sequence_scores
from rlhf_mini.tensors import last_true_index, masked_mean, masked_var

pytestmark = [pytest.mark.bridge, pytest.mark.slow]
F64 = torch.float64


def same(found, expected, *, rtol=1e-12, atol=1e-13):
    torch.testing.assert_close(found.detach(), expected, rtol=rtol, atol=atol)


def test_losses_rewards_and_kl_against_openrlhf(ask):
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([9, 1, 5, 7, 3, 9])
    shape = (len(lengths), 9)
    mask = torch.arange(9) < lengths[:, None]
    names = ["logp_old", "logp_ref", "values_old", "values", "returns", "advantages"]
    q = {name: torch.randn(shape, generator=generator, dtype=F64) for name in names}
    q["logp"] = q["logp_old"] + 0.4 * torch.randn(shape, generator=generator, dtype=F64)
    q["scores"] = torch.randn(len(lengths), generator=generator, dtype=F64)
    numbers = {"clip_range": torch.tensor(0.2, dtype=F64), "kl_weight": torch.tensor(0.3, dtype=F64)}
    theirs = ask("openrlhf_ppo", "openrlhf", "0.11", mask=mask, **q, **numbers)

    logp, values = q["logp"].clone().requires_grad_(), q["values"].clone().requires_grad_()
    policy = masked_mean(ppo_policy_loss(logp, q["logp_old"], q["advantages"], clip_range=0.2), mask)
    value = masked_mean(ppo_value_loss(values, q["values_old"], q["returns"], clip_range=0.2), mask)
    same(policy, theirs["policy"])
    same(value, theirs["value"])
    same(masked_mean(value_loss(values, q["returns"]), mask), theirs["plain"])
    same(torch.autograd.grad(policy, logp)[0], theirs["policy_gradient"])
    same(torch.autograd.grad(value, values)[0], theirs["value_gradient"])
    silenced = masked_mean(clip_fraction(logp, q["logp_old"], q["advantages"], clip_range=0.2), mask)
    same(silenced.float(), theirs["clipped"].float(), rtol=1e-6)

    # They compute KL in float32, and cap every estimate at 10, which none of these reaches.
    for name, estimate in (("k1", kl_k1), ("k2", kl_k2), ("k3", kl_k3)):
        ours = estimate(logp, q["logp_ref"])
        inside = ours.abs() < 10
        assert inside.double().mean() > 0.9
        same(ours[inside].float(), theirs[name][inside].float(), rtol=1e-4, atol=1e-5)
        (gradient,) = torch.autograd.grad(ours.sum(), logp)
        same(gradient[inside], theirs[f"{name}_gradient"][inside].double(), rtol=1e-4, atol=1e-5)
    rewards = token_rewards(q["scores"], q["logp_old"], q["logp_ref"], mask, kl_weight=0.3)
    same(rewards[mask].float(), theirs["rewards"][mask].float(), rtol=1e-5, atol=1e-6)


def test_scores_and_whitening_against_the_last_ppo_of_trl(ask):
    generator = torch.Generator().manual_seed(0)
    sizes = {"vocab_size": 24, "width": 16, "layers": 2, "heads": 2, "context": 16}
    policy = new_llama(**sizes, pad_token=0, eos_token=2, bos_token=1, seed=0)
    model = freeze(new_reward_model(policy, seed=1).to(F64))
    prompts = torch.randint(3, 24, (5, 3), generator=generator)
    drawn = torch.randint(3, 24, (5, 6), generator=generator)
    for row, end in enumerate((0, 2, 4, 5)):  # the last one never ends
        drawn[row, end] = 2
    values = torch.randn(5, 6, generator=generator, dtype=F64)
    theirs_mask = torch.arange(6) < torch.tensor([1, 3, 5, 6, 6])[:, None]
    theirs = ask(
        "trl_ppo_last",
        "trl",
        "1.12",
        sizes=torch.tensor([24, 16, 2, 2, model.config.intermediate_size, 16]),
        special=torch.tensor([2, 0, 3]),
        prompts=prompts,
        drawn=drawn,
        values=values,
        mask=theirs_mask,
        **{f"w:{name}": weight for name, weight in model.state_dict().items()},
    )
    # What our sampler stops at, they draw on and cut off.
    answers = [row[: row.index(2) + 1] if 2 in row else row for row in drawn.tolist()]
    rows = pack_rows(prompts.tolist(), answers, pad_token=0)
    assert torch.equal(rows.tokens[:, 3:], theirs["cut"])
    assert torch.equal(rows.response[:, 3:], theirs_mask)
    # The score is read at the answer's last token, its end token if it has one. (In their trainer it becomes
    # the reward of the place behind it.)
    assert torch.equal(last_true_index(rows.mask), theirs["last"])
    found = sequence_scores(model, rows.tokens, rows.mask)
    same(found, theirs["scores"], rtol=1e-5, atol=1e-6)  # Llama's norms compute in float32
    # They divide by n − 1, we by n; and they compute n / (n − 1) in float32.
    biased, unbiased = (masked_var(values, theirs_mask, unbiased=u) for u in (False, True))
    same(masked_mean(values, theirs_mask), theirs["mean"])
    same(unbiased, theirs["variance"], rtol=1e-7)
    scale = ((biased + 1e-8) / (unbiased + 1e-8)).sqrt()
    whitened = whiten(values, theirs_mask, shift_mean=True) * scale
    same(whitened[theirs_mask], theirs["whitened"][theirs_mask], rtol=1e-6, atol=1e-9)
    mean = masked_mean(values, theirs_mask)
    same(whitened[theirs_mask] + mean, theirs["whitened_with_mean"][theirs_mask], rtol=1e-6, atol=1e-9)
