"""What is said of a policy: many solutions to problems that nobody was shown, and what a program finds in them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from rlhf_mini.chapters.small_sums import held_out_sums, tokenizer
from rlhf_mini.chapters.verifiable.choices import LONGEST
from rlhf_mini.chapters.verifiable.orders import carries_first, has_carry
from rlhf_mini.data.chat import answer
from rlhf_mini.evaluation.pass_at_k import majority_at_k, mean_pass_at_k
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds.sums import Sum, Verdict, read_solution, verify

HELD_OUT = 400  # half of them for rehearsal
SAMPLES = 8  # solutions to each, in every look
CURVE_PROBLEMS, CURVE_SAMPLES = 100, 64  # of the curves over the number of tries
TRIES = (1, 2, 4, 8, 16, 32, 64)
ENDS = 5  # iterations at either end of a log that a mean is taken over


def solutions(
    pipeline: Pipeline, policy: PreTrainedModel, problems: Sequence[Sum], *, samples: int
) -> list[list[str]]:
    """So many solutions to each problem, with the same random numbers for every policy."""
    flat = answer(
        policy,
        tokenizer(),
        [problem.text for problem in problems for _ in range(samples)],
        max_new_tokens=LONGEST,
        generator=pipeline.generator("chapter 12 look"),
    )
    return [flat[start : start + samples] for start in range(0, len(flat), samples)]


def verdicts(problems: Sequence[Sum], texts: Sequence[Sequence[str]]) -> list[list[Verdict]]:
    """The checker's verdict on every solution."""
    return [[verify(problem, text) for text in row] for problem, row in zip(problems, texts, strict=True)]


@torch.no_grad()
def look(pipeline: Pipeline, policy: PreTrainedModel, *, rehearsal: bool = False) -> dict[str, Any]:
    """Shares of the solutions to held-out problems, and their mean length in tokens with the end token.

    `answer_right`, `all_right`, `in_form`; `follows`: the answer is what the steps lead to; `carries_first`: people's
    taste, among problems with a carry; `steps`: how many are written; `worked`: the share with at least two of them; `right_bare` and
    `right_worked`: how often the answer is right without any steps, and with two or more (0 if there are none).
    """
    asked = held_out_sums(HELD_OUT, rehearsal=rehearsal)
    texts = solutions(pipeline, policy, asked, samples=SAMPLES)
    said = [one for row in verdicts(asked, texts) for one in row]
    flat = [text for row in texts for text in row]
    steps = [len(read_solution(text).steps) for text in flat]
    return {
        "answer_right": _share([one.answer_right for one in said]),
        "all_right": _share([one.correct for one in said]),
        "in_form": _share([one.whole for one in said]),
        "follows": _share([one.answer_follows for one in said]),
        "carries_first": _share(
            [
                carries_first(problem.text, text)
                for problem, row in zip(asked, texts, strict=True)
                if has_carry(problem.text)
                for text in row
            ]
        ),
        "length": _share([len(text) + 1 for text in flat]),  # one token a character
        "steps": _share(steps),
        "worked": _share([count >= 2 for count in steps]),
        "right_bare": _share([v.answer_right for v, count in zip(said, steps, strict=True) if count == 0]),
        "right_worked": _share([v.answer_right for v, count in zip(said, steps, strict=True) if count >= 2]),
    }


@torch.no_grad()
def curves(pipeline: Pipeline, policy: PreTrainedModel, *, rehearsal: bool = False) -> dict[str, Any]:
    """What more tries are worth, for each number in `TRIES`, and the tokens that one takes on average.

    `pass`: at least one of them is right, as a checker would find it; `majority`: the answer of most is; `tries`.
    """
    asked = held_out_sums(HELD_OUT, rehearsal=rehearsal)[:CURVE_PROBLEMS]
    texts = solutions(pipeline, policy, asked, samples=CURVE_SAMPLES)
    said = verdicts(asked, texts)
    right = [[one.answer_right for one in row] for row in said]
    votes = [[one.answer for one in row] for row in said]
    return {
        "tries": list(TRIES),
        "pass": [mean_pass_at_k(right, k=k) for k in TRIES],
        "majority": [
            _share([majority_at_k(row, one.answer, k=k) for row, one in zip(votes, asked, strict=True)])
            for k in TRIES
        ],
        "length": _share([len(text) + 1 for row in texts for text in row]),
        "never": _share([not any(row) for row in right]),
    }


def _share(values: Sequence[float | int]) -> float:
    """Their mean; 0 if there are none."""
    return float(sum(values)) / len(values) if values else 0.0


def log_summary(log: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """What stays of a log: means over its first and last iterations, or over all, and sums of answers and seconds.

    What a method does not log is left out: PPO with a critic has no groups, and none without spread.
    """
    first, last = log[:ENDS], log[-ENDS:]
    means = {
        "entropy_first": (first, "entropy"),
        "entropy_last": (last, "entropy"),
        "without_spread_first": (first, "without_spread"),
        "without_spread_last": (last, "without_spread"),
        "reward_last": (last, "reward"),
        "kl_k1": (last, "kl_k1"),
        "clip_fraction": (log, "clip_fraction"),
        "ratio_deviation": (log, "ratio_deviation"),
        "grad_norm": (log, "grad_norm"),
    }
    found = {
        told: _share([entry[name] for entry in entries])
        for told, (entries, name) in means.items()
        if name in log[0]
    }
    found["loss_largest"] = max(abs(entry["policy_loss"]) for entry in log)
    return found | {
        name: sum(entry[name] for entry in log) for name in ("drawn", "seconds") if name in log[0]
    }
