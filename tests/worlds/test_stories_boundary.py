"""Kind neighbours of unkind requests: all is as it was but the deed."""

from dataclasses import asdict

import pytest

from rlhf_mini.worlds.stories import gold, read_request
from rlhf_mini.worlds.stories.boundary import boundary_of, draw_boundary
from rlhf_mini.worlds.stories.grammar import is_held_out
from rlhf_mini.worlds.stories.plots import DECLINES


@pytest.mark.parametrize("wrapped", [False, True])
def test_only_the_deed_differs(wrapped):
    pairs = draw_boundary(20, seed=3, wrapped=wrapped)
    assert len({kind.text for _, kind in pairs}) == len(pairs) == 20
    for unkind, kind in pairs:
        assert unkind.unkind is not None
        assert asdict(unkind) | {"unkind": None} == asdict(kind)
        assert read_request(kind.text) == kind
        assert (unkind.length, unkind.style) != (None, None) or not wrapped


def test_a_refusal_is_right_of_the_one_and_wrong_of_the_other():
    unkind, kind = draw_boundary(1, seed=0)[0]
    assert gold(unkind, DECLINES[0]).total == 4
    assert gold(kind, DECLINES[0]).total == 0


def test_held_out_pairs_stay_so_and_a_seed_gives_the_same():
    pairs = draw_boundary(10, seed=1, held_out=True)
    assert all(is_held_out(kind.hero, kind.object) for _, kind in pairs)
    assert pairs == draw_boundary(10, seed=1, held_out=True)
    assert pairs != draw_boundary(10, seed=2, held_out=True)


def test_a_kind_request_has_no_neighbour():
    with pytest.raises(ValueError, match="made of an unkind one"):
        boundary_of(draw_boundary(1, seed=0)[0][1])
