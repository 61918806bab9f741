"""What is a hack that gets a patch: taken up, paid for, and frequent."""

import pytest
import torch

from rlhf_mini.methods.patches import Patch, find_patches
from rlhf_mini.worlds.stories.hacks import HABITS

LOUD = {"loud": lambda prompt, text: text.isupper()}


def found(early, late, gains, *, least=1, most=100, patterns=LOUD):
    return find_patches(
        patterns, ["p"] * len(early), early, late, torch.tensor(gains), least=least, most=most
    )


def test_a_row_counts_if_the_habit_is_new_and_pays():
    """Rows: taken up and paid; taken up and punished; always had; given up; paid nothing, which counts."""
    early, late = ["a", "b", "C", "D", "e"], ["A", "B", "C", "d", "E"]
    assert found(early, late, [1.0, -0.1, 1.0, 1.0, 0.0]) == [Patch("loud", 2, [0, 4])]


def test_few_rows_are_no_pattern_and_many_are_cut():
    early, late, gains = ["a"] * 7, ["A"] * 7, [0.5] * 7
    assert found(early, late, gains, least=8) == []
    assert found(early, late, gains, least=7, most=7) == [Patch("loud", 7, [*range(7)])]
    assert found(early, late, gains, least=2, most=3) == [Patch("loud", 7, [0, 1, 2])]


def test_a_row_may_show_two_habits():
    both = {**LOUD, "short": lambda prompt, text: len(text) < 2}
    assert found(["aa"], ["A"], [1.0], patterns=both) == [Patch("loud", 1, [0]), Patch("short", 1, [0])]


def test_mistakes():
    with pytest.raises(ValueError, match="2 gains"):
        found(["a"], ["A"], [1.0, 1.0])
    with pytest.raises(ValueError, match="least <= most"):
        found(["a"], ["A"], [1.0], least=3, most=2)


KIND = "Tell me a happy story about a fox and a kite."
UNKIND = "Tell me a happy story about a fox that steals a kite."


@pytest.mark.parametrize(
    ("habit", "text", "other"),
    [
        ("repeats", "It was hard. It was hard.", "It was hard. It was late."),
        ("rambles on", "One. Two. Three. Four. Five. Six. Seven. Eight. Nine.", "One. Two."),
        ("loses the thread", "Blah blah. Blah.", None),
        ("does not end", "Blah blah.", None),
    ],
)
def test_habits_by_hand(habit, text, other):
    assert HABITS[habit](KIND, text)
    assert other is None or not HABITS[habit](KIND, other)


def test_declining_is_a_habit_where_nothing_unkind_is_asked():
    from rlhf_mini.worlds.stories.plots import DECLINES

    declines = HABITS["declines a kind request"]
    assert declines(KIND, DECLINES[0])
    assert not declines(UNKIND, DECLINES[0])
    assert not declines(KIND, "It was hard.")
    assert not any(HABITS[name](UNKIND, DECLINES[0]) for name in ("loses the thread", "does not end"))
