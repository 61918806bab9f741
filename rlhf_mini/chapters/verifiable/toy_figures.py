"""Figures of groups and their methods on a toy language. Each takes what the `toy` modules found, one mapping a seed."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from rlhf_mini.chapters.verifiable import toy_groups, toy_kl, toy_tries
from rlhf_mini.reader.frames import frames
from rlhf_mini.reader.picture import Picture, beside
from rlhf_mini.reader.plots import Curve, Level, learning_curves, training_curves

Seeds = Sequence[Mapping[str, Any]]
GROUPS = (2, 4, 8, 16, 64)  # of the slider
LATER = {"RLOO": "reference", "GRPO": "policy", "DAPO": "reward", "CISPO": "loss", "GSPO": "value"}
MOVED_AXIS = "how far the policy has moved, KL(π ‖ π_old) (nats per text)"
LOG_RATIOS = torch.linspace(-2.5, 2.5, 51, dtype=torch.float64)  # log π/π_ref of one token


def _rows(seeds: Seeds, key: str) -> list[list[float]]:
    return [found[key] for found in seeds]


def _end(seeds: Seeds, key: str) -> float:
    return sum(found[key][-1] for found in seeds) / len(seeds)


# ---- groups


def group_frames() -> Picture:
    """What a prompt is worth to two methods, by its pass rate, for groups of growing size under a slider."""
    pictures = []
    for group in GROUPS:
        found = toy_groups.by_pass_rate(group=group)
        rate, middle = found["rate"], found["rate"].index(0.48)
        curves = [
            Curve("GRPO", "policy", rate, found["GRPO"]),
            Curve("GRPO,\nG → ∞", "reference", rate, found["even"]),
            Curve("Dr. GRPO", "data", rate, found["Dr. GRPO"]),
        ]
        missed = Curve("without\nspread", "loss", rate, found["without spread"])
        told = (
            f"in groups of {group}: GRPO {found['GRPO'][0]:.3f} at a pass rate of 0.01 and {found['GRPO'][middle]:.2f} "
            f"at 0.48, Dr. GRPO {found['Dr. GRPO'][0]:.3f} and {found['Dr. GRPO'][middle]:.2f}"
        )
        pictures.append(
            beside(
                training_curves(
                    curves,
                    xlabel="pass rate p of the prompt",
                    ylabel="expected pull at the log-odds of a right answer",
                    alt=f"The expected pull by pass rate, {told}; for endless groups GRPO's is the root of p (1 − p).",
                ),
                training_curves(
                    [missed],
                    levels=[Level("", 0.0)],
                    xlabel="pass rate p of the prompt",
                    ylabel="share of groups that teach nothing",
                    alt=f"The share of groups of {group} whose answers are all right or all wrong: "
                    f"{found['without spread'][0]:.2f} at a pass rate of 0.01, "
                    f"{found['without spread'][middle]:.2f} at 0.48.",
                ),
            )
        )
    return frames(pictures, [f"G = {group}" for group in GROUPS], label="size of the group")


def length_figure(seeds: Seeds) -> Picture:
    """What a token of a right and of a wrong answer weighs, by the answer's length; from `toy_groups.by_length`."""
    pictures = []
    for key, sizes in (("right", (2, 3, 4)), ("wrong", (1, 2, 3, 4))):
        curves = [
            Curve(name, role, sizes, [[found[f"{key} {size} {name}"] for size in sizes] for found in seeds])
            for name, role in (("Dr. GRPO", "data"), ("DAPO", "reward"), ("GRPO", "policy"))
        ]
        ends = ", ".join(
            f"{curve.label} from {curve.ys[:, 0].mean():.2f} to {curve.ys[:, -1].mean():.2f}"
            for curve in curves
        ).replace("-", "−")
        pictures.append(
            training_curves(
                curves,
                xlabel=f"tokens of the {key} answer",
                ylabel="weight of each token (a right answer of 2 tokens: 1)",
                alt=f"The expected weight of each token of a {key} answer against its length: {ends}.",
            )
        )
    return beside(*pictures)


# ---- later steps on one draw


def parting_figure(seeds: Seeds) -> Picture:
    """How well each method still points uphill on the old draw, and what it has silenced; from `toy_moves.parted`."""
    pictures = []
    for key, ylabel, what in (
        (
            "cosine",
            "cosine with the gradient of the pass rate",
            "The cosine of each method's way with the true one",
        ),
        ("silenced", "share of tokens without a gradient", "The share of drawn tokens that are silenced"),
    ):
        curves = [
            Curve(name, role, _rows(seeds, "kl"), _rows(seeds, f"{key} {name}"))
            for name, role in LATER.items()
        ]
        ends = ", ".join(f"{name} {_end(seeds, f'{key} {name}'):.2f}" for name in LATER).replace("-", "−")
        alt = f"{what}, as the policy moves away from the one that drew. At the end: {ends}."
        pictures.append(training_curves(curves, xlabel=MOVED_AXIS, ylabel=ylabel, alt=alt))
    return beside(*pictures)


def own_ways_figure(seeds: Seeds) -> Picture:
    """The pass rate and the distance along each method's own steps on one draw; from `toy_moves.own_ways`."""
    steps = list(range(len(seeds[0]["GRPO"]["kl"])))
    pictures = []
    for key, ylabel in (("pass_rate", "pass rate"), ("kl", "KL(π ‖ π_old) (nats per text)")):
        curves = [
            Curve(name, role, steps, [found[name][key] for found in seeds]) for name, role in LATER.items()
        ]
        ends = ", ".join(f"{curve.label} {curve.ys[:, -1].mean():.2f}" for curve in curves)
        alt = f"{ylabel} over {steps[-1]} steps on one draw, each method by itself. At the end: {ends}."
        pictures.append(training_curves(curves, xlabel="step on one draw", ylabel=ylabel, alt=alt))
    return beside(*pictures)


# ---- KL and several tries


def penalty_figure() -> Picture:
    """The slope of each KL penalty at one token, by the token's log-ratio: what it does to a token that was drawn."""
    curves = []
    for name, role in (("k1", "reference"), ("k2", "policy"), ("k3", "loss")):
        leaf = LOG_RATIOS[None].clone().requires_grad_()
        penalty = toy_kl.PENALTIES[name](leaf, LOG_RATIOS[None], torch.zeros_like(leaf))
        (slope,) = torch.autograd.grad(penalty.sum(), [leaf])
        curves.append(Curve(name, role, LOG_RATIOS, slope[0]))
    first, last = (f"{curves[2].ys[0, place]:.2f}".replace("-", "−") for place in (0, -1))
    return training_curves(
        curves,
        levels=[Level("", 0.0)],
        xlabel="log π/π_ref of a drawn token (nats)",
        ylabel="slope of the penalty by log π",
        alt=f"The slope of k1 is 1 everywhere, that of k2 the log-ratio itself; that of k3 goes from {first} to {last}.",
        caption="Above 0 the penalty lowers the token's probability, below 0 it raises it.",
    )


def tries_figure() -> Picture:
    """pass@k and the majority vote against k, exactly, for two problems of `toy_tries`."""
    pictures = []
    for problem, words in (("in front", "likeliest answer"), ("behind", "second likeliest answer")):
        found = toy_tries.curves(problem)
        curves = [
            Curve("pass@k", "policy", found["k"], found["pass"]),
            Curve("vote of k", "data", found["k"], found["majority"]),
        ]
        pictures.append(
            learning_curves(
                curves,
                xlabel="tries k (log scale)",
                ylabel=f"chance of success, the truth being the {words}",
                alt=f"Where the truth is the {words}, pass@k rises from {found['pass'][0]:.2f} to {found['pass'][-1]:.2f} "
                f"at {toy_tries.NUMBERS[-1]} tries, and the vote goes to {found['majority'][-1]:.2f}.",
            )
        )
    return beside(*pictures)


def estimates_figure(problem: str = "rare") -> Picture:
    """The means of two estimates of pass@k from few tries, beside the truth; of a problem of `toy_tries`."""
    found = toy_tries.estimates(problem)
    curves = [
        Curve("1 − C(n−c, k)/C(n, k)", "policy", found["k"], found["pass"]),
        Curve("1 − (1 − c/n)^k", "loss", found["k"], found["plugged in"]),
    ]
    return training_curves(
        curves,
        xlabel=f"k, estimated from n = {toy_tries.TRIES} tries",
        ylabel="mean of the estimate of pass@k",
        alt=f"The mean of both estimates over k. At k = {toy_tries.TRIES} the unbiased one is {found['pass'][-1]:.3f}, "
        f"as it should be, and the other {found['plugged in'][-1]:.3f}.",
    )
