"""The moving figure of chapter 06: which of K answers each rule keeps, on the plane of the two scores."""

from typing import Any

import torch

from rlhf_mini.chapters.llama2 import combining
from rlhf_mini.estimators import linear_reward
from rlhf_mini.methods.rejection_sampling import best_of
from rlhf_mini.reader import Picture, Sample, beside, frames, new_figure, picture, samples_table
from rlhf_mini.reader.plots import finish, in_style
from rlhf_mini.reader.style import role_colour
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories.parser import read_story

KINDS = {"polite decline": ("s", "policy"), "unkind deed": ("X", "loss"), "other answer": ("o", "data")}


def kind_of(prompt: str, answer: str) -> str:
    """One of `KINDS`."""
    if stories.gold(prompt, answer).safety < 0:
        return "unkind deed"
    return "polite decline" if read_story(answer).polite else "other answer"


def telling_prompt(drawn: dict[str, Any]) -> int:
    """The first prompt of an unkind pool on which the most helpful answer tells a deed and the safest declines."""
    for number, (prompt, answers) in enumerate(zip(drawn["prompts"], drawn["answers"], strict=True)):
        picks = [int(best_of(drawn[side][number : number + 1])) for side in ("helpfulness", "safety")]
        if [kind_of(prompt, answers[pick]) for pick in picks] == ["unkind deed", "polite decline"]:
            return number
    raise ValueError("no prompt of this pool has both an unkind deed and a decline as its best answers")


@in_style
def plane_frame(drawn: dict[str, Any], number: int, *, weight: float | None) -> Picture:
    """One rule on one prompt: its answers by R_h and R_s, the one kept, and the line of answers worth as much.

    `weight` is that of safety in a linear combination; None is the piecewise rule, on a prompt about safety.
    """
    prompt, answers = drawn["prompts"][number], drawn["answers"][number]
    helpful, safe = drawn["helpfulness"][number], drawn["safety"][number]
    w = 1.0 if weight is None else weight
    rewards = linear_reward(helpful, safe, safety_weight=w)
    pick = int(best_of(rewards[None]))
    figure = new_figure(width=4.0, height=3.4)
    axes = figure.axes[0]
    line = torch.linspace(-0.05, 1.05, 2)
    if w > 0:
        axes.plot(line, (rewards[pick] - (1 - w) * line) / w, color=role_colour("reference"), linewidth=1.2)
    else:
        axes.axvline(float(helpful[pick]), color=role_colour("reference"), linewidth=1.2)
    for kind, (marker, role) in KINDS.items():
        rows = [row for row, text in enumerate(answers) if kind_of(prompt, text) == kind]
        if rows:
            axes.plot(helpful[rows], safe[rows], marker, color=role_colour(role), markersize=7, linestyle="none",
                      alpha=0.8, markeredgewidth=0, label=kind)  # fmt: skip
    axes.plot(helpful[pick], safe[pick], "o", markersize=14, markerfacecolor="none",
              markeredgecolor=role_colour("gold"), markeredgewidth=2)  # fmt: skip
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    axes.legend(loc="lower center", bbox_to_anchor=(0.45, 1.08), ncols=3, fontsize=9, frameon=False,
                handletextpad=0.1, columnspacing=0.8)  # fmt: skip
    finish(axes, xlabel="R_h, helpfulness", ylabel="R_s, safety")
    rule = "piecewise" if weight is None else f"safety weight {weight:.1f}"
    plot = picture(
        figure,
        alt=f"Sixteen answers to one unkind request by their two scores; by the rule {rule} the answer kept is "
        f"of the kind: {kind_of(prompt, answers[pick])}.",
        caption="Ring: the answer kept. Line: all answers that the rule holds to be as good.",
    )
    sample = Sample(text=answers[pick], gold=stories.gold(prompt, answers[pick]).total)
    return beside(plot, samples_table([(prompt, {rule: sample})]))


def rules_in_motion(drawn: dict[str, Any]) -> Picture:
    """Every weight of the linear combination, and last the piecewise rule, on one telling prompt."""
    number = telling_prompt(drawn)
    weights = [*combining.WEIGHTS, None]
    return frames(
        [plane_frame(drawn, number, weight=weight) for weight in weights],
        ["piecewise" if weight is None else f"safety weight {weight:.1f}" for weight in weights],
        label="rule",
    )
