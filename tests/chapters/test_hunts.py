"""What bug hunts tell alike: the ends of trainings, and two of them side by side."""

from rlhf_mini.chapters.hunts import ends_of, two_trainings


def test_of_a_list_the_last_counts():
    runs = {"wrong": {"loss": [0.7, 0.6], "moved": 1.5}, "right": {"loss": [0.7, 0.2], "moved": 2.5}}
    assert ends_of(runs, ("loss", "moved")) == {
        "loss wrong": 0.6, "moved wrong": 1.5, "loss right": 0.2, "moved right": 2.5,
    }  # fmt: skip
    assert ends_of(runs, ("moved",)) == {"moved wrong": 1.5, "moved right": 2.5}


def test_the_ends_of_two_trainings_are_means_over_seeds():
    panels = {"loss": ("loss", "loss (nats)"), "moved": ("distance", "KL (nats)")}
    wrong = [{"step": [1, 20], "loss": [0.7, end], "moved": [0.0, 5.0]} for end in (0.5, 0.7)]
    right = [{"step": [1, 20], "loss": [0.7, end], "moved": [0.0, 1.0]} for end in (0.1, 0.2)]
    loss, moved = two_trainings(wrong, right, panels, names=("his", "ours"), training="20 steps of DPO")
    told = "over 20 steps of DPO on a toy language, seeds: 2. With the bug it ends at"
    assert f"The loss {told} 0.60 on average, without it at 0.15." in loss.text
    assert f"The distance {told} 5.00 on average, without it at 1.00." in moved.text
    assert "his" in loss.body
    assert "ours" in loss.body


def test_without_steps_the_looks_are_counted():
    run = {"score": [0.0, 1.0, 4.0]}
    (picture,) = two_trainings(
        [run], [run], {"score": ("score", "score")}, names=("wrong", "right"), training="3 rounds"
    )
    assert "ends at 4.00" in picture.text
