"""Preference patches: pairs that show a reward model what a policy has found in it.

Paper: Cai et al. 2024 (InternLM2), arXiv 2403.17297, §4.2.2, the fast path. Where a policy earns more by a
habit that nobody wants, answers from early and late in the same training are compared: the early one,
without the habit, is preferred. By the report, 20 to 100 such pairs are enough for a pattern.

Simplification: the habits are found by programs that are given; in the report people look for them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

Pattern = Callable[[str, str], bool]  # a prompt and an answer → whether the answer shows the habit


@dataclass(frozen=True)
class Patch:
    """A habit that was found: its name, how many answers show it, and the rows whose pairs patch it."""

    pattern: str
    found: int
    rows: list[int]


def find_patches(
    patterns: Mapping[str, Pattern],
    prompts: Sequence[str],
    early: Sequence[str],
    late: Sequence[str],
    gains: Tensor,
    *,
    least: int,
    most: int,
) -> list[Patch]:
    """The habits that a policy has taken up and is paid for, each with the pairs against it.

    A row shows a habit if its late answer has it, its early one does not, and the reward model scores the
    late one at least as high: `gains` ≥ 0. A habit of fewer than `least` rows is no pattern.

    Args:
        patterns: the habits by name.
        prompts: N prompts; `early`, `late`: an answer to each by an earlier and by a later policy.
        gains: ``(N,)``, the score of the late answer less that of the early one.
        least, most: pairs of a patch; of more rows the first are taken.

    Returns:
        A patch for each pattern found, in the order of `patterns`; in its rows early is preferred to late.

    Raises:
        ValueError: if the numbers of rows differ, or unless 1 ≤ least ≤ most.

    Example:
        >>> import torch
        >>> shouting = {"shouting": lambda prompt, text: text.isupper()}
        >>> texts = ["a", "b", "c"], ["A", "B", "c"]
        >>> find_patches(shouting, ["p", "q", "r"], *texts, torch.tensor([1.0, -1.0, 1.0]), least=1, most=5)
        [Patch(pattern='shouting', found=1, rows=[0])]
    """
    if not len(prompts) == len(early) == len(late) == len(gains):
        raise ValueError(
            f"need an early and a late answer and a gain for each prompt, got {len(prompts)} prompts, "
            f"{len(early)} and {len(late)} answers and {len(gains)} gains"
        )
    if not 1 <= least <= most:
        raise ValueError(f"need 1 <= least <= most, got {least} and {most}")
    paid = [row for row, gain in enumerate(gains.tolist()) if gain >= 0]
    patches = []
    for name, shows in patterns.items():
        rows = [row for row in paid if shows(prompts[row], late[row]) and not shows(prompts[row], early[row])]
        if len(rows) >= least:
            patches.append(Patch(name, len(rows), rows[:most]))
    return patches
