"""The solutions of chapter 03 are what the library does."""

import torch

from rlhf_mini.batch import Sequences, pack_rows
from rlhf_mini.chapters.fine_tuning import exercises
from rlhf_mini.data.packed import pack_several
from rlhf_mini.data.selection import k_centre
from rlhf_mini.losses import next_token_loss
from rlhf_mini.models.lora import LowRank
from rlhf_mini.tensors import masked_mean


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_mask_is_that_of_the_library():
    rows = pack_rows([[1, 5, 6], [1], [1, 9]], [[7, 2], [8, 8, 2], [2]], pad_token=0)
    prompts = (rows.mask & ~rows.response).sum(1)
    assert torch.equal(exercises.answer_mask(rows.tokens, prompts, 0), rows.response)


def test_the_means_are_those_of_the_library():
    losses = next_token_loss(-torch.rand(3, 7, generator=seeded()))
    counted = torch.rand(3, 7, generator=seeded(1)) < 0.6
    over_tokens, over_rows = exercises.two_means(losses, counted)
    torch.testing.assert_close(over_tokens, masked_mean(losses, counted))
    torch.testing.assert_close(over_rows, masked_mean(losses, counted, dim=1).mean())


def test_the_walls_are_those_of_packed_rows():
    mask = torch.arange(4) < torch.tensor([4, 3, 2])[:, None]
    response = mask & (torch.arange(4) > 0)
    packed = pack_several(Sequences(mask.long(), mask, response), width=9, pad_token=0)
    assert torch.equal(packed.visible[0], exercises.walls([4, 3, 2]))


def test_the_merged_weight_is_that_of_the_library():
    weight = torch.randn(3, 5, generator=seeded())
    change = LowRank(weight, rank=2, scale=6.0 / 2, generator=seeded(1))
    change.b.data = torch.randn(3, 2, generator=seeded(2))
    expected = change(weight).detach()
    torch.testing.assert_close(exercises.merged(weight, change.a.data, change.b.data, 6.0), expected)


def test_the_next_text_is_that_of_the_library():
    points = torch.randn(12, 3, generator=seeded())
    chosen = [4]
    while len(chosen) < 6:
        chosen.append(exercises.farthest_text(points, chosen))
    assert chosen == k_centre(points, count=6, first=4)


def test_scheduled_sampling_s_optimum_beats_its_neighbours():
    # The exact loss: kept tokens have their own targets, replaced ones the targets' marginal.
    joint = torch.tensor([[0.1, 0.2], [0.4, 0.3]], dtype=torch.float64)
    keep = 0.3

    def loss(table):
        replaced = joint.sum(1)[:, None] * joint.sum(0)[None, :]
        return -((keep * joint + (1 - keep) * replaced) * table.log()).sum()

    best = exercises.scheduled_optimum(joint, keep)
    torch.testing.assert_close(best.sum(1), torch.ones(2, dtype=torch.float64))
    shifted = best + 0.01 * torch.tensor([[1.0, -1.0], [0.0, 0.0]], dtype=torch.float64)
    other = best + 0.01 * torch.tensor([[0.0, 0.0], [-1.0, 1.0]], dtype=torch.float64)
    assert loss(best) < min(loss(shifted), loss(other), loss(2 * best - shifted), loss(2 * best - other))
