"""Choosing texts by their embeddings."""

import pytest
import torch

from rlhf_mini.batch import pack_rows
from rlhf_mini.data.selection import k_centre, k_means, nearest_points, text_embeddings
from tests.models.tiny import PAD, PROMPTS, llama, other


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", ["llama", "neox"])
def test_embeddings_are_the_mean_hidden_state_of_each_text(name):
    model = (llama() if name == "llama" else other(name)).eval()
    rows = pack_rows(PROMPTS, [[2]] * len(PROMPTS), pad_token=PAD)
    found = text_embeddings(model, rows, batch=3)
    for row, prompt in enumerate(PROMPTS):
        with torch.no_grad():
            hidden = model.base_model(torch.tensor([[*prompt, 2]])).last_hidden_state[0]
        mean = hidden.mean(0)
        torch.testing.assert_close(found[row], mean / mean.norm(), atol=1e-5, rtol=1e-5)


def test_embeddings_do_not_see_padding():
    model = llama().eval()
    rows = pack_rows(PROMPTS, [[2]] * len(PROMPTS), pad_token=PAD)
    alone = text_embeddings(model, rows.rows([0]))
    torch.testing.assert_close(text_embeddings(model, rows)[:1], alone, atol=1e-6, rtol=0)


def test_k_means_finds_what_is_far_apart():
    around = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    noise = 0.1 * torch.randn(3, 20, 2, generator=seeded())
    points = (around[:, None] + noise).flatten(0, 1)
    for seed in range(20):  # some starts put two centres into one group, and Lloyd's algorithm stays there
        centres = k_means(points, clusters=3, generator=seeded(seed))
        if torch.cdist(around, centres).min(1).values.max() < 0.2:
            break
    else:
        pytest.fail("no start found the three groups")
    expected = points.view(3, 20, 2).mean(1)
    torch.testing.assert_close(
        torch.cdist(expected, centres).min(1).values, torch.zeros(3), atol=1e-5, rtol=0
    )


def test_k_means_by_hand():
    # From any two of 0, 1, 10, 11 as first centres, the means end at 0.5 and 10.5, or stay in a poor optimum.
    points = torch.tensor([[0.0], [1.0], [10.0], [11.0]])
    found = {
        tuple(sorted(k_means(points, clusters=2, generator=seeded(s)).flatten().tolist())) for s in range(9)
    }
    assert (0.5, 10.5) in found
    assert k_means(points, clusters=4, generator=seeded()).flatten().sort().values.tolist() == [0, 1, 10, 11]


def test_a_cluster_of_one_is_its_point():
    # Begun at 0 and 1, the centres first move to 0 and 5.5; then 1 changes sides, and 10 is left alone.
    points = torch.tensor([[0.0], [1.0], [10.0]])
    starts = set()
    for seed in range(12):
        starts.add(frozenset(torch.randperm(3, generator=seeded(seed))[:2].tolist()))
        found = k_means(points, clusters=2, generator=seeded(seed))
        assert sorted(found.flatten().tolist()) == [0.5, 10.0]
    assert frozenset({0, 1}) in starts


def test_the_generator_decides_and_the_points_stay():
    points = torch.randn(30, 2, generator=seeded(5))
    before = points.clone()
    torch.manual_seed(0)
    one = k_means(points, clusters=4, generator=seeded(1), rounds=1)
    torch.manual_seed(1)
    again = k_means(points, clusters=4, generator=seeded(1), rounds=1)
    assert torch.equal(one, again)
    assert torch.equal(points, before)


def test_an_empty_cluster_keeps_its_centre():
    points = torch.tensor([[1.0], [1.0], [1.0]])
    assert k_means(points, clusters=2, generator=seeded()).tolist() == [[1.0], [1.0]]


def test_rounds_are_rounds():
    points = torch.tensor([[0.0], [1.0], [10.0], [11.0]])
    assert set(k_means(points, clusters=2, generator=seeded(), rounds=0).flatten().tolist()) <= {
        0.0,
        1.0,
        10.0,
        11.0,
    }


def test_nearest_points_are_not_taken_twice():
    points = torch.tensor([[0.0], [1.0], [2.0]])
    assert nearest_points(points, torch.tensor([[1.1], [1.1], [1.1]])) == [1, 2, 0]


def test_k_centre_covers_within_twice_the_best():
    points = torch.randn(9, 2, generator=seeded(3))
    distances = torch.cdist(points, points)

    def radius(chosen):
        return distances[:, list(chosen)].min(1).values.max()

    best = min(radius(c) for c in torch.combinations(torch.arange(9), 3).tolist())
    for first in range(9):
        chosen = k_centre(points, count=3, first=first)
        assert chosen[0] == first
        assert len(set(chosen)) == 3
        assert radius(chosen) <= 2 * best + 1e-6


@pytest.mark.parametrize("count", [0, 4])
def test_counts_that_cannot_be_are_refused(count):
    points = torch.zeros(3, 2)
    with pytest.raises(ValueError, match=f"asked for {count} of 3 points; give a number from 1 to 3"):
        k_centre(points, count=count, first=0)
    with pytest.raises(ValueError, match=f"asked for {count} of 3"):
        k_means(points, clusters=count, generator=seeded())
    with pytest.raises(ValueError, match=f"asked for {count} of 3"):
        nearest_points(points, torch.zeros(count, 2))


def test_the_least_and_the_most_can_be_asked_for():
    points = torch.tensor([[0.0], [3.0], [7.0]])
    assert k_centre(points, count=1, first=2) == [2]
    assert k_centre(points, count=3, first=1) == [1, 2, 0]
    assert k_means(points, clusters=1, generator=seeded()).item() == pytest.approx(10 / 3)
