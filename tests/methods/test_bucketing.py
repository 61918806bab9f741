"""Batches of similar length: every row once an epoch, little padding, and no curriculum."""

import pytest
import torch

from rlhf_mini.methods.bucketing import BUCKET, shuffled_batches


def batches_of(lengths, *, batch, epochs=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [*shuffled_batches(torch.as_tensor(lengths), batch=batch, epochs=epochs, generator=generator)]


def test_every_row_comes_once_an_epoch_in_a_new_order():
    batches = batches_of([*range(12)], batch=4, epochs=2)
    assert [len(rows) for rows in batches] == [4] * 6
    first, second = (torch.cat(batches[start : start + 3]).tolist() for start in (0, 3))
    assert sorted(first) == sorted(second) == [*range(12)]
    assert first != second


def test_an_incomplete_last_batch_is_left_out_and_no_row_comes_twice():
    batches = batches_of([5] * 11, batch=4)
    assert len(batches) == 2
    assert len(set(torch.cat(batches).tolist())) == 8


def test_every_row_has_its_turn_in_the_end():
    assert set(torch.cat(batches_of([5] * 5, batch=4, epochs=30)).tolist()) == {*range(5)}


def test_rows_of_a_batch_are_of_similar_length_and_batches_do_not_come_by_length():
    # One bucket: 16 batches of 4, sorted by length, so that a batch holds four neighbours.
    lengths = torch.randperm(BUCKET * 4, generator=torch.Generator().manual_seed(5))
    batches = batches_of(lengths, batch=4)
    assert all(int(lengths[rows].max() - lengths[rows].min()) == 3 for rows in batches)
    longest = [int(lengths[rows].max()) for rows in batches]
    assert longest != sorted(longest)


def test_rows_of_one_length_are_shuffled_among_all():
    # Two buckets of 16 batches: with equal lengths, rows meet others than their neighbours.
    batches = batches_of([7] * (2 * BUCKET * 4), batch=4)
    assert max(int(rows.max() - rows.min()) for rows in batches) > 64


def test_a_generator_fixes_the_order():
    one, two, other = (torch.cat(batches_of([*range(40)], batch=5, seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_fewer_rows_than_a_batch_are_refused():
    with pytest.raises(ValueError, match="4 rows do not fill one batch of 5: give more rows or a smaller"):
        batches_of([1] * 4, batch=5)
