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
_RARELY = {
    "right start": 0.1, "right filtered": 0.04, "right filtered, every step": 0.21, "right relabelled": 0.55,
    "right relabelled steps": 0.61, "right relabelled verdict": 0.02,
}  # fmt: skip
_OFTEN = {
    "right start": 0.3, "right filtered": 0.48, "right filtered, every step": 0.75,
    "right relabelled": 0.68, "right relabelled verdict": 0.1,
    "right verdict with contrast": 0.0, "lead rarely": 0.5,
}  # fmt: skip
_STORIES = {
    "gold SFT": 2.0, "gold filtered": 3.42, "gold relabelled": 3.39, "gold no relabelling": 1.57,
    "gold relabelled verdict": 1.07, "gold PPO, script": 3.29,
    "kl_k1 relabelled": 4.7, "kl_k1 PPO, script": 7.5,
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
    "right by accident": {"the answer is right": 100, "every step is right": 41, "it solves some sum": 87},
    "the sum that was solved": _RARELY,
    "right steps": _RARELY,
    "right or wrong": _OFTEN | _STORIES | {f"rarely {name}": value for name, value in _RARELY.items()},
    "success is common": _OFTEN,
    "HIR learns stories": _STORIES,
    "the script as a reward": _STORIES,
    "what a contrast costs": {
        "gold relabelled": 3.39, "gold with contrast": 3.24, "gold with a four-way contrast": 3.12,
        "kl_k1 relabelled": 4.7, "kl_k1 with contrast": 6.4, "kl_k1 with a four-way contrast": 11.1,
    },
    "smoothing in rounds": {"right with ε = 0.2": 0.02, "gold with ε = 0.2": 0.03},
}  # fmt: skip
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
    ("right by accident", {"every step is right": 70}),
    ("right by accident", {"it solves some sum": 50}),
    ("the sum that was solved", {"right start": 0.4}),
    ("the sum that was solved", {"right filtered": 0.4}),
    ("the sum that was solved", {"right filtered, every step": 0.6}),
    ("right steps", {"right relabelled steps": 0.25}),
    ("right or wrong", {"rarely right relabelled verdict": 0.2}),
    ("right or wrong", {"right relabelled verdict": 0.4}),
    ("right or wrong", {"right verdict with contrast": 0.2}),
    ("right or wrong", {"gold relabelled verdict": 2.1}),
    ("success is common", {"right filtered": 0.35}),
    ("success is common", {"lead rarely": 0.1}),
    ("success is common", {"right filtered, every step": 0.5}),
    ("HIR learns stories", {"gold SFT": 2.6}),
    ("HIR learns stories", {"gold filtered": 3.0}),
    ("HIR learns stories", {"gold filtered": 3.7}),
    ("HIR learns stories", {"gold no relabelling": 2.2}),
    ("the script as a reward", {"gold PPO, script": 3.0}),
    ("the script as a reward", {"kl_k1 PPO, script": 5.0}),
    ("what a contrast costs", {"gold with contrast": 3.5}),
    ("what a contrast costs", {"gold with a four-way contrast": 3.3}),
    ("what a contrast costs", {"kl_k1 with contrast": 4.0}),
    ("what a contrast costs", {"kl_k1 with a four-way contrast": 5.0}),
    ("smoothing in rounds", {"right with ε = 0.2": 0.3}),
    ("smoothing in rounds", {"gold with ε = 0.2": 1.8}),
]
