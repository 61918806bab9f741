"""Chapter 12: numbers that show each claim (`GOOD`), and changes of them that must spoil it (`SPOILED`)."""

_METHODS = (
    "REINFORCE", "RLOO", "PPO", "GRPO", "Dr. GRPO", "DAPO", "CISPO", "GSPO", "PPO with a critic",
)  # fmt: skip
_MADE = {
    "answer_right start: the reader": 0.5,
    **{f"answer_right {name}": 0.7 for name in _METHODS},
    **{f"clip_fraction {name}": 0.0 for name in _METHODS},
    "clip_fraction GRPO, reused": 0.008,
    "clip_fraction GSPO, reused": 0.3,
}
_TRIES = {
    "pass 1 start: the reader": 0.5, "pass 1 GRPO": 0.7, "pass 64 start: the reader": 1.0,
    "pass 64 GRPO": 1.0, "majority 16 start: the reader": 0.98,
}  # fmt: skip
_STEPS = {
    "worked start: steps once in five": 0.05, "worked from steps once in five": 0.9,
    "answer_right start: steps once in five": 0.03, "answer_right from steps once in five": 0.5,
    "worked start: answers alone": 0.001, "worked from answers alone": 0.001,
}  # fmt: skip
_SIZES = {
    "without_spread_first G = 2": 0.5, "without_spread_first G = 4": 0.2, "without_spread_first GRPO": 0.05,
    "without_spread_first G = 32": 0.0, "without_spread_last GRPO": 0.2, "without_spread_last redrawn": 0.0,
    "drawn GRPO": 5120.0, "drawn redrawn": 6000.0,
}  # fmt: skip
_KL = {
    "kl_k1 GRPO, reused": 1.0, "kl_k1 KL k1 in the loss": 1.1, "kl_k1 KL k2 in the loss": 0.4,
    "kl_k1 KL k3 in the loss": 0.4, "kl_k1 KL in the reward": 0.3,
}  # fmt: skip
_PADDING = {
    "first padding: open": 0.5, "last padding: open": 0.9, "all_right start: the reader": 0.45,
    "all_right padding: open": 0.01, "all_right padding: closed": 0.6,
}  # fmt: skip
_STAGES = {
    "answer_right first stage": 0.8, "answer_right then preference alone": 0.5,
    "answer_right then both": 0.82, "larger_first first stage": 0.7,
    "larger_first then preference alone": 0.95, "larger_first then both": 0.9,
}  # fmt: skip

GOOD = {
    "the loss reads zero": {"loss_largest": 1e-7, "grad_norm": 0.7, "first": 0.5, "last": 0.7},
    "the methods learn": _MADE,
    "the same step": _MADE,
    "who clips": _MADE,
    "KL in the loss": _KL,
    "clip-higher": {
        "entropy_last clip 0.05 and 0.05": 0.05,
        "entropy_last GRPO, reused": 0.06,
        "entropy_last clip 0.2 and 1": 0.07,
    },
    "averages": {
        "worked from steps once in five": 0.9,
        "worked average over all tokens": 0.9,
        "worked average over one length": 0.9,
    },
    "the start": {
        "answer_right GRPO": 0.7,
        "answer_right start: the reader": 0.5,
        "answer_right start: hardly ever right": 0.05,
        "answer_right from hardly ever right": 0.06,
    },
    "steps emerge": _STEPS,
    "steps do not emerge": _STEPS,
    "what is learned": _TRIES,
    "a vote": _TRIES,
    "the form": {
        "in_form with a format reward": 0.95,
        "in_form from steps once in five": 0.9,
        "in_form a format reward alone": 1.0,
        "answer_right a format reward alone": 0.3,
        "answer_right with a format reward": 0.6,
    },
    "padding": _PADDING,
    "two stages": _STAGES,
    "group size": _SIZES,
    "drawn again": _SIZES,
}
SPOILED = [
    ("the loss reads zero", {"loss_largest": 1e-3}),
    ("the loss reads zero", {"grad_norm": 0.1}),
    ("the loss reads zero", {"last": 0.55}),
    *(("the methods learn", {f"answer_right {name}": 0.53}) for name in _METHODS[:-1]),
    *(("the same step", {f"clip_fraction {name}": 0.01}) for name in _METHODS),
    ("the same step", {"answer_right GSPO": 0.71}),
    ("who clips", {"clip_fraction GSPO, reused": 0.05}),
    *(
        ("KL in the loss", {f"kl_k1 KL {place}": 0.9})
        for place in ("k2 in the loss", "k3 in the loss", "in the reward")
    ),
    ("KL in the loss", {"kl_k1 KL k1 in the loss": 0.7}),
    ("clip-higher", {"entropy_last clip 0.05 and 0.05": 0.07}),
    ("clip-higher", {"entropy_last clip 0.2 and 1": 0.05}),
    *(
        ("averages", {f"worked {name}": 0.1})
        for name in ("from steps once in five", "average over all tokens", "average over one length")
    ),
    ("the start", {"answer_right GRPO": 0.55}),
    ("the start", {"answer_right start: hardly ever right": 0.2}),
    ("the start", {"answer_right from hardly ever right": 0.15}),
    ("steps emerge", {"worked start: steps once in five": 0.3}),
    ("steps emerge", {"worked from steps once in five": 0.3}),
    ("steps emerge", {"answer_right from steps once in five": 0.05}),
    ("steps do not emerge", {"worked start: answers alone": 0.05}),
    ("steps do not emerge", {"worked from answers alone": 0.05}),
    ("what is learned", {"pass 1 GRPO": 0.55}),
    ("what is learned", {"pass 64 start: the reader": 0.9}),
    ("a vote", {"majority 16 start: the reader": 0.6}),
    ("the form", {"in_form with a format reward": 0.85}),
    ("the form", {"in_form a format reward alone": 0.8}),
    ("the form", {"answer_right a format reward alone": 0.7}),
    ("padding", {"last padding: open": 0.6}),
    ("padding", {"all_right padding: open": 0.3}),
    ("padding", {"all_right padding: closed": 0.46}),
    ("two stages", {"answer_right then preference alone": 0.79}),
    ("two stages", {"answer_right then both": 0.7}),
    ("two stages", {"larger_first then preference alone": 0.71}),
    ("two stages", {"larger_first then both": 0.71}),
    ("group size", {"without_spread_first G = 2": 0.25}),
    ("group size", {"without_spread_first G = 32": 0.1}),
    ("group size", {"without_spread_first G = 4": 0.6}),
    ("group size", {"without_spread_first GRPO": 0.3}),
    ("drawn again", {"without_spread_last redrawn": 0.1}),
    ("drawn again", {"drawn redrawn": 5120.0}),
]
