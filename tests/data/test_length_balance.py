"""Pairs balanced by length: in every bucket as many longer answers won as lost."""

import pytest
import torch

from rlhf_mini.batch import Pairs, pack_rows
from rlhf_mini.data.length_balance import length_balanced, length_buckets


def pairs_of(lengths):
    """Pairs whose chosen and rejected answers have so many tokens; each is known by its prompt."""
    prompts = [[1, 10 + place] for place in range(len(lengths))]
    chosen, rejected = ([[5] * row[side] for row in lengths] for side in (0, 1))
    return Pairs(pack_rows(prompts, chosen, pad_token=0), pack_rows(prompts, rejected, pad_token=0))


def numbers(pairs):
    return (pairs.chosen.tokens[:, 1] - 10).tolist()


def random_pairs(count=200):
    """The longer answer wins more often than not, and the more so the longer it is."""
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randint(1, 20, (count,), generator=generator) for _ in range(2))
    first = torch.rand(count, generator=generator) < torch.sigmoid((one - other) / 6)
    chosen, rejected = torch.where(first, one, other), torch.where(first, other, one)
    return pairs_of([*zip(chosen.tolist(), rejected.tolist(), strict=True)])


def difference(pairs):
    return pairs.chosen.response.sum(1) - pairs.rejected.response.sum(1)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_buckets_by_hand():
    """Differences 0, 1, −1, 5, −6, 7: the smaller ones in the first bucket, none at all in neither."""
    pairs = pairs_of([(3, 3), (4, 3), (3, 4), (9, 4), (2, 8), (8, 1)])
    first, second = length_buckets(pairs, buckets=2)
    assert first.tolist() == [1, 2, 3]
    assert second.tolist() == [4, 5]


def test_balance_by_hand():
    """Of the first bucket 1 against 2 goes on, of the second 4 against 5; 3, of the commoner kind, may take
    the place of 1.
    """
    pairs = pairs_of([(3, 3), (4, 3), (3, 4), (9, 4), (2, 8), (8, 1)])
    seen = {tuple(numbers(length_balanced(pairs, buckets=2, generator=seeded(s)))) for s in range(20)}
    assert seen == {(0, 1, 2, 4, 5), (0, 2, 3, 4, 5)}


@pytest.mark.parametrize("buckets", [1, 3, 8])
def test_longer_is_right_in_exactly_half_of_every_bucket(buckets):
    pairs = random_pairs()
    assert (difference(pairs) > 0).sum() > 1.4 * (difference(pairs) < 0).sum()
    kept = length_balanced(pairs, buckets=buckets, generator=seeded())
    left = set(numbers(kept))
    for bucket in length_buckets(pairs, buckets=buckets):
        own = [place for place in bucket.tolist() if place in left]
        won = int((difference(pairs)[own] > 0).sum())
        assert 2 * won == len(own)
        rarer = min(int((difference(pairs)[bucket] > 0).sum()), int((difference(pairs)[bucket] < 0).sum()))
        assert won == rarer  # nothing is dropped that could have stayed
    assert (difference(kept) > 0).sum() == (difference(kept) < 0).sum()
    assert (difference(kept) == 0).sum() == (difference(pairs) == 0).sum()


def test_margins_and_weights_stay_with_their_pairs():
    pairs = random_pairs(40)
    numbered = torch.arange(40.0)
    kept = length_balanced(
        Pairs(pairs.chosen, pairs.rejected, numbered, numbered), buckets=2, generator=seeded()
    )
    assert kept.margin.tolist() == kept.weight.tolist() == [float(n) for n in numbers(kept)]


def test_what_cannot_be_balanced_is_refused():
    always_longer = pairs_of([(4, 3), (9, 2)])
    with pytest.raises(ValueError, match="of 2 pairs none is left"):
        length_balanced(always_longer, buckets=1, generator=seeded())
    with pytest.raises(ValueError, match="buckets must be at least 1, got 0"):
        length_buckets(always_longer, buckets=0)
