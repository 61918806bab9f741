"""Names in a crowded plane: near their marks, in the axes, touching nothing."""

import itertools
import random

from rlhf_mini.reader.naming import place_names


def test_names_touch_neither_one_another_nor_a_mark():
    rng = random.Random(0)
    points = {f"a name of {i}": (rng.uniform(0.05, 0.95), rng.uniform(0.1, 0.9)) for i in range(13)}
    boxes = {text: name.box for text, name in place_names(points).items()}
    boxes |= {f"mark of {i}": (x, x, y, y) for i, (x, y) in enumerate(points.values())}
    for (one, first), (other, second) in itertools.combinations(boxes.items(), 2):
        apart = any(a[side + 1] <= b[side] for side in (0, 2) for a, b in ((first, second), (second, first)))
        assert apart or (one.startswith("mark") and other.startswith("mark")), (one, other)
    for text, name in place_names(points).items():
        assert 0 <= name.box[0] <= name.box[1] <= 1
        assert abs(name.y - points[text][1]) <= 0.25
        assert (name.x < points[text][0]) is name.left


def test_a_name_without_a_free_place_stands_beside_its_mark():
    crowd = {f"the same place, number {i}": (0.5, 0.5) for i in range(40)}
    assert {name.y for name in list(place_names(crowd).values())[-5:]} == {0.5}


def test_a_name_goes_out_of_the_way_of_a_mark_that_has_none():
    alone = place_names({"PPO": (0.3, 0.5)})["PPO"]
    moved = place_names({"PPO": (0.3, 0.5)}, others=[(0.34, 0.5)])["PPO"]
    assert not alone.left
    assert moved.left
    walled = place_names({"PPO": (0.3, 0.5)}, others=[(0.34, 0.5), (0.26, 0.5)])["PPO"]
    assert walled.y != 0.5
