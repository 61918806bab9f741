"""Chapter 07 on the toy language: labels turned round, and the losses that are told of it."""

import pytest
import torch

from rlhf_mini.chapters.direct import toy_noise
from rlhf_mini.chapters.direct.toy import ToyWorld, expected_loss, pair_weights


def test_a_turned_label_calls_the_worse_one_better():
    chances = torch.tensor([0.5, 1.0, 0.2])
    torch.testing.assert_close(toy_noise.flipped(chances, 0.0), chances)
    torch.testing.assert_close(toy_noise.flipped(chances, 1.0), 1 - chances)
    torch.testing.assert_close(toy_noise.flipped(chances, 0.3), torch.tensor([0.5, 0.7, 0.38]))


def test_what_the_losses_are_on_average_over_turned_labels():
    world, values = ToyWorld(0), torch.randn(85, generator=torch.Generator().manual_seed(0)).double()
    clean = pair_weights(world.logp_ref, world.chances)
    turned = pair_weights(world.logp_ref, toy_noise.flipped(world.chances, 0.3))
    losses = toy_noise.losses_of(0.5, 0.3)
    average = {
        name: [float(expected_loss(loss, values, weights)) for weights in (clean, turned)]
        for name, loss in losses.items()
    }
    assert average["robust DPO"][1] == pytest.approx(average["DPO"][0], abs=1e-12)
    assert average["cDPO"][0] == pytest.approx(average["DPO"][1], abs=1e-12)
    assert average["DPO"][0] != pytest.approx(average["DPO"][1], abs=1e-3)


@pytest.mark.parametrize("seed", [0, 1])
def test_robust_dpo_lands_if_labels_never_end_and_not_from_few(seed):
    found = toy_noise.turned(seed=seed, languages=2, steps=200)
    assert found["exact robust DPO"] < 1e-8
    assert min(found["exact DPO"], found["exact cDPO"]) > 0.05
    assert found["few cDPO"] < found["few DPO"] < found["few robust DPO"] / 2
    assert found["few not turned"] < found["few DPO"]
    worlds = [ToyWorld(1000 * seed), ToyWorld(1000 * seed + 1)]
    apart = [float((w.logp_ref.exp() * (w.logp_ref - w.best(1.0))).sum()) for w in worlds]
    assert found["few untrained"] == pytest.approx(sum(apart) / 2)
