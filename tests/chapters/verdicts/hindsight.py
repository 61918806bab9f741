"""Chapter 08: numbers that show its claims, and changes of them that must spoil them."""

_GRID = {
    "reached 0": 0.38, "reached 1": 0.61, "reached 4": 0.63,
    "known 0": 0.49, "known 1": 0.75, "known 4": 0.74,
    "one goal 0": 0.24, "one goal 1": 0.24, "one goal 4": 0.24,
}  # fmt: skip
_HUNT = {
    "judged wrong": 0.3, "sampled wrong": 0.05, "first_loss wrong": 1.5, "copied wrong": 0.3,
    "judged right": 0.3, "sampled right": 0.3, "first_loss right": 0.3, "copied right": 0.9,
}  # fmt: skip

GOOD = {
    "hindsight in the grid": _GRID,
    "one goal alone": _GRID,
    "the filter's way": {"gap_on_the_way": 0.0, "to_filtered": 0.05, "at_first": 2.1},
    "failures alone": {
        "start": 0.12,
        "likelihood": 0.0,
        "filtered": 0.0,
        "contrast 64": 0.8,
        "rose 64": 0.85,
    },
    "smoothing, counted": {
        "gradient 0.02": 4e-16,
        "gradient 0.2": 5e-16,
        "whole 0.02": 0.79,
        "whole 0.2": 0.07,
    },
    "the bug's symptoms": _HUNT,
    "smoothing on sums": {"right start": 0.3, "right ε = 0.2": 0.0},
    "HIR learns sums": {"right start": 0.3, "right HIR": 0.5, "right no relabelling": 0.3},
    "HIR learns stories": {"gold SFT": 1.9, "gold HIR": 3.3, "gold no relabelling": 1.9},
}
SPOILED = [
    ("hindsight in the grid", {"reached 4": 0.45}),
    ("hindsight in the grid", {"known 4": 0.55}),
    ("one goal alone", {"one goal 1": 0.25}),
    ("one goal alone", {"one goal 4": 0.3}),
    ("one goal alone", {"reached 4": 0.2}),
    ("the filter's way", {"gap_on_the_way": 1e-3}),
    ("the filter's way", {"to_filtered": 0.5}),
    ("failures alone", {"likelihood": 0.01}),
    ("failures alone", {"filtered": 0.01}),
    ("failures alone", {"contrast 64": 0.2}),
    ("failures alone", {"rose 64": 1.0}),
    ("smoothing, counted", {"gradient 0.2": 1e-3}),
    ("smoothing, counted", {"gradient 0.02": 1e-3}),
    ("smoothing, counted", {"whole 0.2": 0.3}),
    ("smoothing, counted", {"whole 0.02": 0.05}),
    ("the bug's symptoms", {"sampled wrong": 0.2}),
    ("the bug's symptoms", {"first_loss wrong": 0.6}),
    ("the bug's symptoms", {"copied wrong": 0.8}),
    ("smoothing on sums", {"right ε = 0.2": 0.2}),
    ("smoothing on sums", {"right start": 0.1}),
    ("HIR learns sums", {"right HIR": 0.35}),
    ("HIR learns sums", {"right no relabelling": 0.4}),
    ("HIR learns stories", {"gold HIR": 2.2}),
    ("HIR learns stories", {"gold no relabelling": 2.5}),
]
