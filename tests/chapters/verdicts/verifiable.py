"""Chapter 12: numbers that show each claim (`GOOD`), and changes of them that must spoil it (`SPOILED`)."""

_METHODS = (
    "REINFORCE", "RLOO", "PPO", "GRPO", "Dr. GRPO", "DAPO", "CISPO", "GSPO", "PPO with a critic",
)  # fmt: skip
_CLIPPED = ("PPO", "GRPO", "Dr. GRPO", "DAPO", "PPO with a critic")
_MADE = {
    "answer_right start: the reader": 0.5,
    **{f"answer_right {name}": 0.7 for name in _METHODS},
    **{f"clip_fraction {name}": 0.0 for name in _METHODS},
    **{f"answer_right {name}, reused": 0.8 for name in _CLIPPED},
    "answer_right REINFORCE, reused": 0.0,
    "clip_fraction GRPO, reused": 0.008,
    "clip_fraction GSPO, reused": 0.3,
}
_BOUNDS = {"answer_right GRPO, reused, twice": 0.8, "answer_right clip never, twice": 0.05}
_TRIES = {
    "pass 1 start: the reader": 0.5, "pass 1 GRPO": 0.7, "majority 16 start: the reader": 0.98,
    "pass 1 start: steps once in five": 0.08, "pass 1 from steps once in five": 0.5,
    "pass 64 start: steps once in five": 0.95, "pass 64 from steps once in five": 1.0,
}  # fmt: skip
_STEPS = {
    "worked start: steps once in five": 0.05, "worked from steps once in five": 0.9,
    "answer_right start: steps once in five": 0.03, "answer_right from steps once in five": 0.5,
    "worked start: answers alone": 0.001, "worked from answers alone": 0.001,
    "worked from answers alone, 160 iterations": 0.1,
    "answer_right from answers alone, 160 iterations": 0.05,
}  # fmt: skip
_SIZES = {
    "without_spread_first G = 2": 0.5, "without_spread_first G = 4": 0.2, "without_spread_first GRPO": 0.05,
    "without_spread_first G = 32": 0.0, "without_spread_last GRPO": 0.2, "without_spread_last redrawn": 0.0,
    "drawn GRPO": 5120.0, "drawn redrawn": 6000.0,
}  # fmt: skip
_KL = {
    "kl_k1 GRPO, reused": 1.0, "kl_k1 KL k1 in the loss": 5.0, "kl_k1 KL k2 in the loss": 0.9,
    "kl_k1 KL k3 in the loss": 0.4, "kl_k1 KL in the reward": 0.3,
}  # fmt: skip
_GAPS = {
    "first padding: open": 0.5, "last padding: open": 0.9, "all_right start: the reader": 0.45,
    "all_right padding: open": 0.01, "all_right padding: closed": 0.6,
    "last listing: open": 0.9, "last listing: closed": 0.85,
    "answer_right listing: open": 0.6, "answer_right listing: closed": 0.85,
}  # fmt: skip
_STAGES = {
    "answer_right start: carry first or last": 0.5, "answer_right first stage": 0.8,
    "answer_right then preference alone": 0.1, "carries_first then both": 0.2,
    "answer_right both from the first, KL paid": 0.6, "carries_first both from the first, KL paid": 0.9,
}  # fmt: skip
_AVERAGES = {
    "answer_right from steps once in five": 0.5, "answer_right average over all tokens": 0.6,
    "answer_right average over one length": 0.7,
}  # fmt: skip
_BEGINNINGS = {
    "answer_right GRPO": 0.7, "answer_right start: the reader": 0.5,
    "answer_right start: a seventh of the reading": 0.005,
    "answer_right from a seventh of the reading": 0.006,
    "without_spread_first from a seventh of the reading": 0.98,
}  # fmt: skip

GOOD = {
    "the loss reads zero": {"loss_largest": 1e-7, "grad_norm": 0.7, "first": 0.5, "last": 0.7},
    "the methods learn": _MADE,
    "the same step": _MADE,
    "who gains": _MADE,
    "who forgets": _MADE,
    "who clips": _MADE,
    "what the bound is for": _BOUNDS,
    "KL in the loss": _KL,
    "averages": _AVERAGES,
    "the start": _BEGINNINGS,
    "steps emerge": _STEPS,
    "steps do not emerge": _STEPS,
    "what is learned": _TRIES,
    "a vote": _TRIES,
    "the form": {
        "in_form with a format reward": 0.95,
        "in_form from steps once in five": 0.9,
        "in_form a format reward alone": 1.0,
        "answer_right a format reward alone": 0.1,
        "answer_right with a format reward": 0.6,
    },
    "padding": _GAPS,
    "listing": _GAPS,
    "two stages": _STAGES,
    "taste alone": _STAGES,
    "group size": _SIZES,
    "drawn again": _SIZES,
}
SPOILED = [
    ("the loss reads zero", {"loss_largest": 1e-3}),
    ("the loss reads zero", {"grad_norm": 0.1}),
    ("the loss reads zero", {"last": 0.55}),
    *(("the methods learn", {f"answer_right {name}": 0.64}) for name in _METHODS),
    ("the methods learn", {"answer_right start: the reader": 0.61}),
    *(("the same step", {f"clip_fraction {name}": 0.01}) for name in _METHODS),
    *(("the same step", {f"answer_right {name}": 0.71}) for name in ("GRPO", "GSPO", "DAPO", "CISPO")),
    *(("who gains", {f"answer_right {name}, reused": 0.71}) for name in _CLIPPED),
    *(("who gains", {f"answer_right {name}": 0.79}) for name in _CLIPPED),
    ("who forgets", {"answer_right REINFORCE, reused": 0.06}),
    ("who clips", {"clip_fraction GSPO, reused": 0.05}),
    ("what the bound is for", {"answer_right GRPO, reused, twice": 0.6}),
    ("what the bound is for", {"answer_right clip never, twice": 0.3}),
    *(
        ("KL in the loss", {f"kl_k1 KL {place}": 1.1})
        for place in ("k2 in the loss", "k3 in the loss", "in the reward")
    ),
    ("KL in the loss", {"kl_k1 KL k1 in the loss": 1.9}),
    ("averages", {"answer_right from steps once in five": 0.61}),
    ("averages", {"answer_right average over all tokens": 0.71}),
    ("averages", {"answer_right average over one length": 0.59}),
    ("the start", {"answer_right GRPO": 0.55}),
    ("the start", {"answer_right start: the reader": 0.3}),
    ("the start", {"answer_right start: a seventh of the reading": 0.1}),
    ("the start", {"answer_right from a seventh of the reading": 0.1}),
    ("the start", {"without_spread_first from a seventh of the reading": 0.8}),
    ("steps emerge", {"worked start: steps once in five": 0.3}),
    ("steps emerge", {"worked from steps once in five": 0.7}),
    ("steps emerge", {"answer_right from steps once in five": 0.1}),
    ("steps do not emerge", {"worked start: answers alone": 0.05}),
    ("steps do not emerge", {"worked from answers alone": 0.4}),
    ("steps do not emerge", {"worked from answers alone, 160 iterations": 0.4}),
    ("steps do not emerge", {"answer_right from answers alone, 160 iterations": 0.3}),
    ("steps do not emerge", {"answer_right from steps once in five": 0.08}),
    ("what is learned", {"pass 1 from steps once in five": 0.3}),
    ("what is learned", {"pass 64 start: steps once in five": 0.8}),
    ("a vote", {"majority 16 start: the reader": 0.6}),
    ("the form", {"in_form with a format reward": 0.85}),
    ("the form", {"in_form a format reward alone": 0.8}),
    ("the form", {"answer_right a format reward alone": 0.4}),
    ("padding", {"last padding: open": 0.6}),
    ("padding", {"all_right padding: open": 0.3}),
    ("padding", {"all_right padding: closed": 0.46}),
    ("listing", {"last listing: open": 0.7}),
    ("listing", {"last listing: closed": 0.7}),
    ("listing", {"answer_right listing: open": 0.83}),
    ("two stages", {"carries_first then both": 0.6}),
    ("two stages", {"carries_first both from the first, KL paid": 0.6}),
    ("two stages", {"answer_right both from the first, KL paid": 0.52}),
    ("taste alone", {"answer_right then preference alone": 0.5}),
    ("group size", {"without_spread_first G = 2": 0.25}),
    ("group size", {"without_spread_first G = 32": 0.1}),
    ("group size", {"without_spread_first G = 4": 0.6}),
    ("group size", {"without_spread_first GRPO": 0.3}),
    ("drawn again", {"without_spread_last redrawn": 0.1}),
    ("drawn again", {"drawn redrawn": 5120.0}),
]
