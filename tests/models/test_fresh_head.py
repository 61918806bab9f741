"""A fresh head on an old backbone."""

import torch

from rlhf_mini.models import new_llama, new_reward_model, new_value_model
from rlhf_mini.models.build import scalar_head
from rlhf_mini.models.fresh_head import with_fresh_head


def value_model():
    special = {"pad_token": 0, "eos_token": 2, "bos_token": 1}
    llama = new_llama(vocab_size=9, width=64, layers=1, heads=2, context=16, seed=0, **special)
    return new_value_model(new_reward_model(llama, seed=1))


def test_only_the_head_is_drawn_anew():
    before, model = value_model(), value_model()
    with torch.no_grad():
        scalar_head(model).bias.fill_(3.0)
    assert with_fresh_head(model, generator=torch.Generator().manual_seed(0)) is model
    assert scalar_head(model).bias.item() == 0
    assert not torch.equal(scalar_head(model).weight, scalar_head(before).weight)
    for one, other in zip(model.base_model.parameters(), before.base_model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_its_spread_is_a_reward_model_s():
    """64 draws with deviation 65^−½: their root mean square misses it by a third once in 5,000 times."""
    model = with_fresh_head(value_model(), generator=torch.Generator().manual_seed(0))
    spread = float(scalar_head(model).weight.detach().square().mean().sqrt()) * 65**0.5
    assert abs(spread - 1) < 1 / 3


def test_the_same_generator_draws_the_same():
    one, other = (with_fresh_head(value_model(), generator=torch.Generator().manual_seed(7)) for _ in "12")
    assert torch.equal(scalar_head(one).weight, scalar_head(other).weight)
