"""What the chapter's judge reads: comparisons of two stories, apart from those in which an answer declines.

A decline has none of what most principles ask for, so that to see it settles the comparison. Between two stories the judge
has to compare the prompt with what stands in each.
"""

import torch

from rlhf_mini.chapters.rlaif.judge_quality import told_apart
from rlhf_mini.chapters.rlaif.judges import ask_of
from rlhf_mini.methods.judge import agreement, both_orders
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds.stories import read_story
from rlhf_mini.worlds.stories.principles import principle_named

ASKED = ("hero", "object", "feeling", "ending")  # principles that many pairs of either kind are told apart by


def stories_apart(pipeline: Pipeline, *, rehearsal: bool = False) -> dict[str, float]:
    """By principle of `ASKED`, how often the judge is right by both orders: `stories NAME`, where both answers tell a
    story, and `decline NAME`, where at least one declines; and `counted stories NAME`, how many of the former there were.

    Raises ValueError where one of the two has no comparison.
    """
    ask, found = ask_of(pipeline), dict[str, float]()
    for name in ASKED:
        judged = told_apart(pipeline, principle_named(name), rehearsal=rehearsal)
        preference = both_orders(ask, [one.comparison for one in judged]).preference
        truth = torch.tensor([one.first_better for one in judged])
        declined = torch.tensor(
            [
                read_story(one.comparison.first).declined or read_story(one.comparison.second).declined
                for one in judged
            ]
        )
        for kind, among in (("stories", ~declined), ("decline", declined)):
            if not among.any():
                raise ValueError(f"no comparison under {name!r} is of the kind {kind!r}")
            found[f"{kind} {name}"] = agreement(preference[among], truth[among])
        found[f"counted stories {name}"] = int((~declined).sum())
    return found
